"""The data plane: asyncio protocols on both sides.

    server             listening and draining
    listener           connections that begin with TLS or the PROXY protocol
    downstream         one client connection: heads in, responses out, in order
    client_stream      the client's side as the rest of the proxy sees it
    request_handler    one request's way through the gate
    head_memo          the fields of a connection's last request, kept while they repeat
    context            what all connections of a worker share
    request_body       a request's body on its way in; buffered where it is judged
    exchange           one admitted request and its response
    filters            what some apps ask for beyond forwarding
    upstream           one connection to an upstream
    pool               the connections to an app's endpoints
    tie                a connection that serves one session on one client connection
    endpoint           one address of an app
    upstream_head      request heads, written anew
    identity_fields    identity fields and assertion, kept with the session
    local_reply        a response of our own
    internal_routes    the pages of our own, answered by aiohttp on the client's connection
    forward_auth       `/oauth2/auth`
    refusal_events     the events of a refusal
    subrequest         requests of our own to an app's upstream
    tunnel             after a 101: bytes both ways
    connection_limit   how many clients, in all and from one address

The invariant: whatever reaches an upstream was re-serialised from the parsed form that the gate admitted; one message on each side,
one framing. Bytes a client sent never travel on as they came, except inside a body whose length both sides agree on.

Heads are read by line and not by a parser with callbacks: a callback for each field costs more than everything else that is done with a
head, and leaves a list of things to refuse behind it. A test holds the two against each other.

Unlike many gateways, nothing here is aiohttp: its server decodes bodies and rewrites header bytes (docs/threats.md B-01, B-20), and costs
five times as much a request. The pages of our own are aiohttp's; `internal_routes` hands it the connection.
"""
