"""The control plane: the paths that are ours, on aiohttp.web.

    app                 the paths, who answers them, and how a refusal becomes an answer
    request             one request, as its handler reads it
    start               `/oauth2/start`
    callback            the provider's answer becomes a session
    account_setup       from a verified sign-in to a session, by way of the directory
    browser_session     the session of the browser: found, replaced, ended
    sign_out            a person signs out
    provider_logout     the provider signs somebody out (back-channel, front-channel)
    token_revocation    tokens of ended sessions are given back
    userinfo            who am I; the public keys of the assertion

The invariant: a code is redeemed only for a LoginAttempt that this browser began under this host and that nobody used before; a
redirect leads to a configured host, the provider, or nowhere. Logins, sign-outs and pages are rare: here clearness goes before speed.
"""
