"""The data plane: asyncio protocols on both sides, a C parser for heads, our own framing for bodies.

    downstream  one client connection: heads in, answers out, in order
    heads       request and response heads: what the C parser accepts and we do not
    framing     where a body ends: Content-Length, chunked
    headers     which fields travel, which are ours (pure)
    exchange    one admitted request and its answer
    upstream    connections to an app, and the pool that keeps them
    tunnel      after a 101: bytes both ways
    refusals    an answer of our own, on the wire
    forward_auth   /oauth2/auth
    access_log, counters   what is told about each request
    server      listening, deadlines, draining

The invariant: whatever reaches an upstream was re-serialised from the parsed form that the gate admitted; one message on each side,
one framing. Bytes a client sent never travel on as they came, except inside a body whose length both sides agree on.

Unlike many gateways, nothing here is aiohttp: its server decodes bodies and rewrites header bytes (facts/security.md F1, F2), and costs
five times as much a request. The pages of our own are aiohttp's; `downstream` hands it the connection.
"""
