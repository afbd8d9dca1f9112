"""Sessions: who is signed in, for how long, and how every process learns at once that it is over.

    session    one sign-in and its clocks (pure)
    cookie     the browser's end of it
    keyring    the keys that seal what is stored
    links      how one connection to one server is made
    topology   which primary holds which key (pure)
    commands   which key a command is about (pure)
    discovery  asking sentinels, or nodes of a cluster, who is primary
    fleet      a Sentinel set or a cluster that answers like one server
    client     the client of Redis, and one way to use it that no cancellation can harm
    store      the records in Redis: sealed, found by the hash of the cookie's token, indexed by person
    records    what a session looks like there
    indexes    which sessions a person has
    resealing  records of old keys get the new one
    recheck    what is asked about a person at each token refresh
    marks      what is done once, and repeated until it was
    places     how many sessions a person may have in an app
    ended      what this worker ended, so that no failover brings it back
    fleet_time what time it is for all workers
    endings    sign-ins that the provider ended a moment ago
    tracking   the connection on which one server says which records changed
    ears       all of them, and whether the cache may be trusted
    live       one session in a worker's memory
    attention  who is asked when a session needs looking after
    touches    idle timeouts on their way to Redis, at most once a minute a session
    streams    what is open (WebSocket, SSE, downloads) under which session, so that it can be closed
    readings   readings of records that are under way
    cache      the worker's sessions, kept true by all of these
    embedded   a Valkey server of our own
    selection  which sessions an operator means
    census     all sessions, in batches, for the operator's commands
    reaching   Redis, for a command
    examination  what `check --online` asks of Redis

Redis is the only truth. A cached session is served only while Redis can be heard; what cannot be confirmed is asked
for again.
"""
