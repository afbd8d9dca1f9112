"""Clients of Redis: one server, a Sentinel set or a cluster.

client               the client, and the one way it is used that no cancellation can harm
connection_factory   how one connection to one server is made
discovery            asking sentinels, or nodes of a cluster, who is primary
topology             which primary holds which key (pure)
command_keys         which key a command is about (pure)
routed_client        a Sentinel set or a cluster that answers like one server
pipelined_reader     a connection that knows three commands, for records that a request waits for
tracking             the connection on which one server says which records changed
invalidation         all of them, and whether the cache may be trusted
leases               a lock that is renewed while its holder works
once                 what is done once, and repeated until it was
limits               how large the values are that are read in one piece
embedded             a Valkey server of our own
self_test            what `check --online` asks of Redis
"""
