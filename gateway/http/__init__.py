"""HTTP/1.1 messages as bytes. Pure: no sockets, no clock.

What two servers could read in two ways is refused here, before a rule or an upstream sees it.

    message          one request head, as the gate and the policy read it
    request_head     the parser of request heads
    response_head    the parser of response heads
    field_cache      one field line, parsed once and found again by its bytes
    header_policy    which fields are forwarded, and which are ours alone
    framing          where a body ends: Content-Length, chunked
    proxy_protocol   the PROXY protocol, versions 1 and 2
"""
