"""Sessions: who is signed in, for how long, and how every process learns at once that it is over.

    session           one sign-in and its clocks (pure)
    user_agent        the browser that a session began in (pure)
    cookie            the session cookie
    keyring           the keys that seal stored values
    key_ages          since when each of these keys is in use
    base64url         base64url without padding (pure)
    records           a session's record in Redis: how it is sealed, read, and sealed with a new key
    store             session records in Redis: issue, fetch, touch, revoke
    indexes           which sessions a person has
    session_count     how many sessions Redis holds
    session_limit     how many sessions a person may have in an app
    login_tests       sign-ins that an operator begins for a test
    logout_markers    sign-ins that the provider ended a moment ago
    tombstones        sessions that this worker ended, so that no failover brings them back
    redemptions       login attempts that are used
    owners            the person of a session that may have ended
    long_links        links that are too long for a login attempt's `state`
    pending_sign_in   sign-ins that wait for their account
    scan              all sessions, in batches, for operators
    live              one session in a worker's memory
    cache             the worker's sessions, kept true by client-side caching
    inflight          reads in flight, shared by the requests that need them
    fleet_time        the clock that all workers share: that of Redis
    touch_queue       idle timeouts on their way to Redis
    open_exchanges    the exchanges that are open under a session, closed when it ends
    shared_headers    identity fields that one worker rendered, shared with the others
    renewal_hook      the seam between the cache and token refresh

Redis is the only truth. A cached session is served only while invalidations arrive; otherwise it is read again.
"""
