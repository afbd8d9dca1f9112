"""One `doorward run` with one worker, a Valkey, an upstream that does what it is told, and clients that are sockets.

Upstream and clients are in this process; what is measured is the worker, by /proc.
"""

import asyncio
import contextlib
import resource
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gateway.redis_client.embedded import EmbeddedValkey
from tests.bench import cores
from tests.bench.doors import Doorward, Household, new_key
from tests.bench.idle_connections import sign_in
from tests.bench.parties import HOST

NOBODY: Final = "http://127.0.0.1:9/"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Answer = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class SoakFailed(Exception):
    """Something is not as it must be; the text says what."""


async def say_ok(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The usual answer: what was asked for."""
    target = head.split(b" ", 2)[1]
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


class Upstream:
    """`answer` gets each request's head, and the streams; bodies are left to it. `open` connections, `requests` so far."""

    def __init__(self) -> None:
        self.answer: Answer = say_ok
        self.port = 0
        self.open = 0
        self.requests = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                await self.answer(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


class Place:
    """Everything that runs. `asked` opens a connection and sends a request of the signed-in person."""

    def __init__(self, door: Doorward, upstream: Upstream, cookie: str) -> None:
        self.door = door
        self.upstream = upstream
        self.cookie = cookie
        self.worker = door.workers()[0]

    async def connect(self, source: str = "127.0.0.1") -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.door.port, limit=1 << 20, local_addr=(source, 0))

    def head(self, line: str, *fields: str, signed_in: bool = True) -> bytes:
        lines = [f"{line} HTTP/1.1", f"Host: {HOST}", *fields, *([f"Cookie: {self.cookie}"] if signed_in else [])]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def asked(self, line: str, *fields: str, signed_in: bool = True, source: str = "127.0.0.1") -> Streams:
        reader, writer = await self.connect(source)
        writer.write(self.head(line, *fields, signed_in=signed_in))
        return reader, writer

    # --- what the worker holds and uses ---

    def resident(self) -> int:
        """Bytes."""
        return self._status("VmRSS")

    def forget_peak(self) -> int:
        """Begin a new peak (proc(5), clear_refs); the bytes that are resident now."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")
        return self.resident()

    def peak(self) -> int:
        """The most bytes that were resident since `forget_peak`."""
        return self._status("VmHWM")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.worker}/fd").iterdir()))

    def cpu(self) -> float:
        """Seconds."""
        return cores.cpu([self.worker]).total

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.worker}/status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0]) * 1024


async def status_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and head of the next answer. Raises IncompleteReadError."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and body of the next answer, which has a length. Raises IncompleteReadError."""
    status, head = await status_of(reader)
    return status, await reader.readexactly(int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]))


def wait_closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.transport.abort()


@contextlib.asynccontextmanager
async def placed(**sections: Any) -> AsyncIterator[Place]:
    """A place, up and running; it has ended afterwards. Raises BenchFailed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    upstream = Upstream()
    await upstream.start()
    valkey = EmbeddedValkey()
    await asyncio.to_thread(valkey.start)
    house = Household(redis=valkey.url, key=new_key(), issuer=NOBODY, upstream=upstream.port)
    try:
        with tempfile.TemporaryDirectory(prefix="doorward-soak-") as folder:
            door = Doorward("soak", house, Path(folder), on=cores.BOTH, **sections)
            try:
                await asyncio.to_thread(door.wait_ready)
                place = Place(door, upstream, await sign_in(valkey.url, house.key))
                for _ in range(50):  # tables and buffers get their size
                    reader, writer = await place.asked("GET /warm")
                    status, _ = await status_of(reader)
                    if status != 200:
                        raise SoakFailed(f"the first request is answered with {status}")
                    writer.close()
                yield place
            finally:
                await asyncio.to_thread(door.stop)
    finally:
        await upstream.close()
        await asyncio.to_thread(valkey.stop)
