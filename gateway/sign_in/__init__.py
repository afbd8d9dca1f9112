"""How a sign-in begins: for `/oauth2/start`, and for the data plane when a request to a protected page has no session.

    begin             keeps a LoginAttempt in a cookie and redirects to the provider
    attempt_cookies   LoginAttempts in cookies of the browser that began them
    return_to         the local URL after a sign-in or a sign-out

Nothing here reads Redis: an attempt is kept in its browser.
"""
