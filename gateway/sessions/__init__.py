"""Sessions: who is signed in, for how long, and how every process learns at once that it is over.

    session           one sign-in and its clocks (pure)
    cookie            the browser's end of it
    keyring           the keys that seal what is stored
    records           what a session looks like in Redis, how it is read, and how it gets a new key
    store             session records in Redis: issue, fetch, touch, revoke
    indexes           which sessions a person has
    session_limit     how many sessions a person may have in an app
    logout_markers    sign-ins that the provider ended a moment ago
    tombstones        what this worker ended, so that no failover brings it back
    pending_sign_in   sign-ins that wait for their account
    scan              all sessions, in batches, for operators
    live              one session in a worker's memory
    cache             the worker's sessions, kept true by push
    inflight          reads that are under way, shared by those who ask at once
    fleet_time        the time that all workers agree on: Redis' own
    touch_queue       idle timeouts on their way to Redis
    open_exchanges    what is open under a session, so that it can be closed
    shared_headers    what one worker wrote about a session for an upstream, left for the others
    renewal_hook      the seam between the cache and token refresh

Redis is the only truth. A cached session is served only while Redis can be heard; what cannot be confirmed is asked
for again.
"""
