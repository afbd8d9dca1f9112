"""Break-glass: an application's own password login, for one address range and a while, when single sign-on is broken.

    admission  requests that an opening admits, and the events
    watcher    the openings that one worker applies: pushed, confirmed every second, closed when in doubt
    store      openings in Redis: one sealed record an app, with a TTL

`policy.break_glass` decides which openings are allowed, for which ranges; the commands are `cli.break_glass`.
"""
