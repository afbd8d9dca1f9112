"""How a sign-in begins: for `/oauth2/start`, and for the data plane when a stranger opens a protected page.

begin             a LoginAttempt into the browser's cookie, the browser to the provider
attempt_cookies   LoginAttempts in the browser that began them
return_to         where a person may be sent after a sign-in
"""
