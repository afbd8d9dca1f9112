"""The resources that a request names beside its target: `Destination` of COPY and MOVE, and the tags of lists in `If`.

Pure. The invariant: what such a field names is judged as a target is, and what goes on is the spelling that was judged. What two servers
could read in two ways, another host or a relative reference raises BadRequest, with any method: an upstream may take it for another.
RFC 4918 sections 8.3, 10.3 and 10.4. What servers read: nginx takes an absolute path, or a URI with its own scheme and Host; Apache's mod_dav
an absolute path, or a URI with its own scheme, host and port, without a query; both then judge nothing but the path.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors.requests import BadRequest

COPY_AND_MOVE: Final = ("COPY", "MOVE")
_URI = re.compile(
    rb"(https?)://([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(/.*)",
    re.DOTALL | re.I,
)
#: A tag, or a list of conditions: tokens and entity tags of the resource that was named last.
_IF = re.compile(rb"[ \t]*(?:<([^<>]*)>|\((?:[^()<>\"\[\]]|<[^<>]*>|\[(?:W/)?\"[^\"]*\"\])*\))")  # fmt: skip
_MOST: Final = 32
_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}


@dataclass(frozen=True, slots=True)
class ReferencedResource:
    """`start` is scheme and authority as they came, empty for an absolute path; `target` the path and query behind it."""

    start: bytes
    target: bytes
    is_destination: bool


def referenced_resources(fields: Sequence[tuple[bytes, bytes]], host: str) -> list[ReferencedResource]:
    """The resources that these fields (lower-cased name, value) name. `host` is the site's. Raises BadRequest."""
    destinations = [value for name, value in fields if name == b"destination"]
    if len(destinations) > 1:
        raise BadRequest("two Destinations")
    found = [_named(value, host, is_destination=True) for value in destinations]
    for name, value in fields:
        if name == b"if":
            found += [_named(tag, host, is_destination=False) for tag in _tags(value)]
    # SECURITY: each costs a decision (C-64, B-50).
    if len(found) > _MOST:
        raise BadRequest(f"more than {_MOST} resources are named")
    return found


def _named(reference: bytes, host: str, *, is_destination: bool) -> ReferencedResource:
    # SECURITY: what is no plain absolute path or URI is one to some servers, and another one to others (C-64). Blanks, fragments and
    # the like are refused where the path is read, as in a target.
    if reference.startswith(b"/") and not reference.startswith(b"//"):
        return ReferencedResource(b"", reference, is_destination)
    match = _URI.fullmatch(reference)
    if match is None:
        raise BadRequest("another resource is named by neither an absolute path nor a URI")
    if not _is_here(match[1].lower(), match[2], match[3], host):
        raise BadRequest("a resource at another host is named")
    return ReferencedResource(reference[: match.start(4)], match[4], is_destination)


def _is_here(scheme: bytes, name: bytes, port: bytes | None, host: str) -> bool:
    """Whether an authority is the site's. A proxy that ends TLS may have changed the scheme, and with it the default port."""
    plain = name.decode().lower().removesuffix(".")
    if port is not None and f"{plain}:{int(port)}" == host:
        return True
    return plain == host and port in (None, _DEFAULT_PORTS[scheme])


def _tags(value: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(value):
        match = _IF.match(value, at)
        if match is None:
            raise BadRequest("If is no list of conditions")
        if match[1] is not None:
            yield match[1]
        at = match.end()
