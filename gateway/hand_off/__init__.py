"""Hand-off: a person who is signed in here gets the upstream's own session, and never sees its login form.

    plan           one app's settings, with what is known of nexudus filled in (pure)
    templates      requests of ours with a person's facts in them; JSON pointers (pure)
    set_cookie     the upstream's Set-Cookie fields (pure)
    cookie_seals   the upstream's cookies, bound to one session of ours (pure)
    redirects      where an upstream's redirect leads: its login page, a page of its own, elsewhere (pure)
    records        what a session remembers of its hand-offs, sealed in Redis
    tokens         where a one-time token comes from: the directory, or an API that the configuration describes
    credentials    the request that redeems a token, and the steps that follow it
    filter         sees when a hand-off is due, and keeps the upstream's session with the session it belongs to
    flow           what a request waits for, and what is answered when it is there
    cookie_filter  the upstream's session cookies on their way: sealed and opened
    sign_out       the upstream's session is ended at sign-out
    broker         one hand-off, one at a time for each session over all workers

The token travels from server to server; no browser, no log
and no cache holds it, unless `via: browser` says that the browser is to be sent through the link.

The upstream's session cookies are bound to our session by a seal: a keyed hash of the session, the cookie and its value, at the end of the
value. A browser that holds another person's cookie, from an earlier session or planted, does not get it past the gateway. A list of hashes in
the session's record would do the same at a higher price: many applications write a new cookie with every answer, and each would be a write
to Redis that the next request must not overtake.
"""
