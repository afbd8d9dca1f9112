"""Where a message body ends: decoders for requests and responses.

A decoder takes bytes from the wire and returns those of the body; it notes when the body is complete, and which bytes belong to the next
message. It is stricter than most parsers, so that every server reads an accepted body in the same way (RFC 9112 sections 6.3 and 7.1,
docs/threats.md B-13 to B-15).
"""

import re
from typing import Final, Protocol

# SECURITY: other servers end the line of a malformed chunk extension (`;` and nothing, an open quote, a blank before it) at another place.
# The grammar is that of RFC 9112 section 7.1.1, without the blanks before the first `;` that senders must not write (B-66).
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;[\t ]*+%b(?:[\t ]*+=[\t ]*+(?:%b|%b))?(?:[\t ]*+;[\t ]*+%b(?:[\t ]*+=[\t ]*+(?:%b|%b))?)*+)?"
    % (_TOKEN, _TOKEN, _QUOTED, _TOKEN, _TOKEN, _QUOTED)
)
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_PLAIN_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_END: Final = b"\r\n0\r\n\r\n"  # of a chunked body that has data and no trailers
_LINE_LIMIT: Final = 1024  # a chunk-size line with its extension
_TRAILER_LIMIT: Final = 16 * 1024


class FramingError(Exception):
    """The body's framing is malformed. The text is for the log."""


class Body(Protocol):
    """The decoder of one body. `done`: the body is complete; `rest`: the bytes after it."""

    done: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`, which may be none. Sets `done` and `rest`. Raises FramingError."""
        ...


class SizedBody:
    """A body with a Content-Length, in bytes."""

    __slots__ = ("done", "left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        size = len(data)
        if size < self.left:
            self.left -= size
            return data
        self.done = True
        if size > self.left:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left = 0
        return data


class UntilClose:
    """A response body that ends with the connection. `ended`: the upstream has closed it."""

    __slots__ = ("done", "ended", "rest")

    def __init__(self) -> None:
        self.done = False
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        return data


class ChunkedBody:
    """A chunked body. Trailers are parsed, bounded and dropped (B-15). An index moves through the buffer, so that tiny chunks copy nothing."""

    __slots__ = ("_at", "_buffer", "_left", "_state", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self._buffer = b""
        self._at = 0
        self._state = self._size_line
        self._left = 0
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        if len(data) < self._left and not self._buffer:
            self._left -= len(data)  # in the middle of a chunk: nothing is copied
            return data
        self._buffer = self._buffer + data if self._buffer else data
        out: list[memoryview] = []
        while not self.done and self._state(out):
            pass
        body = b"".join(out)
        self._buffer = b"" if self.done else self._buffer[self._at :]
        self._at = 0
        return body

    def _line(self, limit: int, what: str) -> bytes | None:
        start = self._at
        end = self._buffer.find(b"\n", start, start + limit + 2)
        if end < 0:
            if len(self._buffer) - start >= limit + 2:
                raise FramingError(f"{what} over {limit} bytes")
            return None
        if end == start or self._buffer[end - 1] != 13:
            raise FramingError(f"{what} ended by a bare LF")
        self._at = end + 1
        return self._buffer[start : end - 1]

    def _size_line(self, out: list[memoryview]) -> bool:
        line = self._line(_LINE_LIMIT, "chunk-size line")
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise FramingError("malformed chunk-size line")
        self._left = int(match[1], 16)
        self._state = self._chunk_data if self._left else self._trailer
        return True

    def _chunk_data(self, out: list[memoryview]) -> bool:
        data = memoryview(self._buffer)[self._at : self._at + self._left]
        if data:
            out.append(data)
            self._at += len(data)
            self._left -= len(data)
        if self._left:
            return False
        self._state = self._data_end
        return True

    def _data_end(self, out: list[memoryview]) -> bool:
        end = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(end):
            raise FramingError("chunk data not followed by CRLF")
        if len(end) < 2:
            return False
        self._at += 2
        self._state = self._size_line
        return True

    def _trailer(self, out: list[memoryview]) -> bool:
        line = self._line(_TRAILER_LIMIT, "trailer section")
        if line is None:
            return False
        self._trailers += len(line) + 2
        if self._trailers > _TRAILER_LIMIT:
            raise FramingError(f"trailer section over {_TRAILER_LIMIT} bytes")
        if line:
            if not _TRAILER_LINE.fullmatch(line):
                raise FramingError("malformed trailer")
            return True
        self.done, self.rest = True, self._buffer[self._at :]
        return False


def whole_chunked(data: bytes) -> bytes | None:
    """The body of a chunked message that is all of `data`; None where `data` ends before it or goes on after it. Raises FramingError."""
    if not data.endswith(_END):
        return None
    pieces: list[bytes] = []
    at = 0
    # Chunks without extensions, as nearly all are, are cut out here; the decoder reads any other body.
    while (end := data.find(b"\r\n", at)) > 0 and _PLAIN_SIZE.fullmatch(data, at, end):
        start = end + 2
        at = start + int(data[at:end], 16)
        if at == start:
            if len(data) == start + 2:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            break
        if data[at : at + 2] != b"\r\n":
            break
        pieces.append(data[start:at])
        at += 2
    body = ChunkedBody()
    out = body.feed(data)
    return out if body.done and not body.rest else None


def chunk(data: bytes) -> bytes:
    """One chunk on the wire; empty for no data, because an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
