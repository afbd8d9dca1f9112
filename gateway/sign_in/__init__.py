"""How a sign-in begins: for `/oauth2/start`, and for the data plane when a request to a protected page has no session.

    begin             binds a LoginAttempt to the browser and redirects to the provider
    login_attempts    LoginAttempts: begun, and found again in the browser that began them
    login_state       a LoginAttempt as the sealed `state`
    address_rate      how often one address may do what costs a call of the provider
    browser_binding   the cookie that binds the LoginAttempts of one browser
    earlier_attempts  LoginAttempts that release 0.1.0 began
    return_to         the local URL after a sign-in or a sign-out

An attempt is kept in its browser: Redis has a record of one only where its link is too long.
"""
