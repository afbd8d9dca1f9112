"""The data plane: asyncio protocols on both sides.

    server             listening, sweeping and draining
    listener           connections that begin with TLS or the PROXY protocol
    connection_limit   how many clients, in all and from one address
    context            what all connections of a worker share
    downstream         one client connection over HTTP/1.1: heads in, responses out, in order
    client_stream      a request and its response as the rest of the proxy sees the client's side
    request_handler    a request from its head to the gate's decision, and what that sets in motion
    request_body       a request's body on its way in; buffered where it is judged
    request_log        the counters and the access line of a request
    program_admission  requests with an access token: admitted again, or verified first
    head_memo          what follows from the fields of a connection's last request, kept while they repeat
    forwarder          admitted requests to their upstream, through the app's filters
    filters            what some apps want beyond forwarding
    upstream_head      request heads, written anew
    identity_fields    identity fields and assertion, kept with the session
    exchange           one admitted request and its response
    upstream           one connection to an upstream
    pool               an app's endpoints and the idle connections to them
    endpoint           one address of an app
    tie                a connection that serves one session on one client connection
    tunnel             after a 101: bytes both ways
    subrequest         requests of our own to an app's upstream
    local_reply        a response of our own
    internal_routes    the pages of our own: forward-auth, and aiohttp's
    forward_auth       `/oauth2/auth`
    refusal_events     the events of a refusal

The invariant: each message that reaches an upstream was re-serialised from the parsed form that the gate admitted; one message on each side,
one framing. Bytes a client sent never travel on as they came, except inside a body whose length both sides agree on.

Heads are read by line and not by a parser with callbacks: a callback for each field costs more than everything else that is done with a
head, and leaves a list of things to refuse behind it. A test holds the two against each other.

Unlike many gateways, nothing here is aiohttp: its server decodes bodies and rewrites header bytes (docs/threats.md B-01, B-20), and costs
five times as much a request. The pages of our own are aiohttp's; `internal_routes` hands it the connection.
"""
