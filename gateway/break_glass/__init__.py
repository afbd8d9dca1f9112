"""Break-glass: an application's own password login, for one address range and a while, when single sign-on is broken.

    admission  who is admitted by it, and its events
    watcher    what is open, as one worker knows it: pushed, confirmed every second, closed when in doubt
    store      openings in Redis: one sealed record an app, gone by itself

What may be opened, and for whom, is `policy.break_glass`; the commands are `cli.break_glass`.
"""
