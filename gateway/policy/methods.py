"""Request methods as rules see them, and the ways in which a request asks an upstream to take it for another method.

Pure. The invariant: a request is judged as its own method and as every method that it asks to be taken for.
docs/threats.md B-35; RFC 9110 section 9.3.2 (HEAD is GET without content).
"""

from collections.abc import Iterable
from typing import Final

from gateway.config.values import WEBSOCKET
from gateway.http.message import RequestHead
from gateway.identity.headers import normalise_name
from gateway.policy import servers
from gateway.policy.bodies import Fields, name_of, read_query

#: Header fields, lower case, that name another method to some server.
OVERRIDE_FIELDS: Final = frozenset(name.encode() for name in servers.OVERRIDE_FIELDS)
#: The parameters that do, as `bodies` compares names; a field's name is taken for one too.
OVERRIDE_NAMES: Final = frozenset(map(name_of, servers.OVERRIDE_PARAMETERS | servers.OVERRIDE_FIELDS))
#: Those that only read. Not OPTIONS: who sends more with it than a preflight means something else (C-77).
SAFE: Final = frozenset(("GET", "HEAD"))

#: What stands for a change of protocol, among methods; in lower case, so no request can ask to be taken for it. No rule can name the other one.
OTHER_UPGRADE: Final = "upgrade"
CHANGES_OF_PROTOCOL: Final = frozenset((WEBSOCKET, OTHER_UPGRADE))


def answers(methods: frozenset[str], method: str) -> bool:
    """Whether a rule for `methods` (none: any) is one for `method`."""
    return not methods or method in methods or (method == "HEAD" and "GET" in methods)


def overrides_in_fields(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[str]:
    """The methods that header fields ask for. CGI and WSGI upstreams do not tell `_` from `-`, nor others `.` and the like."""
    found: set[str] = set()
    for name, value in fields:
        if b"method" in name.lower() and normalise_name(name) in OVERRIDE_FIELDS:
            found.update(_names(value.decode("latin-1")))
    return frozenset(found)


def overrides_in_query(query: bytes | None) -> frozenset[str]:
    """The methods that a query string asks for (`_method=DELETE`)."""
    if not query or (b"%" not in query and b"method" not in query.lower()):
        return frozenset()
    return overrides_in(read_query(query))


def overrides_in(pairs: Fields) -> frozenset[str]:
    """The methods that the fields of a query or a form ask for."""
    return frozenset(name for key, value in pairs if key in OVERRIDE_NAMES for name in _names(value))


def possible_methods(head: RequestHead, query: Fields) -> frozenset[str]:
    """Every method this request may be taken for, its body left aside."""
    # SECURITY: the method that decides is any that the upstream could act on (B-35).
    return frozenset((head.method,)) | overrides_in_fields(head.fields) | overrides_in(query)


def _names(value: str) -> Iterable[str]:
    return (part.strip().upper() for part in value.split(",") if part.strip())
