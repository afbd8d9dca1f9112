"""HTTP/1.1 as it stands on the wire, without sockets. Pure.

message          one request head, as the gate and the policy read it
request_head     request heads, judged sound
response_head    response heads, judged sound
field_cache      one field line, checked once and found again by its bytes
header_policy    which fields travel, and which are ours alone
framing          where a body ends: Content-Length, chunked
proxy_protocol   the PROXY protocol, versions 1 and 2
"""
