"""The data plane: asyncio protocols on both sides, heads read by line, our own framing for bodies.

    downstream  one client connection: heads in, answers out, in order
    fields      one field line, checked once and found again by its bytes
    heads, responses   request and response heads, judged sound
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

The starting design had httptools read the heads. It calls back into Python for each field, which cost more than everything else we did with
a head, and left a list of things to refuse behind it; reading by line costs less and refuses more. A test holds the two against each other.

Unlike many gateways, nothing here is aiohttp: its server decodes bodies and rewrites header bytes (docs/threats.md B-01, B-20), and costs
five times as much a request. The pages of our own are aiohttp's; `downstream` hands it the connection.
"""
