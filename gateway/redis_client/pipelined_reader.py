"""The pipelined reader of session records: one connection to one server, all commands of a read in one write, replies in order.

A request whose session is new to the worker waits for this read, and in `redis.asyncio` it would cost several times as much as the rest of the
request. So a part of RESP2 is implemented here: AUTH, SELECT, CLIENT SETNAME and HELLO, then GETRANGE and PTTL, and SET for values whose loss
costs work only. Error replies are not interpreted here: where a read has no plain result (`record_of` returns None), the caller reads with
the library.

The invariant: a reply belongs to the read that has waited longest. A waiter that was cancelled keeps its place, and bytes that are no
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
_NULL: Final = -1  # the length of a null
_DEEPEST: Final = 4  # arrays in arrays: HELLO has two levels


class MalformedReply(Exception):
    """Bytes that are no RESP2 reply."""


class ErrorReply(NamedTuple):
    """An error reply; the read is repeated by the library, which interprets it."""

    text: bytes


def parse_reply(data: bytes, at: int, depth: int = 0) -> tuple[Any, int] | None:
    """The RESP2 reply that begins at `at`, and where it ends; None while it is not complete. Raises MalformedReply."""
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > _LONGEST_REPLY:
            raise MalformedReply
        return None
    kind, text, next_at = data[at], data[at + 1 : end], end + 2
    if kind == _BULK:
        return _parse_bulk(data, next_at, _integer(text))
    if kind == _NUMBER:
        return _integer(text), next_at
    if kind == _ARRAY:
        return _parse_array(data, next_at, _integer(text), depth + 1)
    if kind == _STATUS:
        return text, next_at
    if kind == _ERROR:
        return ErrorReply(text), next_at
    raise MalformedReply


def _integer(text: bytes) -> int:
    if not (text.isdigit() or (text[1:].isdigit() and text[:1] == b"-")):
        raise MalformedReply
    return int(text)


def _parse_bulk(data: bytes, at: int, length: int) -> tuple[bytes | None, int] | None:
    if length == _NULL:
        return None, at
    if not 0 <= length <= _LONGEST_REPLY:
        raise MalformedReply
    end = at + length
    if len(data) < end + 2:
        return None
    if data[end : end + 2] != b"\r\n":
        raise MalformedReply
    return data[at:end], end + 2


def _parse_array(data: bytes, at: int, length: int, depth: int) -> tuple[list[Any] | None, int] | None:
    if length == _NULL:
        return None, at
    if not 0 <= length <= _LONGEST_REPLY or depth > _DEEPEST:
        raise MalformedReply
    found: list[Any] = []
    for _ in range(length):
        parsed = parse_reply(data, at, depth)
        if parsed is None:
            return None
        value, at = parsed
        found.append(value)
    return found, at


def encode_command(*words: bytes) -> bytes:
    """One command in RESP2."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


_log = logging.getLogger("doorward.sessions")
_TICK: Final = 0.5
_SLOWEST_RETRY: Final = 2.0

#: All replies of one `send`; None: the connection ended before them; StoreUnavailable: they did not come in time.
Replies = Sequence[Any] | StoreUnavailable | None
#: Takes the replies, and after how many seconds they came.
OnReplies = Callable[[Replies, float], None]


class RecordConnection(asyncio.Protocol):
    """One connection. `waiting` has, longest first, when each `send` was made, its number of replies and its callback."""

    def __init__(self, clock: Callable[[], float], on_lost: "Callable[[RecordConnection], None]") -> None:
        self.waiting: deque[tuple[float, int, OnReplies]] = deque()
        self.transport: asyncio.Transport
        self._clock = clock
        self._on_lost = on_lost
        self._buffer = b""
        self._replies: list[Any] = []
        self._outgoing: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, data: bytes, count: int, on_replies: OnReplies) -> None:
        """Send commands that get `count` replies in all; `on_replies` gets them together."""
        self.waiting.append((self._clock(), count, on_replies))
        # All commands of one turn of the loop go out in one write: each write is a system call that wakes the server.
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
                    raise MalformedReply
                self._replies.append(value)
                sent_at, count, on_replies = self.waiting[0]
                if len(self._replies) == count:
                    replies, self._replies = self._replies, []
                    self.waiting.popleft()
                    _deliver(on_replies, replies, now - sent_at)
        except MalformedReply:
            _log.warning("Redis sent a reply that cannot be read: the connection is closed")
            self.transport.abort()
        self._buffer = data[at:] if at else data

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(self)
        self._deliver_all(None)

    def abort_overdue(self, before: float) -> None:
        """Abort the connection when a `send` from before the moment `before` has no replies yet."""
        if self.waiting and self.waiting[0][0] < before:
            self._deliver_all(StoreUnavailable("no answer in time"))
            self.transport.abort()

    def _deliver_all(self, replies: Replies) -> None:
        now = self._clock()
        while self.waiting:
            sent_at, _, on_replies = self.waiting.popleft()
            _deliver(on_replies, replies, now - sent_at)


#: Opens a connection to the server, with the protocol that the factory makes. Raises OSError.
Open = Callable[[Callable[[], RecordConnection]], Awaitable[RecordConnection]]


class RecordReader:
    """Reads from one server. It connects at the first `read`, and again after the connection was lost; `read` returns False meanwhile.

    `greeting` are the commands that a new connection begins with; each gets OK. Then HELLO must name the server a primary.
    `clock` is monotonic; `timeout` in seconds, for one read.
    """

    def __init__(
        self, open_: Open, greeting: Sequence[bytes], clock: Callable[[], float], *, timeout: float = 2.0
    ) -> None:
        self._open = open_
        self._greeting = greeting
        self._clock = clock
        self._timeout = timeout
        self._connection: RecordConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._pause = 0.05
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def read(self, name: bytes, shared_name: bytes, on_replies: OnReplies) -> bool:
        """Read a record of at most MAX_RECORD + 1 bytes, its PTTL, and the value of another key, at most MAX_SHARED + 1 bytes.

        `on_replies` is called later, with the three replies (`record_of`). False: there is no connection now, and it is not called.
        """
        connection = self._connection
        if connection is None:
            self._connect()
            return False
        length = b"$%d\r\n" % len(name)
        words = (
            b"*4\r\n$8\r\nGETRANGE\r\n", length, name, _WHOLE_RECORD, length, name,
            b"\r\n*4\r\n$8\r\nGETRANGE\r\n$%d\r\n" % len(shared_name), shared_name, _WHOLE_SHARED,
        )  # fmt: skip
        connection.send(b"".join(words), 3, on_replies)
        return True

    def write(self, name: bytes, value: bytes, milliseconds: int) -> None:
        """Set a key with a TTL. A failure is not reported: the value only saves work."""
        if self._connection is not None:
            self._connection.send(encode_command(b"SET", name, value, b"PX", b"%d" % milliseconds), 1, _discard)

    def disconnect(self) -> None:
        """Close the connection, so that the next one checks the server's role before anything is read."""
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
            self._connecting = asyncio.get_running_loop().create_task(self._open_connection())

    async def _open_connection(self) -> None:
        connection: RecordConnection | None = None
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._open(lambda: RecordConnection(self._clock, self._forget))
                await self._handshake(connection)
        except Exception as error:
            _log.debug("records are read by the library, no connection: %s", type(error).__name__)
            if connection is not None:
                connection.transport.abort()
            self._not_before = self._clock() + self._pause
            self._pause = min(self._pause * 2, _SLOWEST_RETRY)
        else:
            self._connection = connection
            self._pause = 0.05
            self._check_timeout()
        finally:
            self._connecting = None

    async def _handshake(self, connection: RecordConnection) -> None:
        """Raises ConnectionError."""
        for words in self._greeting:
            replies = await _wait_for(partial(connection.send, words + _PING, 2))
            if not isinstance(replies, list) or replies[0] != b"OK":
                raise ConnectionError("Redis refused the greeting")
        replies = await _wait_for(partial(connection.send, _HELLO + _PING, 2))
        hello = replies[0] if isinstance(replies, list) else None
        # SECURITY: a replica lags: it would answer for sessions that were ended (C-43, C-44).
        if not isinstance(hello, list) or dict(zip(hello[::2], hello[1::2], strict=False)).get(b"role") != b"master":
            raise ConnectionError("not a primary")

    def _forget(self, connection: RecordConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def _check_timeout(self) -> None:
        connection = self._connection
        if connection is not None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._check_timeout)
            connection.abort_overdue(self._clock() - self._timeout)


def record_of(replies: Sequence[Any] | None) -> tuple[bytes, int, bytes] | None:
    """The record, its PTTL in milliseconds and the shared value, from the replies to `RecordReader.read`; None: read with the library."""
    if replies is None:
        return None
    record, left, shared = replies
    if not isinstance(record, bytes) or not isinstance(left, int):
        return None
    return record, left, shared if isinstance(shared, bytes) else b""


def _deliver(on_replies: OnReplies, replies: Replies, seconds: float) -> None:
    """Call back. A callback that raises must not keep the replies from those that wait behind it."""
    try:
        on_replies(replies, seconds)
    except Exception:
        _log.exception("replies of Redis could not be handled")


def _discard(replies: Replies, seconds: float) -> None:
    """The callback of `write`."""


async def _wait_for(send: Callable[[OnReplies], None]) -> Replies:
    """The replies to one `send`, waited for; a caller that was cancelled meanwhile gets none."""
    future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()

    def on_replies(replies: Replies, seconds: float) -> None:
        if not future.done():
            future.set_result(replies)

    send(on_replies)
    return await future


_WHOLE_RECORD: Final = b"\r\n$1\r\n0\r\n$%d\r\n%d\r\n*2\r\n$4\r\nPTTL\r\n" % (len(b"%d" % MAX_RECORD), MAX_RECORD)
_WHOLE_SHARED: Final = b"\r\n$1\r\n0\r\n$%d\r\n%d\r\n" % (len(b"%d" % MAX_SHARED), MAX_SHARED)
_PING: Final = encode_command(b"PING")
_HELLO: Final = encode_command(b"HELLO", b"2")
