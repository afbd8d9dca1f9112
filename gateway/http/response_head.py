"""The parser of response heads.

A response that two clients could read in two ways (two lengths, a length and a coding, control bytes) is a fault of the upstream (B-47).
RFC 9112 sections 2 to 7.
"""

import re
from typing import Final

from gateway.errors.dependencies import UpstreamFault
from gateway.http.field_cache import BadField, Field, ResponseFields
from gateway.http.header_policy import Kind
from gateway.http.request_head import without

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELDS: Final = ResponseFields()
_KNOWN: Final = _FIELDS.known
_STATUS_LINES: Final[dict[bytes, tuple[int, bool, bytes]]] = {}
_STATUS_LIMIT: Final = 512
CHUNKED: Final = b"Transfer-Encoding: chunked"


class ParsedResponse:
    """A valid response head. `status_line` and `lines` are forwarded, without line ends; `length_line` is the line of Content-Length.

    `event_stream`: its body has no end of its own (text/event-stream). `authenticates`: it offers or reports a scheme that authenticates the
    connection. `wire` is the whole forwarded head of a response that arrived complete, on a connection that stays open; `whole` makes it.
    """

    __slots__ = (
        "authenticates", "chunked", "event_stream", "keep_alive", "length", "length_line", "lines", "status", "status_line", "upgrade", "wire",
    )  # fmt: skip

    def __init__(self, status: int, keep_alive: bool, status_line: bytes) -> None:
        self.status = status
        self.status_line = status_line
        self.keep_alive = keep_alive
        self.lines: list[bytes] = []
        self.length: int | None = None
        self.length_line = b""
        self.chunked = False
        self.authenticates = self.event_stream = False
        self.upgrade: bytes | None = None
        self.wire = b""

    def whole(self) -> bytes:
        """The head with its length or as chunked, each line with its end."""
        if not self.wire:
            framing = CHUNKED if self.chunked else self.length_line
            self.wire = b"\r\n".join((self.status_line, *self.lines, framing, b"\r\n"))
        return self.wire


def parse_response(head: bytes) -> ParsedResponse:
    """The response whose head is exactly `head`, with its empty line. Raises UpstreamFault."""
    lines = head.split(b"\r\n")
    start = _STATUS_LINES.get(lines[0]) or _read_status(lines[0])
    response = ParsedResponse(*start)
    forward = response.lines
    special: list[Field] | None = None
    for line in lines[1:-2]:
        entry = _KNOWN(line)
        if entry is None:
            entry = _read_field(line)
        if not entry.kind:
            forward.append(entry.line)
        elif entry.kind is Kind.BY_CONNECTION:
            response.authenticates = True
            forward.append(entry.line)
        elif entry.kind is Kind.EVENT_STREAM:
            response.event_stream = True
            forward.append(entry.line)
        elif special is None:
            special = [entry]
        else:
            special.append(entry)
    if special is not None:
        _judge(response, special)
    return response


def _read_status(line: bytes) -> tuple[int, bool, bytes]:
    match = _STATUS.fullmatch(line)
    if match is None:
        raise UpstreamFault("status line")
    status, reason = int(match[2]), match[3] or b""
    start = (status, match[1] == b"1", b"HTTP/1.1 %d %b" % (status, reason))
    if len(_STATUS_LINES) < _STATUS_LIMIT and len(line) < 128:
        _STATUS_LINES[line] = start
    return start


def _read_field(line: bytes) -> Field:
    try:
        return _FIELDS.read(line)
    except BadField as error:
        raise UpstreamFault(f"response head: {error}") from error


def _judge(response: ParsedResponse, special: list[Field]) -> None:
    http_1_0 = not response.keep_alive
    named: frozenset[bytes] = frozenset()
    for entry in special:
        kind = entry.kind
        if kind is Kind.CONTENT_LENGTH:
            if response.length is not None:
                raise UpstreamFault("two lengths in the response")
            response.length = entry.length
            response.length_line = entry.line
        elif kind is Kind.CONNECTION:
            named |= entry.named
            response.keep_alive &= b"close" not in entry.options
        elif kind is Kind.TRANSFER_ENCODING:
            if entry.value.lower() != b"chunked" or response.chunked or http_1_0:
                raise UpstreamFault("Transfer-Encoding in the response")
            response.chunked = True
        elif kind is Kind.UPGRADE:
            response.upgrade = entry.value.lower()
    if response.chunked and response.length is not None:
        raise UpstreamFault("response framed twice")
    if named:  # fields that Connection names are for this hop alone (RFC 9110 section 7.6.1)
        response.lines = without(response.lines, named)
