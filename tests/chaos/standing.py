"""WebSockets and event streams that stay open: each says who it is, and opens again somewhere else when it was ended."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.chaos.judging import Judgement, Meaning, Tally
from tests.chaos.people import Person
from tests.chaos.stage import HOST, ORIGIN
from tests.chaos.upstream import EVENT_SECONDS

_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
_SILENT: Final = 10 * EVENT_SECONDS
_MESSAGE: Final = b"still the same?"
now = time.monotonic


def always(port: int) -> Callable[[], int]:
    return lambda: port


class Standing:
    """One long connection of a person. `choose()`: the port to open it at, now. `counts`: shared among many."""

    def __init__(
        self, kind: str, person: Person, choose: Callable[[], int | None], tally: Tally, counts: Counter[str]
    ) -> None:
        self.kind, self.person = kind, person
        self._choose, self._tally, self._counts = choose, tally, counts
        self.open = False
        self.ended_at = 0.0
        self.refused = False
        self.port = 0

    async def keep(self, *, again: bool = True) -> None:
        """Until cancelled; or until it is ended or refused, where it is not to open `again`."""
        while not self.refused:
            port = self._choose()
            if port is not None:
                await self._once(port)
                if not again:
                    return
            await asyncio.sleep(random.uniform(0.1, 1.5))  # as scripts in pages do, or all come at once

    async def _once(self, port: int) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self._counts["refused connections"] += 1
            return
        self.port = port
        try:
            async with asyncio.timeout(_SILENT):
                writer.write(self._request())
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status in (101, 200):
                self.open = True
                self._counts[f"{self.kind}s opened"] += 1
                await (self._socket(reader, writer) if status == 101 else self._stream(reader))
            else:
                self.refused = status in (302, 401) and not self.person.live
                code = re.search(rb'"code": ?"([a-z_]+)"', await reader.read(4096))
                self._tally.failed(f"{self.kind} {status} {code[1].decode() if code else ''}".strip(), now())
        except TimeoutError:
            self._tally.failed(f"{self.kind} silent", now())
        except (OSError, asyncio.IncompleteReadError):
            self._counts[f"{self.kind}s ended"] += 1
        finally:
            self.open, self.ended_at = False, now()
            writer.transport.abort()

    def _request(self) -> bytes:
        upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\nOrigin: {ORIGIN}\r\n"
        socket = self.kind == "socket"
        target, fields = ("/live", upgrade) if socket else ("/events", "")
        return f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {self.person.cookie}\r\n{fields}\r\n".encode()

    async def _socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first frame says the person; then a message and its echo, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            async with asyncio.timeout(_SILENT):
                first, size = await reader.readexactly(2)
                text = await reader.readexactly(size & 0x7F)
            if first != 0x81 or text not in (self.person.name.encode(), _MESSAGE):
                self._is_wrong(text)
                return
            loop.call_later(EVENT_SECONDS, _say, writer)

    async def _stream(self, reader: asyncio.StreamReader) -> None:
        while True:
            async with asyncio.timeout(_SILENT):
                event = await self._event(reader)
            if event and event != b"data: " + self.person.name.encode() + b"\n\n":
                self._is_wrong(event)
                return

    @staticmethod
    async def _event(reader: asyncio.StreamReader) -> bytes:
        """An event, out of the chunks that it comes in or without them."""
        event = b""
        while not event.endswith(b"\n\n"):
            line = await reader.readuntil(b"\n")
            event += line if line.startswith(b"data: ") or (line == b"\n" and event) else b""
        return event

    def _is_wrong(self, text: bytes) -> None:
        self._tally.add(Judgement(Meaning.WRONG_USER, f"{self.kind} of {self.person.name} says {text[:80]!r}"), now())


def _say(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.write(bytes((0x81, 0x80 | len(_MESSAGE), 0, 0, 0, 0)) + _MESSAGE)
