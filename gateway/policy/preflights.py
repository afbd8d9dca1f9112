"""What a CORS preflight is, beyond doubt.

Pure. The invariant: a request counts as a preflight only when no upstream can take it for anything else: OPTIONS, one Origin, one
Access-Control-Request-Method, no body, no other method or protocol asked for. WHATWG Fetch, "CORS-preflight fetch".
"""

import re

from gateway.http.message import RequestHead
from gateway.policy.bodies import Fields, has_body
from gateway.policy.methods import asked_methods

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_only_a_preflight(head: RequestHead, query: Fields) -> bool:
    """A preflight as browsers send it. `query`: as `read_query` gives it."""
    if head.method != "OPTIONS":
        return False
    origins, methods = head.values(b"origin"), head.values(b"access-control-request-method")
    if len(origins) != 1 or not origins[0] or len(methods) != 1 or not _TOKEN.fullmatch(methods[0]):
        return False
    # SECURITY: a preflight that the upstream answers with 101 would be a tunnel that nobody signed in for (C-77, B-41).
    if head.first(b"upgrade") is not None:
        return False
    # SECURITY: one that asks to be taken for a DELETE is a DELETE without a session to some upstreams (C-18, B-35).
    return not has_body(head, None) and asked_methods(head, query) == {"OPTIONS"}


def carries_credentials(head: RequestHead) -> bool:
    """Whether a cookie or an Authorization comes along: a browser sends neither with a preflight."""
    return head.authorization or head.first(b"cookie") is not None
