"""What the console shows of the fleet, kept in Redis: the last events, numbers over time, and the state of each replica.

Everything here is bounded and may be lost: the log and `/metrics` are what a fleet is audited and watched by. Nothing of it is read to decide
about a request.

    event_log      events, in two streams of bounded length; written from a queue that never makes a request wait
    event_reader   the events of both streams, the newest first
    numbers        counts by the minute for a day and by the hour for a month
    replicas       what each parent process says of itself every few seconds
"""
