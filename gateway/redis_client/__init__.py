"""Clients of Redis: one server, a Sentinel set or a cluster.

    client               the client, and operations that run to their end when their caller is cancelled
    connection_factory   how one connection to one server is made
    discovery            the primaries, as sentinels or the nodes of a cluster report them
    topology             which primary holds which key (pure)
    command_keys         which key a command is about (pure)
    routed_client        one client for the servers of a Sentinel set or a cluster
    pipelined_reader     a connection that knows three commands, for records that a request waits for
    tracking             one connection of client-side caching, to one primary
    invalidation         all of these connections, and whether the cache may be trusted
    leases               a lock that is renewed while its holder works
    sightings            when something was seen last, for `check --online`
    once                 work that is done once, and repeated until it succeeded
    limits               how large the values are that are read in one piece
    embedded             a Valkey server as a child process
    watchdog             ends that server when its gateway is gone
    failures             failures of Redis in words for an operator
    self_test            the commands that `check --online` tries

Every failure of Redis is a `StoreUnavailable`.
"""
