"""Hand-off: a person who is signed in here gets the upstream's own session, without its login form.

    plan           one app's settings, with the defaults for nexudus (pure)
    templates      subrequests with a person's facts in them; JSON pointers (pure)
    set_cookie     the upstream's Set-Cookie fields (pure)
    cookie_seals   the upstream's session cookies, bound to one session of ours (pure)
    redirects      the target of an upstream's redirect: its login page, another page of its own, elsewhere (pure)
    records        the hand-offs of a session, sealed in Redis
    tokens         one-time tokens, from the directory or from an API that the configuration describes
    credentials    the request that redeems a token, and the steps that follow it
    filter         the app filter: detects that a hand-off is due, and binds the upstream's session to ours
    flow           hand-offs under way: the work that a request waits for, and its response
    cookie_filter  seals the upstream's session cookies in responses, and opens them in requests
    sign_out       ends the upstream's session at sign-out
    broker         hand-offs, one at a time for each session over all workers

The token travels from server to server; no browser, no log and no cache holds it, unless `via: browser` sends the browser through the link.

The upstream's session cookies are bound to our session by a seal: a keyed hash of the session, the cookie and its value, at the end of the
value. Another person's cookie, from an earlier session or planted, does not pass the gateway. A list of hashes in the session's record would
achieve the same at a higher price: many applications set a new cookie with every response, and each would need a write to Redis before the
next request.
"""
