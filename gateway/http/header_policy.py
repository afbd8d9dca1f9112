"""Which header fields are forwarded, in which form, and which are ours alone.

The kind of a field depends on its name. Names repeat, so their kinds are kept in a bounded table. RFC 9110 section 7.6.1 (hop-by-hop fields),
docs/threats.md C-01, C-30, C-34, B-35, B-48. Pure.
"""

import ipaddress
import re
from collections.abc import Sequence
from enum import IntEnum, unique
from typing import Final

from gateway.config.field_names import FORWARDING_FIELDS, HOP_BY_HOP, METHOD_OVERRIDES, FieldMeaning, meaning_of
from gateway.config.schema import Network
from gateway.http.message import AUTHORIZATION_FIELDS, REFERENCE_FIELDS
from gateway.identity.headers import is_identity_name

_TABLE_LIMIT: Final = 4096


@unique
class Kind(IntEnum):
    """How a field of this name is treated."""

    FORWARD = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    COOKIE = 5
    UPGRADE = 6
    EXPECT = 7
    AUTHORIZATION = 8
    REQUEST_ID = 9
    FORWARDED = 10  # X-Forwarded-For and its like: ours, unless a trusted proxy sends them
    OVERRIDE = 11  # X-HTTP-Method-Override and its like
    DROP = 12  # hop-by-hop, identity, path overrides, and every name that is not letters, digits and hyphens
    CONTENT_ENCODING = 13  # forwarded; a body that a rule reads must not have one
    WEBSOCKET = 14  # Sec-WebSocket-*: forwarded with an accepted upgrade only
    PLACE = 15  # other X-Forwarded-*, True-Client-IP and the like, which only proxies add: dropped, since upstreams believe them (C-34)
    CLIENTS = 16  # dropped, except for an app whose `client_headers` names it
    BY_CONNECTION = 17  # of a response: the upstream authenticates the connection, or reports that it did
    REFERENCE = 18  # Destination, If: another resource, judged like the target
    VIA = 19  # forwarded, with ours behind it, where it names no proxy of ours
    EVENT_STREAM = 20  # of a response: its Content-Type is text/event-stream
    VOUCHED = 21  # named by `trusted_headers`: forwarded from a trusted proxy only


_WEBSOCKET: Final = (
    b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol", b"sec-websocket-extensions", b"sec-websocket-accept",
)  # fmt: skip
_KINDS: Final[dict[bytes, Kind]] = {
    b"host": Kind.HOST,
    b"content-length": Kind.CONTENT_LENGTH,
    b"transfer-encoding": Kind.TRANSFER_ENCODING,
    b"connection": Kind.CONNECTION,
    b"cookie": Kind.COOKIE,
    b"upgrade": Kind.UPGRADE,
    b"expect": Kind.EXPECT,
    b"x-request-id": Kind.REQUEST_ID,
    b"content-encoding": Kind.CONTENT_ENCODING,
    b"via": Kind.VIA,
    **dict.fromkeys(AUTHORIZATION_FIELDS, Kind.AUTHORIZATION),
    **dict.fromkeys(REFERENCE_FIELDS, Kind.REFERENCE),
    **dict.fromkeys((name.encode() for name in FORWARDING_FIELDS), Kind.FORWARDED),
    **dict.fromkeys((name.encode() for name in HOP_BY_HOP), Kind.DROP),
    **dict.fromkeys((name.encode() for name in METHOD_OVERRIDES), Kind.OVERRIDE),
    **dict.fromkeys(_WEBSOCKET, Kind.WEBSOCKET),
}

#: Response fields that are dropped (RFC 9110 section 7.6.1); framing and Connection are written anew.
RESPONSE_DROP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"trailer",
        b"upgrade",
        b"te",
        b"content-length",
        b"proxy-authenticate",
    )
)
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9-]+")
# NTLM, Kerberos and their carriers authenticate the connection, for all further requests on it (RFC 4559, MS-NTHT).
_SCHEMES: Final = re.compile(rb"(?<![\w-])(?:ntlm|negotiate|nego2|kerberos|credssp)(?![\w-])", re.IGNORECASE)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,128}")


class FieldKinds:
    """The kinds of field names under one configuration.

    `extra`: the names in `headers` of all apps, through `normalise_name`. `clients`: the names in `client_headers` of all apps, in lower case;
    `vouched`: those in `trusted_headers`, in lower case.
    """

    def __init__(
        self,
        extra: frozenset[bytes],
        clients: frozenset[bytes] = frozenset(),
        vouched: frozenset[bytes] = frozenset(),
    ) -> None:
        self._extra = extra
        self._vouched = vouched
        self._clients = clients
        self._table: dict[bytes, Kind] = {}

    def of(self, name: bytes) -> Kind:
        """The kind of the field `name`, spelled as it was sent."""
        kind = self._table.get(name)
        return kind if kind is not None else self._classify(name)

    def _classify(self, name: bytes) -> Kind:
        # SECURITY: CGI, WSGI and Rack read `_` and often `.` and the like as `-`: SCRIPT_NAME is the variable that cuts the path in two,
        # Content_Type is Content-Type, X.Forwarded.User is X-Forwarded-User. Such names are dropped from every peer (C-30, C-60).
        # So are the fields by which other gateways name a person or a path: the application may still believe them (C-01, C-30, C-63).
        lower = name.lower()
        if lower in self._clients:
            kind = Kind.CLIENTS
        elif is_odd(name) or is_identity_name(name, self._extra):
            kind = Kind.DROP
        elif lower in self._vouched:
            kind = Kind.VOUCHED
        else:
            kind = _KINDS.get(lower) or _unknown(lower)
        if len(self._table) < _TABLE_LIMIT and len(name) <= 64:
            self._table[name] = kind
        return kind


def _unknown(lower: bytes) -> Kind:
    meaning = meaning_of(lower.decode())
    if meaning is None:
        return Kind.FORWARD
    # SECURITY: a proxy passes on what it does not know, and a client's certificate or address with it; so none comes unnamed (C-34, C-63).
    return Kind.PLACE if meaning in (FieldMeaning.PLACE, FieldMeaning.HOST) else Kind.DROP


def changes_a_request(lower: bytes) -> bool:
    """Whether a field names a person, a path or a variable of CGI, by `TABLE`. Its name is in lower case, of letters, digits and hyphens."""
    return _unknown(lower) is Kind.DROP


def is_odd(name: bytes) -> bool:
    """Whether some servers read the name as another one: it has other characters than letters, digits and hyphens."""
    return _PLAIN_NAME.fullmatch(name) is None


def names_connection_scheme(value: bytes) -> bool:
    """Whether the value of an Authorization or a WWW-Authenticate names, among others, a scheme that authenticates a connection."""
    return _SCHEMES.search(value) is not None


def announces_connection_scheme(name: bytes, value: bytes) -> bool:
    """Whether a response field, its name in lower case, offers or reports the authentication of the connection."""
    return (
        (name == b"www-authenticate" and names_connection_scheme(value))
        or name == b"persistent-auth"
        or (name == b"proxy-support" and b"session-based-authentication" in value.lower())
    )


def valid_request_id(value: bytes) -> bool:
    """Whether a client's X-Request-Id may be forwarded and logged unchanged."""
    return _REQUEST_ID.fullmatch(value) is not None


def connection_options(values: Sequence[bytes]) -> frozenset[bytes]:
    """The lower-cased options of all Connection fields."""
    return frozenset(option.strip(b" \t").lower() for value in values for option in value.split(b",")) - {b""}


def is_trusted(peer: str, networks: Sequence[Network]) -> bool:
    """Whether `peer` (an address text, or "unix:") is a proxy whose forwarding fields are believed."""
    address = parse_address(peer)
    return address is not None and any(address in network for network in networks if network.version == address.version)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; an IPv4-mapped IPv6 address is its IPv4 form (C-34). None for anything else."""
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def network_of(address: str) -> str | bytes:
    """What a client's address counts by: IPv6 by its /64, which is what one customer of a provider has."""
    if ":" not in address:
        return address
    parsed = parse_address(address)
    return parsed.packed[:8] if isinstance(parsed, ipaddress.IPv6Address) else str(parsed)


def client_address(peer: str, forwarded_for: Sequence[bytes], networks: Sequence[Network]) -> str:
    """The client's address: the peer, or right to left through the trusted part of X-Forwarded-For (C-34)."""
    if not is_trusted(peer, networks):
        return peer
    hops = [hop.strip() for value in forwarded_for for hop in value.decode("latin-1").split(",")]
    for hop in reversed(hops[-64:]):
        address = parse_address(hop.strip('"[]'))
        if address is None:
            return peer
        peer = str(address)
        if not is_trusted(peer, networks):
            return peer
    return peer


def forwarding_block(peer: str, scheme: str, host: bytes, port: int) -> bytes:
    """The X-Forwarded-* and X-Real-IP lines for a request of an untrusted peer, whose own are dropped."""
    address = peer.encode()
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\nX-Real-IP: %b"
        % (address, scheme.encode(), host, str(port).encode(), address)
    )  # fmt: skip


def trusted_forwarding_block(
    peer: str, fields: Sequence[tuple[bytes, bytes]], scheme: str, host: bytes, port: int, networks: Sequence[Network]
) -> bytes:
    """The same lines for a trusted proxy: its X-Forwarded-For is extended; scheme, host and port are the configured ones (C-16, C-17)."""
    chain = [value for name, value in fields if name.lower() == b"x-forwarded-for"]
    client = client_address(peer, chain, networks)
    block = forwarding_block(peer, scheme, host, port)
    head, _, rest = block.partition(b"\r\n")
    if chain:
        head = b"X-Forwarded-For: " + b", ".join([*chain, peer.encode()])
    return head + b"\r\n" + rest.replace(b"X-Real-IP: " + peer.encode(), b"X-Real-IP: " + client.encode())
