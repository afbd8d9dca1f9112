"""The control plane: the paths that are ours, on aiohttp.web, and the pages that a person sees.

    app         the paths, who answers them, and how a refusal becomes an answer
    sign_in     begins a login: for /oauth2/start, and for the data plane when a stranger opens a protected page
    callback    ends it: the provider's answer becomes a session
    sign_out    ends sessions: a person's own wish, or the provider's (back-channel, front-channel)
    userinfo    who am I; the public keys of the assertion
    attempts    LoginAttempts in the browser's cookies
    return_to   where a person may be sent after a login
    pages       HTML for people, problem+json for programs
    parts       what the handlers share

The invariant: a code is redeemed only for a LoginAttempt that this browser began under this host and that nobody used before; a
redirect leads to a configured host, the provider, or nowhere. Logins, sign-outs and pages are rare: here clearness goes before speed.
"""
