"""Reading session records: one connection to one server, both commands of a reading in one write, replies in order.

A request whose session is new to the worker waits for this, and in `redis.asyncio` it would cost several times as much as all the rest of the
request. So this much of the protocol (RESP2) is spoken here: a greeting, and then nothing but GETRANGE and PTTL. Errors are not judged here:
whatever has no plain answer is left to the library, whose word counts (`read` returns None).

The invariant: a reply belongs to the reading that has waited longest. A waiter that is cancelled keeps its place, and bytes that are no such
reply end the connection with everything that waits on it (facts/security.md C-41).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from gateway.errors import StoreUnavailable
from gateway.sessions.records import MAX_RECORD

_log = logging.getLogger("doorward.sessions")
_LONGEST_REPLY: Final = MAX_RECORD + 1024
_DEEPEST: Final = 4  # arrays in arrays: HELLO has two levels
_TICK: Final = 0.5
_SLOWEST_RETRY: Final = 2.0


class Unclear(Exception):
    """Bytes that are no reply."""


class ErrorReply(NamedTuple):
    """What Redis says went wrong; only the library reads it."""

    text: bytes


def parse_reply(data: bytes, at: int, deep: int = 0) -> tuple[Any, int] | None:
    """The RESP2 reply that begins at `at`, and where it ends; None while it is not complete. Raises Unclear."""
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > _LONGEST_REPLY:
            raise Unclear
        return None
    kind, text, next_at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"+":
        return text, next_at
    if kind == b"-":
        return ErrorReply(text), next_at
    if kind not in b":$*" or not text.removeprefix(b"-").isdigit():
        raise Unclear
    number = int(text)
    if kind == b":":
        return number, next_at
    if number == -1:
        return None, next_at
    if number < 0 or number > _LONGEST_REPLY:
        raise Unclear
    if kind == b"*":
        return _parse_array(data, next_at, number, deep + 1)
    stop = next_at + number
    if len(data) < stop + 2:
        return None
    if data[stop : stop + 2] != b"\r\n":
        raise Unclear
    return data[next_at:stop], stop + 2


def _parse_array(data: bytes, at: int, length: int, deep: int) -> tuple[Any, int] | None:
    if deep > _DEEPEST:
        raise Unclear
    found: list[Any] = []
    for _ in range(length):
        parsed = parse_reply(data, at, deep)
        if parsed is None:
            return None
        value, at = parsed
        found.append(value)
    return found, at


def command(*words: bytes) -> bytes:
    """One command on the wire."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


class Reading(asyncio.Protocol):
    """One connection. `waiting` are the readings under way, oldest first: when each began, and who wants it."""

    def __init__(self, clock: Callable[[], float], lost: "Callable[[Reading], None]") -> None:
        self.waiting: deque[tuple[float, asyncio.Future[Sequence[Any] | None]]] = deque()
        self.transport: asyncio.Transport
        self._clock = clock
        self._lost = lost
        self._buffer = b""
        self._replies: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, data: bytes) -> asyncio.Future[Sequence[Any] | None]:
        """Send what gets two replies; they come as one result, None when the connection ends before."""
        future: asyncio.Future[Sequence[Any] | None] = asyncio.get_running_loop().create_future()
        self.waiting.append((self._clock(), future))
        self.transport.write(data)
        return future

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        try:
            while at < len(data) and (parsed := parse_reply(data, at)) is not None:
                value, at = parsed
                self._replies.append(value)
                if len(self._replies) == 2:
                    self._answer()
        except Unclear:
            _log.warning("Redis gave an answer that cannot be read: the connection is given up")
            self.transport.abort()
        self._buffer = data[at:] if at else data

    def _answer(self) -> None:
        replies, self._replies = self._replies, []
        if not self.waiting:
            raise Unclear
        _, future = self.waiting.popleft()
        if not future.done():
            future.set_result(replies)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(self)
        while self.waiting:
            _, future = self.waiting.popleft()
            if not future.done():
                future.set_result(None)

    def give_up(self, before: float) -> None:
        """End the connection when somebody has waited since before `before`."""
        if self.waiting and self.waiting[0][0] < before:
            for _, future in self.waiting:
                if not future.done():
                    future.set_exception(StoreUnavailable("TimeoutError"))
            self.waiting.clear()
            self.transport.abort()


#: Makes a connection to the server, with the protocol that the factory gives. Raises OSError.
Open = Callable[[Callable[[], Reading]], Awaitable[Reading]]


class RecordReader:
    """Reads from one server, which it connects to when first asked and whenever the connection was lost; meanwhile `read` says None.

    `greeting` are the commands that a new connection begins with, each answered with OK; then the server must say that it is no replica.
    `clock` is monotonic; `patience` in seconds, for one reading.
    """

    def __init__(
        self, open_: Open, greeting: Sequence[bytes], clock: Callable[[], float], *, patience: float = 2.0
    ) -> None:
        self._open = open_
        self._greeting = greeting
        self._clock = clock
        self._patience = patience
        self._reading: Reading | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._pause = 0.05
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def read(self, name: bytes) -> tuple[bytes, int] | None:
        """The bytes under a key, at most MAX_RECORD + 1 of them, and its PTTL; None: the library must say. Raises StoreUnavailable."""
        reading = self._reading
        if reading is None:
            self._connect()
            return None
        length = len(name)
        replies = await reading.ask(
            b"*4\r\n$8\r\nGETRANGE\r\n$%d\r\n%b\r\n$1\r\n0\r\n$%d\r\n%d\r\n*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n"
            % (length, name, len(_LAST), MAX_RECORD, length, name)
        )
        if replies is None or not isinstance(replies[0], bytes) or not isinstance(replies[1], int):
            return None
        return replies[0], replies[1]

    @property
    def connected(self) -> bool:
        return self._reading is not None

    @property
    def connecting(self) -> bool:
        return self._connecting is not None

    def hang_up(self) -> None:
        """Ask the server anew who it is before anything more is read."""
        if self._reading is not None:
            self._reading.transport.abort()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._reading is not None:
            self._reading.transport.abort()

    def _connect(self) -> None:
        if self._connecting is None and not self._closed and self._clock() >= self._not_before:
            self._connecting = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        reading: Reading | None = None
        try:
            async with asyncio.timeout(self._patience):
                reading = await self._open(lambda: Reading(self._clock, self._lost))
                await self._greet(reading)
        except Exception as error:
            _log.debug("records are read by the library: %s", type(error).__name__)
            if reading is not None:
                reading.transport.abort()
            self._not_before = self._clock() + self._pause
            self._pause = min(self._pause * 2, _SLOWEST_RETRY)
        else:
            self._reading = reading
            self._pause = 0.05
            self._watch()
        finally:
            self._connecting = None

    async def _greet(self, reading: Reading) -> None:
        """Raises ConnectionError."""
        for words in self._greeting:
            replies = await reading.ask(words + _PING)
            if replies is None or replies[0] != b"OK":
                raise ConnectionError("Redis does not let us in")
        replies = await reading.ask(_HELLO + _PING)
        hello = replies[0] if replies is not None else None
        # SECURITY: a replica lags: it would answer for sessions that were ended (C-43, C-44).
        if not isinstance(hello, list) or dict(zip(hello[::2], hello[1::2], strict=False)).get(b"role") != b"master":
            raise ConnectionError("not a primary")

    def _lost(self, reading: Reading) -> None:
        if self._reading is reading:
            self._reading = None

    def _watch(self) -> None:
        reading = self._reading
        if reading is not None:
            reading.give_up(self._clock() - self._patience)
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._watch)


_LAST: Final = b"%d" % MAX_RECORD
_PING: Final = command(b"PING")
_HELLO: Final = command(b"HELLO", b"2")
