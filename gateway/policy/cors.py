"""CORS: what a preflight is, and the fields of its answer and of refusals that a page may read.

Pure. The invariants: a request counts as a preflight only when no upstream can take it for anything else (OPTIONS, one Origin, one
Access-Control-Request-Method, no body, no other method or protocol); no Access-Control-Allow-* field is sent to an origin that is not
allowed, and the fields depend only on the configuration and the one Origin field. WHATWG Fetch, "CORS protocol" and "CORS-preflight fetch";
RFC 9110 section 12.5.5 (Vary).
"""

import re
from typing import Final

from gateway.config.schema import CorsPreflight
from gateway.http.message import RequestHead
from gateway.policy.bodies import Fields, has_body
from gateway.policy.methods import possible_methods

HeaderFields = tuple[tuple[str, str], ...]
RULE: Final = "cors_preflight"
_VARY: Final = ("Vary", "Origin")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Cors:
    """The `cors_preflight` of one app."""

    def __init__(self, config: CorsPreflight) -> None:
        self._any_origin = "*" in config.allow_origins
        self._origins = frozenset(origin.encode() for origin in config.allow_origins)
        self._credentials: HeaderFields = (
            (("Access-Control-Allow-Credentials", "true"),) if config.allow_credentials else ()
        )
        more = [("Access-Control-Allow-Methods", ", ".join(config.allow_methods))] if config.allow_methods else []
        if config.allow_headers:
            more.append(("Access-Control-Allow-Headers", ", ".join(config.allow_headers)))
        more.append(("Access-Control-Max-Age", str(int(config.max_age.total_seconds()))))
        self._preflight = tuple(more)

    def preflight(self, head: RequestHead) -> HeaderFields:
        """The fields of the response to a preflight: Vary alone for an origin that is not allowed."""
        opened = self._origin_fields(head)
        return (*opened, *self._preflight, _VARY) if opened else (_VARY,)

    def readable(self, head: RequestHead) -> HeaderFields:
        """The fields that let a page of an allowed origin read a refusal of ours. Not for pages below our own paths."""
        return (*self._origin_fields(head), _VARY)

    def _origin_fields(self, head: RequestHead) -> HeaderFields:
        origins = head.values(b"origin")
        # SECURITY: compared whole and as it came; a prefix, a suffix, another case or `null` is another origin (C-79).
        if len(origins) != 1 or (origins[0] not in self._origins and not self._any_origin):
            return ()
        allowed = "*" if self._any_origin else origins[0].decode("ascii")
        return (("Access-Control-Allow-Origin", allowed), *self._credentials)


def is_only_a_preflight(head: RequestHead, query: Fields) -> bool:
    """Whether the request is a preflight and nothing else. `query`: as `read_query` gives it."""
    if head.method != "OPTIONS":
        return False
    origins, methods = head.values(b"origin"), head.values(b"access-control-request-method")
    if len(origins) != 1 or not origins[0] or len(methods) != 1 or not _TOKEN.fullmatch(methods[0]):
        return False
    # SECURITY: a preflight that the upstream answers with 101 would be a tunnel without a sign-in (C-77, B-41).
    if head.first(b"upgrade") is not None:
        return False
    # SECURITY: one that asks to be taken for a DELETE is a DELETE without a session to some upstreams (C-18, B-35).
    return not has_body(head, None) and possible_methods(head, query) == {"OPTIONS"}


def carries_credentials(head: RequestHead) -> bool:
    """Whether the request has a cookie or an Authorization: a browser sends neither with a preflight."""
    return head.authorization or head.first(b"cookie") is not None
