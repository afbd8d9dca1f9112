"""Request methods as rules see them, and the method overrides of a request.

The invariant: a request is judged by its own method and by every method that it names in an override. docs/threats.md B-35; RFC 9110
section 9.3.2 (HEAD is GET without content). Pure.
"""

from collections.abc import Iterable
from typing import Final

from gateway.config.values import WEBSOCKET
from gateway.http.message import RequestHead
from gateway.identity.headers import normalise_name
from gateway.policy import servers
from gateway.policy.bodies import Fields, name_of, read_query

#: Header fields, in lower case, that name another method to some server.
OVERRIDE_FIELDS: Final = frozenset(name.encode() for name in servers.OVERRIDE_FIELDS)
#: The parameters that do, as `bodies` compares names, and the names of the header fields.
OVERRIDE_NAMES: Final = frozenset(map(name_of, servers.OVERRIDE_PARAMETERS | servers.OVERRIDE_FIELDS))
#: Those that only read. OPTIONS is not among them: some upstreams run the page for it (C-77).
SAFE: Final = frozenset(("GET", "HEAD"))

#: Pseudo-methods of a change of protocol; in lower case, so no override can name them. No rule can name OTHER_UPGRADE.
OTHER_UPGRADE: Final = "upgrade"
CHANGES_OF_PROTOCOL: Final = frozenset((WEBSOCKET, OTHER_UPGRADE))


def answers(methods: frozenset[str], method: str) -> bool:
    """Whether a rule for `methods` (none: any) is for `method`."""
    return not methods or method in methods or (method == "HEAD" and "GET" in methods)


def overrides_in_fields(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[str]:
    """The methods that header fields name, in any spelling that CGI or WSGI upstreams read as those fields."""
    found: set[str] = set()
    for name, value in fields:
        if b"method" in name.lower() and normalise_name(name) in OVERRIDE_FIELDS:
            found.update(_names(value.decode("latin-1")))
    return frozenset(found)


def overrides_in_query(query: bytes | None) -> frozenset[str]:
    """The methods that a query names (`_method=DELETE`)."""
    if not query or (b"%" not in query and b"method" not in query.lower()):
        return frozenset()
    return overrides_in(read_query(query))


def overrides_in(pairs: Fields) -> frozenset[str]:
    """The methods that the fields of a query or a form name."""
    return frozenset(name for key, value in pairs if key in OVERRIDE_NAMES for name in _names(value))


def possible_methods(head: RequestHead, query: Fields) -> frozenset[str]:
    """Every method by which an upstream may take this request, without its body."""
    # SECURITY: the method that decides is any that the upstream could act on (B-35).
    return frozenset((head.method,)) | overrides_in_fields(head.fields) | overrides_in(query)


def _names(value: str) -> Iterable[str]:
    return (part.strip().upper() for part in value.split(",") if part.strip())
