"""The PROXY protocol, versions 1 and 2: the first bytes of a connection, in which a load balancer names its client's address.

The caller accepts a header from trusted peers only. It is read to its last byte and no further, because TLS may follow. Checksums and other
TLVs of version 2 are ignored. haproxy's doc/proxy-protocol.txt. Pure.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_OPENING: Final = b"PROXY "
_LONGEST_LINE: Final = 107
_LONGEST: Final = 4096
_PORT = r"(?:0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rf"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{{2,39}}) ([0-9A-Fa-f.:]{{2,39}}) ({_PORT}) ({_PORT})\r\n".encode()
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?\r\n")
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
_NO_ADDRESS: Final = (0x00, 0x31)  # unspecified, unix stream


class HeaderMalformed(Exception):
    """The bytes are no PROXY header. The text is for the log."""


def measure(seen: bytes) -> tuple[int, bool]:
    """How many of the first bytes of a connection belong to its header, and whether the header is complete. Raises HeaderMalformed."""
    if _SIGNATURE.startswith(seen[:12]):
        if len(seen) < 16:
            return len(seen), False
        size = 16 + int.from_bytes(seen[14:16])
        if size > _LONGEST:
            raise HeaderMalformed("a header too long")
        return min(size, len(seen)), len(seen) >= size
    if not _OPENING.startswith(seen[:6]):
        raise HeaderMalformed("no PROXY header")
    end = seen.find(b"\r\n", 0, _LONGEST_LINE)
    if end >= 0:
        return end + 2, True
    if len(seen) >= _LONGEST_LINE:
        raise HeaderMalformed("a line too long")
    return len(seen), False


def parse(header: bytes) -> str | None:
    """The client's address in a complete header; None: the connection is the balancer's own. Raises HeaderMalformed."""
    return _binary(header) if header.startswith(_SIGNATURE) else _text(header)


def _text(header: bytes) -> str | None:
    if _UNKNOWN.fullmatch(header):
        return None
    match = _LINE.fullmatch(header)
    if match is None:
        raise HeaderMalformed("the line of version 1")
    kind = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = kind(match[2].decode()), kind(match[3].decode())
    except ValueError:
        raise HeaderMalformed("an address of version 1") from None
    if int(match[4]) > 65535 or int(match[5]) > 65535:
        raise HeaderMalformed("a port of version 1")
    return _plain(source)


def _binary(header: bytes) -> str | None:
    version, family = header[12], header[13]
    if version == 0x20:
        return None  # LOCAL: a health check of the balancer
    if version != 0x21:
        raise HeaderMalformed("version or command of version 2")
    if family in _NO_ADDRESS:
        return None
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        raise HeaderMalformed("a family or protocol of version 2 that is not TCP")
    if len(header) < 16 + 2 * size + 4:
        raise HeaderMalformed("addresses of version 2 cut short")
    return _plain(ip_address(header[16 : 16 + size]))


def _plain(address: IPv4Address | IPv6Address) -> str:
    """An IPv4-mapped IPv6 address is its IPv4 form (C-34)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
