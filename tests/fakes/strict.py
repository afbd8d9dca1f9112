"""A second reading of HTTP/1.1, written from the grammar alone: an upstream and a client that forgive nothing.

What the gateway sends is judged by these, not by the gateway's own reading. RFC 9112 sections 2 to 7.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

Fields = list[tuple[bytes, bytes]]

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*"
)
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Unclear(Exception):
    """Bytes that are no HTTP/1.1, or can be read in two ways."""


def read_fields(lines: Sequence[bytes]) -> Fields:
    """Raises Unclear."""
    found = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Unclear(f"field line {line!r}")
        found.append((match[1], match[2]))
    return found


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for found, value in fields if found.lower() == name]


def framing_of(fields: Fields) -> int | None:
    """The body's length; None when it is chunked. Raises Unclear when there are two answers."""
    lengths, codings = values(fields, b"content-length"), values(fields, b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Unclear(f"framed twice: {lengths} {codings}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Unclear(f"coding {codings[0]!r}")
        return None
    if lengths and not re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]):
        raise Unclear(f"length {lengths[0]!r}")
    return int(lengths[0]) if lengths else 0


class Unchunker:
    """Reads one chunked body from a buffer that grows."""

    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def take(self, buffer: bytearray) -> None:
        """Takes what belongs to the body off the buffer's front. Raises Unclear."""
        while not self.done:
            end = buffer.find(b"\r\n")
            if end < 0:
                return
            match = _CHUNK.fullmatch(bytes(buffer[:end]))
            if match is None:
                raise Unclear(f"chunk size {bytes(buffer[:end])!r}")
            size = int(match[1], 16)
            if size == 0:
                self._trailers(buffer, end + 2)
                return
            if len(buffer) < end + 4 + size:
                return
            if buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise Unclear("a chunk without its end")
            self.body += buffer[end + 2 : end + 2 + size]
            del buffer[: end + 4 + size]

    def _trailers(self, buffer: bytearray, start: int) -> None:
        if buffer[start : start + 2] == b"\r\n":
            del buffer[: start + 2]
            self.done = True
            return
        end = buffer.find(b"\r\n\r\n", start)
        if end >= 0:
            read_fields(bytes(buffer[start:end]).split(b"\r\n"))
            del buffer[: end + 4]
            self.done = True


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: bytes
    version: str
    fields: Fields
    connection: int
    body: bytes = b""
    chunked: bool = False
    complete: bool = False

    def values(self, name: str) -> list[bytes]:
        return values(self.fields, name.lower().encode())


@dataclass
class Reply:
    """What is written, piece by piece, when the request is complete. `joins`: afterwards the connection is bytes."""

    pieces: Sequence[bytes]
    close: bool = False
    joins: bool = False


def reply_ok(seen: Seen) -> Reply:
    body = b"" if seen.method == "HEAD" else b"you asked for " + seen.target
    length = len(b"you asked for " + seen.target)
    return Reply([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body])


@dataclass
class StrictUpstream:
    """`seen` in order of arrival; `violations` is what could be read in two ways, or not at all."""

    reply: Callable[[Seen], Reply] = reply_ok
    seen: list[Seen] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    connections: int = 0

    async def start(self) -> None:
        self.open: set[asyncio.Transport] = set()
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        self._server.close()
        for transport in list(self.open):
            transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: StrictUpstream) -> None:
        self.upstream = upstream
        upstream.connections += 1
        self.number = upstream.connections
        self.buffer = bytearray()
        self.request: Seen | None = None
        self.left = 0
        self.unchunker: Unchunker | None = None
        self.joined = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's
        self.upstream.open.add(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.upstream.open.discard(self.transport)
        # Half a request is no violation: whoever aborts one means it. A beginning of a head is: heads are written whole.
        if self.buffer and self.request is None and not self.joined and error is None:
            self.upstream.violations.append(f"left over: {bytes(self.buffer)!r}")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            while self.buffer and not self.joined and self._step():
                pass
        except Unclear as unclear:
            self.upstream.violations.append(str(unclear))
            self.transport.abort()
        if self.joined:
            self.transport.write(bytes(self.buffer))
            self.buffer.clear()

    def _step(self) -> bool:
        if self.request is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._head(bytes(self.buffer[:end]))
            del self.buffer[: end + 4]
        request = self.request
        assert request is not None
        if self.unchunker is not None:
            self.unchunker.take(self.buffer)
            request.body = self.unchunker.body
            if not self.unchunker.done:
                return False
        else:
            piece = bytes(self.buffer[: self.left])
            del self.buffer[: self.left]
            request.body += piece
            self.left -= len(piece)
            if self.left:
                return False
        self._answer(request)
        return True

    def _head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(first)
        if match is None:
            raise Unclear(f"request line {first!r}")
        fields = read_fields(lines)
        length = framing_of(fields)
        seen = Seen(match[1].decode(), match[2], f"1.{match[3].decode()}", fields, self.number, chunked=length is None)
        self.request = seen
        self.left, self.unchunker = length or 0, Unchunker() if length is None else None
        self.upstream.seen.append(seen)
        if values(fields, b"expect"):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer(self, request: Seen) -> None:
        request.complete = True
        self.request = None
        reply = self.upstream.reply(request)
        for piece in reply.pieces:
            self.transport.write(piece)
        self.joined = reply.joins
        if reply.close:
            self.transport.close()


@dataclass
class Answer:
    """One final response as a client reads it, with the interim ones before it. `framing`: none, sized, chunked or close."""

    version: str
    status: int
    reason: bytes
    fields: Fields
    body: bytes
    framing: str
    complete: bool
    interims: list[tuple[int, Fields]]

    def values(self, name: str) -> list[bytes]:
        return values(self.fields, name.lower().encode())


class StrictReader:
    """Reads answers one by one. Raises Unclear, and EOFError when the stream ends before an answer."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.buffer = bytearray()
        self.reset = False

    async def answer(self, method: str = "GET", timeout: float = 60.0) -> Answer:
        interims: list[tuple[int, Fields]] = []
        async with asyncio.timeout(timeout):
            while True:
                version, status, reason, fields = await self._head()
                if status >= 200 or status == 101:
                    break
                interims.append((status, fields))
            answer = Answer(version, status, reason, fields, b"", "none", True, interims)
            if method != "HEAD" and status not in (101, 204, 304):
                await self._body(answer)
            return answer

    async def ended(self, timeout: float = 60.0) -> bool:
        """Whether the server ends the connection with nothing more said."""
        async with asyncio.timeout(timeout):
            return not self.buffer and not await self._more()

    async def _more(self) -> bool:
        try:
            data = await self.reader.read(262_144)
        except ConnectionError:
            data, self.reset = b"", True
        self.buffer += data
        return bool(data)

    async def _head(self) -> tuple[str, int, bytes, Fields]:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                raise EOFError(bytes(self.buffer))
        first, *lines = bytes(self.buffer[:end]).split(b"\r\n")
        del self.buffer[: end + 4]
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise Unclear(f"status line {first!r}")
        return f"1.{match[1].decode()}", int(match[2]), match[3], read_fields(lines)

    async def _body(self, answer: Answer) -> None:
        if values(answer.fields, b"transfer-encoding"):
            framing_of(answer.fields)
            answer.framing = "chunked"
            unchunker = Unchunker()
            unchunker.take(self.buffer)
            while not unchunker.done:
                if not await self._more():
                    answer.complete = False
                    break
                unchunker.take(self.buffer)
            answer.body = unchunker.body
        elif values(answer.fields, b"content-length"):
            answer.framing = "sized"
            length = framing_of(answer.fields) or 0
            while len(self.buffer) < length and await self._more():
                pass
            answer.complete = len(self.buffer) >= length
            answer.body = bytes(self.buffer[:length])
            del self.buffer[:length]
        else:
            answer.framing = "close"
            while await self._more():
                pass
            answer.complete = not self.reset
            answer.body = bytes(self.buffer)
            self.buffer.clear()


class StrictClient(StrictReader):
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader)
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "StrictClient":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=4 * 1024 * 1024))

    def close(self) -> None:
        self.writer.transport.abort()
