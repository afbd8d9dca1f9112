"""Parsed header field lines, found again by their bytes.

The same lines repeat (`Accept-Encoding: gzip, deflate, br`, `Server: nginx`), so each is parsed, validated and classified once; after that a
head costs one look-up a line. Lines with secrets are not kept, and the table is bounded. The forwarded line is made from name and value,
never copied from the wire.

The parser is stricter than httptools' (a test compares the two), and cheaper for a browser's head: httptools calls back into Python for
every field. RFC 9112 section 5, RFC 9110 section 5.5.
"""

import re
from typing import Final

from gateway.http.header_policy import (
    RESPONSE_DROP,
    FieldKinds,
    Kind,
    announces_connection_scheme,
    connection_options,
    is_odd,
)

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_REMEMBERED: Final = 8192
_LONGEST: Final = 256
_NEVER_KEPT: Final = (Kind.COOKIE, Kind.AUTHORIZATION, Kind.WEBSOCKET)  # secrets, and keys that no handshake repeats
_NONE: Final[frozenset[bytes]] = frozenset()
_ENDS_HERE: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


class BadField(Exception):
    """A line that is no valid field. The text is for the log."""


class Field:
    """One parsed field. `line` is the forwarded line, without its end. `options` are those of Connection, `named` the fields among them;
    `length` is the value of Content-Length. `odd`: some servers read its name as another one.
    """

    __slots__ = ("kind", "length", "line", "name", "named", "odd", "options", "value")

    def __init__(self, kind: Kind, name: bytes, value: bytes) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.line = name + b": " + value
        self.length = 0
        self.odd = is_odd(name)
        self.options = self.named = _NONE
        if kind is Kind.CONTENT_LENGTH:
            if not _LENGTH.fullmatch(value):
                raise BadField("Content-Length")
            self.length = int(value)
        elif kind is Kind.CONNECTION:
            self.options = connection_options([value])
            self.named = self.options - _ENDS_HERE


class RequestFields:
    """The request field lines of one worker's listeners."""

    def __init__(self, kinds: FieldKinds) -> None:
        self._kinds = kinds
        self._known: dict[bytes, Field] = {}
        self.known = self._known.get  # the hot path; None: call `read`

    def read(self, line: bytes) -> Field:
        """Parse a line, and keep it where it holds no secret. Raises BadField."""
        name, value = split_line(line)
        field = Field(self._kinds.of(name), name, value)
        if len(line) <= _LONGEST and field.kind not in _NEVER_KEPT:
            remember(self._known, line, field)
        return field


class ResponseFields:
    """The response field lines of all upstreams."""

    def __init__(self) -> None:
        self._known: dict[bytes, Field] = {}
        self.known = self._known.get

    def read(self, line: bytes) -> Field:
        """Parse a line, and keep it where it holds no secret. Raises BadField."""
        name, value = split_line(line)
        field = Field(_response_kind(name.lower(), value), name, value)
        if len(line) <= _LONGEST and name.lower() != b"set-cookie" and field.kind is not Kind.BY_CONNECTION:
            remember(self._known, line, field)
        return field


def split_line(line: bytes) -> tuple[bytes, bytes]:
    """Name and value, without the blanks around the value. Raises BadField (obs-fold, blanks before the colon, control bytes)."""
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise BadField("field name")
    if not _VALUE.fullmatch(value):
        raise BadField("field value")
    return name, value.strip(b" \t")


def remember(known: dict[bytes, Field], line: bytes, field: Field) -> None:
    """Keep a field. The table is emptied when it is full, so that new lines cost time and no memory."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known[line] = field


def _response_kind(lower: bytes, value: bytes) -> Kind:
    if lower == b"content-length":
        return Kind.CONTENT_LENGTH
    if lower == b"transfer-encoding":
        return Kind.TRANSFER_ENCODING
    if lower == b"connection":
        return Kind.CONNECTION
    if lower == b"upgrade":
        return Kind.UPGRADE
    if lower == b"content-type" and value.partition(b";")[0].rstrip().lower() == b"text/event-stream":
        return Kind.EVENT_STREAM
    # SECURITY: an upstream that sets a cookie of ours could plant a session (C-36).
    # A nameless cookie is sent back as its bare value, which may look like one of ours (C-37).
    if lower == b"set-cookie" and b"doorward_" in value.lstrip(b"= \t").partition(b"=")[0].lower():
        return Kind.DROP
    if announces_connection_scheme(lower, value):
        return Kind.BY_CONNECTION
    return Kind.DROP if lower in RESPONSE_DROP else Kind.FORWARD
