"""Reading session records: one connection to one server, all commands of a reading in one write, replies in order.

A request whose session is new to the worker waits for this, and in `redis.asyncio` it would cost several times as much as all the rest of the
request. So this much of the protocol (RESP2) is spoken here: a greeting, then GETRANGE and PTTL, and SET for what only saves work. Errors are
not judged here: whatever has no plain answer is left to the library, whose word counts (the answer is None).

The invariant: a reply belongs to the reading that has waited longest. A waiter that lost its interest keeps its place, and bytes that are no
such reply end the connection with everything that waits on it (docs/threats.md C-41).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.limits import MAX_RECORD, MAX_SHARED

_LONGEST_REPLY: Final = MAX_RECORD + 1024
_STATUS, _ERROR, _NUMBER, _BULK, _ARRAY = b"+-:$*"
_NUMBERED: Final = (_BULK, _NUMBER, _ARRAY)
_DEEPEST: Final = 4  # arrays in arrays: HELLO has two levels


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
    kind, text, next_at = data[at], data[at + 1 : end], end + 2
    if kind in _NUMBERED:
        if not (text.isdigit() or (text[1:].isdigit() and text[:1] == b"-")):
            raise Unclear
        number = int(text)
        if kind == _NUMBER:
            return number, next_at
        if number == -1:
            return None, next_at
        if number < 0 or number > _LONGEST_REPLY:
            raise Unclear
        if kind == _ARRAY:
            return _parse_array(data, next_at, number, deep + 1)
        stop = next_at + number
        if len(data) < stop + 2:
            return None
        if data[stop : stop + 2] != b"\r\n":
            raise Unclear
        return data[next_at:stop], stop + 2
    if kind == _STATUS:
        return text, next_at
    if kind == _ERROR:
        return ErrorReply(text), next_at
    raise Unclear


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


_log = logging.getLogger("doorward.sessions")
_TICK: Final = 0.5
_SLOWEST_RETRY: Final = 2.0

#: All replies; None: the connection ended before them; StoreUnavailable: they did not come in time.
Replies = Sequence[Any] | StoreUnavailable | None
#: Who hears of them, and after how many seconds.
Hear = Callable[[Replies, float], None]


class RecordConnection(asyncio.Protocol):
    """One connection. `waiting` is who waits for replies, longest first: since when, for how many, and who hears of them."""

    def __init__(self, clock: Callable[[], float], lost: "Callable[[RecordConnection], None]") -> None:
        self.waiting: deque[tuple[float, int, Hear]] = deque()
        self.transport: asyncio.Transport
        self._clock = clock
        self._lost = lost
        self._buffer = b""
        self._replies: list[Any] = []
        self._outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, data: bytes, count: int, hear: Hear) -> None:
        """Send what gets `count` replies; they come as one result."""
        self.waiting.append((self._clock(), count, hear))
        # What is asked in one turn of the loop goes out in one write: each is a system call that wakes the server.
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not self.transport.is_closing():
            self.transport.write(b"".join(outgoing))

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at, now = 0, self._clock()
        try:
            while at < len(data) and (parsed := parse_reply(data, at)) is not None:
                value, at = parsed
                if not self.waiting:
                    raise Unclear
                self._replies.append(value)
                begun, count, hear = self.waiting[0]
                if len(self._replies) == count:
                    replies, self._replies = self._replies, []
                    self.waiting.popleft()
                    _tell(hear, replies, now - begun)
        except Unclear:
            _log.warning("Redis gave an answer that cannot be read: the connection is given up")
            self.transport.abort()
        self._buffer = data[at:] if at else data

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(self)
        self._answer_all(None)

    def give_up(self, before: float) -> None:
        """End the connection when somebody has waited since before `before`."""
        if self.waiting and self.waiting[0][0] < before:
            self._answer_all(StoreUnavailable("TimeoutError"))
            self.transport.abort()

    def _answer_all(self, answer: Replies) -> None:
        now = self._clock()
        while self.waiting:
            begun, _, hear = self.waiting.popleft()
            _tell(hear, answer, now - begun)


#: Makes a connection to the server, with the protocol that the factory gives. Raises OSError.
Open = Callable[[Callable[[], RecordConnection]], Awaitable[RecordConnection]]


class RecordReader:
    """Reads from one server, which it connects to when first asked and whenever the connection was lost; meanwhile `ask` says False.

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
        self._connection: RecordConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._pause = 0.05
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def ask(self, name: bytes, beside: bytes, hear: Hear) -> bool:
        """Have it told, later, what is under a key, at most MAX_RECORD + 1 bytes, its PTTL, and what is under the key beside it.

        False: not now.
        """
        connection = self._connection
        if connection is None:
            self._connect()
            return False
        length = b"$%d\r\n" % len(name)
        words = (
            b"*4\r\n$8\r\nGETRANGE\r\n", length, name, _ALL_OF_IT, length, name,
            b"\r\n*4\r\n$8\r\nGETRANGE\r\n$%d\r\n" % len(beside), beside, _THE_BEGINNING,
        )  # fmt: skip
        connection.ask(b"".join(words), 3, hear)
        return True

    def put(self, name: bytes, value: bytes, milliseconds: int) -> None:
        """Set a key, for so long. Nobody hears whether it worked."""
        if self._connection is not None:
            self._connection.ask(command(b"SET", name, value, b"PX", b"%d" % milliseconds), 1, _ignore)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def connecting(self) -> bool:
        return self._connecting is not None

    def hang_up(self) -> None:
        """Ask the server anew who it is before anything more is read."""
        if self._connection is not None:
            self._connection.transport.abort()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.transport.abort()

    def _connect(self) -> None:
        if self._connecting is None and not self._closed and self._clock() >= self._not_before:
            self._connecting = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        connection: RecordConnection | None = None
        try:
            async with asyncio.timeout(self._patience):
                connection = await self._open(lambda: RecordConnection(self._clock, self._lost))
                await self._greet(connection)
        except Exception as error:
            _log.debug("records are read by the library: %s", type(error).__name__)
            if connection is not None:
                connection.transport.abort()
            self._not_before = self._clock() + self._pause
            self._pause = min(self._pause * 2, _SLOWEST_RETRY)
        else:
            self._connection = connection
            self._pause = 0.05
            self._watch()
        finally:
            self._connecting = None

    async def _greet(self, connection: RecordConnection) -> None:
        """Raises ConnectionError."""
        for words in self._greeting:
            replies = await _heard(partial(connection.ask, words + _PING, 2))
            if not isinstance(replies, list) or replies[0] != b"OK":
                raise ConnectionError("Redis does not let us in")
        replies = await _heard(partial(connection.ask, _HELLO + _PING, 2))
        hello = replies[0] if isinstance(replies, list) else None
        # SECURITY: a replica lags: it would answer for sessions that were ended (C-43, C-44).
        if not isinstance(hello, list) or dict(zip(hello[::2], hello[1::2], strict=False)).get(b"role") != b"master":
            raise ConnectionError("not a primary")

    def _lost(self, connection: RecordConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def _watch(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.give_up(self._clock() - self._patience)
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._watch)


def plain(replies: Sequence[Any] | None) -> tuple[bytes, int, bytes] | None:
    """The replies to `RecordReader.ask` where they are what they should be; None: the library must say."""
    if replies is None:
        return None
    record, left, beside = replies
    if not isinstance(record, bytes) or not isinstance(left, int):
        return None
    return record, left, beside if isinstance(beside, bytes) else b""


def _tell(hear: Hear, replies: Replies, seconds: float) -> None:
    """Whoever raises hurts nobody who waits behind."""
    try:
        hear(replies, seconds)
    except Exception:
        _log.exception("what Redis answered could not be heard")


def _ignore(replies: Replies, seconds: float) -> None:
    """For what is only done to save work."""


async def _heard(ask: Callable[[Hear], None]) -> Replies:
    """What `ask` has told to somebody. Who is cancelled meanwhile is told nothing."""
    future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()

    def hear(replies: Replies, seconds: float) -> None:
        if not future.done():
            future.set_result(replies)

    ask(hear)
    return await future


_ALL_OF_IT: Final = b"\r\n$1\r\n0\r\n$%d\r\n%d\r\n*2\r\n$4\r\nPTTL\r\n" % (len(b"%d" % MAX_RECORD), MAX_RECORD)
_THE_BEGINNING: Final = b"\r\n$1\r\n0\r\n$%d\r\n%d\r\n" % (len(b"%d" % MAX_SHARED), MAX_SHARED)
_PING: Final = command(b"PING")
_HELLO: Final = command(b"HELLO", b"2")
