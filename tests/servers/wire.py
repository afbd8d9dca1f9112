"""A client that sends bytes as they are given, and reads one answer after the other from a kept connection."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

PATIENCE = 30.0  # seconds for one answer


class NoAnswer(Exception):
    """The connection ended, or nothing that is HTTP came."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    head: bytes  # from the status line to the empty line
    body: bytes

    def field(self, name: str) -> str | None:
        found = re.search(rb"\r\n" + re.escape(name.encode()) + rb":[ \t]*([^\r\n]*)", self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else None

    def told(self, name: str) -> str:
        """A line of the application's answer; "" without it."""
        found = re.search(rb"^" + name.encode() + rb"=([^\n]*)$", self.body, re.MULTILINE)
        return found[1].decode("utf-8", "replace") if found else ""

    def seen(self) -> str:
        """The fields and variables that the application was given, and the body."""
        return bytes.fromhex(self.told("seen") + self.told("body")).decode("utf-8", "replace")


class Line:
    """One connection to 127.0.0.1:`port`, opened again where it has ended and the next request wants one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.opened = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Line":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def ask(self, request: bytes, *, head_only: bool = False) -> Reply:
        """Sends `request`, reads one final answer. `head_only`: no body follows (HEAD). Raises NoAnswer."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            self.opened += 1
        try:
            async with asyncio.timeout(PATIENCE):
                self._writer.write(request)
                await self._writer.drain()
                return await self._reply(head_only)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TimeoutError) as error:
            self.close()
            raise NoAnswer(repr(error)) from error

    async def _reply(self, head_only: bool) -> Reply:
        assert self._reader is not None
        status = 100
        while status < 200:
            head = await self._reader.readuntil(b"\r\n\r\n")
            found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
            if found is None:
                raise ValueError(f"no HTTP: {head[:100]!r}")
            status = int(found[1])
            if status == 101:
                return Reply(status, head, b"")
        reply = Reply(status, head, b"")
        if not head_only and status not in (204, 304):
            reply = Reply(status, head, await self._body(reply))
        if (reply.field("connection") or "").lower() == "close" or head.startswith(b"HTTP/1.0"):
            self.close()
        return reply

    async def _body(self, reply: Reply) -> bytes:
        assert self._reader is not None
        if (reply.field("transfer-encoding") or "").lower() == "chunked":
            whole = b""
            while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                whole += (await self._reader.readexactly(size + 2))[:-2]
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return whole
        length = reply.field("content-length")
        if length is None:
            return await self._reader.read(-1)
        return await self._reader.readexactly(int(length))

    async def frame(self, text: bytes) -> bytes:
        """After 101: one short text message there, and what comes back as one."""
        assert self._writer is not None
        assert self._reader is not None
        self._writer.write(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)
        async with asyncio.timeout(PATIENCE):
            _, size = await self._reader.readexactly(2)
            return await self._reader.readexactly(size & 127)


QUIET = 0.3  # seconds without a byte: whoever has not hung up by then waits for more


async def send(port: int, request: bytes) -> bytes:
    """All that comes back until the connection ends, or is quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = b""
    try:
        writer.write(request)
        while data := await asyncio.wait_for(reader.read(65536), QUIET):
            came += data
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return came


async def ask(port: int, request: bytes) -> Reply | None:
    """One request on a connection of its own; None without an answer."""
    async with Line(port) as line:
        with contextlib.suppress(NoAnswer):
            return await line.ask(request, head_only=request.startswith(b"HEAD "))
    return None


Answer = TypeVar("Answer")


async def each(
    port: int, requests: Iterable[bytes], how: Callable[[int, bytes], Awaitable[Answer]], at_once: int = 8
) -> list[tuple[bytes, Answer]]:
    """`how` (`ask` or `send`) for each request, on a connection of its own; with the answers, in their order."""
    left = list(enumerate(requests))[::-1]
    replies: dict[int, tuple[bytes, Answer]] = {}

    async def work() -> None:
        while left:
            place, request = left.pop()
            replies[place] = request, await how(port, request)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(work())
    return [replies[place] for place in sorted(replies)]
