"""The proof from outside: every spelling of every password rule, fired at a running door.

`spellings` is the corpus, data that the tests use too; `knocks` makes requests of rules; `reading` decides what an answer says; `wire` has
the sockets; `firing` sends all of it at a bounded rate. `spellings`, `knocks` and `reading` are pure.
"""
