"""Token refresh: once for each session over the whole fleet, before the access token ends.

    schedule    when a session is due, and how long to leave a provider alone (pure)
    attempts    what is known in Redis of them: begun, or failed so many times
    renewal     one attempt: tokens, then claims, each stored as soon as it is there
    refresher   who makes the attempt, and who waits for it

The invariant: a refresh token is sent once, by the holder of a lease who read it from Redis under that lease, and what came
back for it is stored before anything else is asked. Where that cannot be kept (a worker killed between the two) the next
attempt says so, and ends the session when the provider takes the old token no more: a new sign-in, never a loop.
Refreshes run in Tasks. A request waits for one only when its session's access token is over, and not for long.
"""
