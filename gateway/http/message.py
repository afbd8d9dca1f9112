"""The head of one HTTP request.

Field names are compared in lower case; values are the bytes of the wire, without surrounding blanks. Pure.
"""

from collections.abc import Iterator
from typing import Final

#: In lower case. Where applications read credentials; a proxy that consumes Authorization sends the client's as X-Authorization.
AUTHORIZATION_FIELDS: Final = frozenset((b"authorization", b"x-authorization", b"x-wsse"))

#: In lower case. Where a request names resources beside its target (RFC 4918 sections 10.3 and 10.4).
REFERENCE_FIELDS: Final = frozenset((b"destination", b"if"))


class RequestHead:
    """One request's method, target and header fields.

    `target` is the request-target as sent (origin-form after the proxy's own checks), `host` the value of the one Host field.
    `fields` holds `(name as sent, value)` in order of arrival. `authorization`: one of AUTHORIZATION_FIELDS is among them.
    `references` are the REFERENCE_FIELDS, names in lower case. `upgrade` is the protocol of an Upgrade that Connection names, in lower case.
    """

    __slots__ = ("_fields", "authorization", "host", "method", "references", "target", "upgrade", "version")

    def __init__(
        self,
        method: str,
        target: bytes,
        host: bytes,
        fields: list[tuple[bytes, bytes]],
        version: str = "1.1",
        upgrade: bytes | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.host = host
        self._fields = fields
        self.version = version
        self.upgrade = upgrade
        names = [name.lower() for name, _ in fields]
        self.authorization = not AUTHORIZATION_FIELDS.isdisjoint(names)
        self.references = [
            (name, value) for name, (_, value) in zip(names, fields, strict=True) if name in REFERENCE_FIELDS
        ]

    def at(self, target: bytes, method: str = "") -> "RequestHead":
        """This request for another target, and with another method where one is given; it names no other resource."""
        head = RequestHead(method or self.method, target, self.host, self.fields, self.version, self.upgrade)
        head.references = []
        return head

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return self._fields

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field `name` (lower case), in order."""
        return [value for field, value in self.fields if field.lower() == name]

    def first(self, name: bytes) -> bytes | None:
        """The first value of the field `name` (lower case), or None."""
        for field, value in self.fields:
            if field.lower() == name:
                return value
        return None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.fields)


def is_navigation(head: RequestHead) -> bool:
    """Whether a browser navigates, so that a redirect to the provider leads to a page. Fetch Metadata decides, else Accept."""
    mode = head.first(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    if (
        head.first(b"x-requested-with") is not None
        or head.first(b"sec-fetch-dest") is not None
        or head.first(b"sec-fetch-site") is not None
    ):
        return False
    return any(b"text/html" in value.lower() for value in head.values(b"accept"))


def is_prefetch(head: RequestHead) -> bool:
    """Whether a browser fetches in advance, and no person has clicked (C-49)."""
    purposes = (head.first(name) for name in (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose"))
    return any(b"prefetch" in value.lower() or b"preview" in value.lower() for value in purposes if value)


def is_visit(head: RequestHead) -> bool:
    """Whether a person goes to a page: a navigation, neither in advance nor in a frame of another site, where no session's cookie comes."""
    framed = head.first(b"sec-fetch-site") == b"cross-site" and head.first(b"sec-fetch-dest") not in (None, b"document")
    return is_navigation(head) and not framed and not is_prefetch(head)
