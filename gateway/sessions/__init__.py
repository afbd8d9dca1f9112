"""Sessions: who is signed in, for how long, and how every process learns at once that it is over.

    session    one sign-in and its clocks (pure)
    cookie     the browser's end of it
    keyring    the keys that seal what is stored
    client     connections to Redis, and one way to use them that no cancellation can harm
    store      the records in Redis: sealed, found by the hash of the cookie's token, indexed by person
    records    what a session looks like there
    indexes    which sessions a person has
    resealing  records of old keys get the new one
    recheck    what is asked about a person at each token refresh
    marks      what is done once, and repeated until it was
    places     how many sessions a person may have in an app
    tracking   the connection on which Redis says which records changed
    live       one session in a worker's memory
    attention  who is asked when a session needs looking after
    touches    idle timeouts on their way to Redis, at most once a minute a session
    streams    what is open (WebSocket, SSE, downloads) under which session, so that it can be closed
    cache      the worker's sessions, kept true by all of these
    embedded   a Valkey server of our own
    selection  which sessions an operator means
    census     all sessions, in batches, for the operator's commands
    reaching   Redis, for a command

Redis is the only truth. A cached session is served only while Redis can be heard; what cannot be confirmed is asked
for again.
"""
