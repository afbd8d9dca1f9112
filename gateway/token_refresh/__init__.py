"""Token refresh: one attempt at a time for each session, over all workers, before the access token ends.

    schedule    when a refresh is due, and how long to pause after failures (pure)
    attempts    the record of attempts in Redis: begun, or failed so many times
    renewal     one attempt: tokens, then claims, each stored as soon as it arrived
    refresher   the lease, the Task that makes the attempt, and the requests that wait for it

The invariant: a refresh token is sent once, by the holder of a lease that read it from Redis under that lease, and the tokens
that came back are stored before the next request to the provider. Where that fails (a worker killed between the two) the next
attempt finds the record of the unfinished one, and ends the session when the provider refuses the old token: a new sign-in,
never a loop. Refreshes run in Tasks. A request waits for one only when its session's access token has ended, and not for long.
"""
