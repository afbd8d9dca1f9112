"""The control plane: Doorward's own paths, on aiohttp.web.

    app                 the paths and their handlers; refusals become responses
    request             one request, as its handler reads it
    start               `/oauth2/start`
    callback            `/oauth2/callback`: an authorization response becomes a session
    form_post           the parameters of an authorization response, of a query or of a form
    account_setup       from a verified sign-in to a session, with an account in the directory
    browser_session     the session of the browser: find, replace, end
    held_form           `/oauth2/form`: a form that was sent into an ended session
    login_test          `/oauth2/login_test`: a sign-in that issues no session
    own_sessions        `/oauth2/sessions`: where a person is signed in
    sign_out            sign-out by the person
    provider_logout     sign-out by the provider (back-channel, front-channel)
    token_revocation    revokes the tokens of ended sessions (RFC 7009)
    page_log            counters and access lines of these pages
    sign_in_facts       what the events of a sign-in say
    userinfo            `/oauth2/userinfo`, and the public keys of the assertion

The invariant: a code is redeemed only for a LoginAttempt that this browser began on this host and that was not used before; a
redirect leads to a configured host or to the provider. Logins, sign-outs and pages are rare: here clarity goes before speed.
"""
