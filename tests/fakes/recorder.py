"""A recording upstream: it notes every request byte for byte, and answers what it is told to."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


@dataclass
class Recorded:
    """One request as it arrived. `connection` numbers the connection it came on."""

    head: bytes
    body: bytes
    connection: int
    chunked: bool = False

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode()

    def values(self, name: str) -> list[bytes]:
        """All values of the field `name`, compared without case."""
        wanted = name.lower().encode()
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [value.strip(b" ") for found, _, value in lines if found.lower() == wanted]

    def names(self) -> list[str]:
        return [line.partition(b":")[0].decode("latin-1") for line in self.head.split(b"\r\n")[1:] if line]


Answer = Callable[[Recorded, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer_ok(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The usual answer: 200 with the target as body."""
    body = b"you asked for " + request.target.encode()
    if request.line.startswith(b"HEAD "):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class HalfAnswer:
    """An answer of four bytes: the head and two of them at once, the others when `release` is set."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        await writer.drain()
        await self.release.wait()
        writer.write(b"lf")


@dataclass
class RecordingUpstream:
    """`requests` in order of arrival; `answer` may be replaced at any time. Early answers set `read_bodies` to False.

    It listens on `path`, a unix socket, where one is given; on `port` of loopback otherwise, over TLS with `tls`.
    """

    answer: Answer = answer_ok
    read_bodies: bool = True
    requests: list[Recorded] = field(default_factory=list)
    connections: int = 0
    path: str | None = None
    tls: ssl.SSLContext | None = None

    async def start(self, port: int = 0) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        if self.path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
            return
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1024 * 1024, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request = Recorded(head[:-2], b"", number)
                self.requests.append(request)
                if self.read_bodies:
                    await self._body(request, reader)
                await self.answer(request, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _body(self, request: Recorded, reader: asyncio.StreamReader) -> None:
        padded = request.head + b"\r\n"
        length = _LENGTH.search(padded)
        if length is not None:
            request.body = await reader.readexactly(int(length[1]))
        elif _CHUNKED.search(padded):
            request.chunked = True
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                request.body += await reader.readexactly(size)
                await reader.readexactly(2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
