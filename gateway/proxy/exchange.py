"""One admitted request and its answer: the client's connection on one side, the upstream's on the other.

The request head is written once, re-serialised; bodies stream both ways, and a side that cannot take more stops the other from reading.
A response that broke off is shown to the client as broken (B-45); a connection that carried half a message is never used again (B-18).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.config.schema import Limits, Timeouts
from gateway.errors.dependencies import UpstreamFault, UpstreamTimeout
from gateway.errors.refusal import Refusal
from gateway.errors.requests import RequestTimeout
from gateway.http.framing import LAST_CHUNK, chunk
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import CHUNKED, ParsedResponse
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.pool import Pool
from gateway.proxy.tie import Tie
from gateway.proxy.tunnel import accepts
from gateway.proxy.upstream import Serves, UpstreamConnection


class MinimumRate:
    """One exchange's. `moved` is the number of bytes, of both bodies, that the client has sent or taken so far."""

    __slots__ = ("_moved", "_since")

    def __init__(self, now: float, moved: int) -> None:
        self._since = now
        self._moved = moved

    def too_slow(self, now: float, moved: int, rate: int, window: float) -> bool:
        """Whether fewer than `rate` bytes a second moved in the window that ends now; False inside a window of so many seconds."""
        spent = now - self._since
        if spent < window:
            return False
        slow = moved - self._moved < rate * spent
        self._since, self._moved = now, moved
        return slow


_SMALL: Final = 16 * 1024
_LONE_SECONDS: Final = 0.5
_REPEATABLE: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"))


class Exchange:
    """One request on its way."""

    __slots__ = (
        "_chunk_out", "_clock", "_connecting", "_connection", "_finished", "_head", "_lone", "_pace", "_queued", "_retried",
        "_stopped", "_timeouts", "authenticates", "client", "draining", "keep_alive", "plain", "pool", "received", "request",
        "request_done", "size", "started", "status", "touched", "waiting_for_response",
    )  # fmt: skip

    filtered = False  # whether response filters see the response first

    def __init__(
        self,
        client: ClientStream,
        request: ParsedRequest,
        head: bytes,
        pool: Pool,
        timeouts: Timeouts,
        clock: Callable[[], float],
    ) -> None:
        self.client = client
        self.request = request
        self.pool = pool
        self.plain = request.method != "HEAD" and not self.filtered
        self.keep_alive = request.keep_alive
        self.request_done = not (request.length or request.chunked)
        self.status = self.size = self.received = 0
        self.touched = clock()
        self._clock = clock
        self._head = head
        self._timeouts = timeouts
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._queued: list[bytes] = []
        self._lone = b""  # a response head that waits for the first bytes of its body
        self._pace: MinimumRate | None = None
        self._stopped = False  # the client takes no more for now
        self.authenticates = self.started = self.draining = self._chunk_out = self._retried = self._finished = False

    def start(self, tie: Tie | None = None) -> None:
        """`tie`: it has the connection for this request, unless that is gone."""
        repeatable = self.request_done and self.request.method in _REPEATABLE
        connection = None if tie is None else tie.take(repeatable=repeatable)
        connection = connection or self.pool.take(repeatable=repeatable)
        if connection is not None:
            self._send(connection)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def authenticate(self) -> None:
        """The request has credentials for the connection that it goes over (`Listener.authenticates`)."""
        self.authenticates, self.plain = True, False

    def body(self, data: bytes) -> None:
        """Body bytes of the client, unframed."""
        self.received += len(data)
        self._out(chunk(data) if self.request.chunked else data)

    def body_end(self) -> None:
        self.request_done = True
        if self.request.chunked:
            self._out(LAST_CHUNK)

    def end(self) -> None:
        """The client is gone, or its session: nothing more is wanted."""
        if self._finished:
            return
        self._finished = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def pause_response(self) -> None:
        self._stopped = True
        connection = self._connection
        if connection is not None and connection.alive:
            connection.transport.pause_reading()

    def resume_response(self) -> None:
        self._stopped = False
        self.touched = self._clock()
        connection = self._connection
        if connection is not None and connection.alive:
            connection.transport.resume_reading()

    def sweep(self, now: float, unsent: int, limits: Limits) -> None:
        """Called now and then: ends what has waited too long. `unsent` bytes wait for the client to take them."""
        waited = now - self.touched
        if waited > _LONE_SECONDS:
            self._write_lone()
        connection = self._connection
        if self._dawdles(now, unsent, limits):
            self._fail(RequestTimeout("slower than limits.minimum_rate"))
            return
        if connection is None and not self.started:
            return  # connecting has its own limit
        if not self.started and self.request_done:
            if waited > self._timeouts.response_headers.total_seconds():
                if connection is not None:
                    self.pool.silent(connection, self.touched)
                self._fail(UpstreamTimeout("no response head in time"))
        elif waited > self._timeouts.idle.total_seconds() and not (unsent and limits.minimum_rate):
            if self.request_done:
                self._fail(UpstreamTimeout("response stalled"))
            elif connection is not None and connection.paused:
                self._fail(UpstreamTimeout("the request body is not read"))
            else:
                self._fail(RequestTimeout("request body stalled"))

    def _dawdles(self, now: float, unsent: int, limits: Limits) -> bool:
        """Whether it is the client who keeps everybody waiting (D-20)."""
        connection = self._connection
        begun = self.received or not self.request.expects_continue
        sends = not self.request_done and begun and connection is not None and not connection.paused
        if not (unsent or sends) or not limits.minimum_rate:
            self._pace = None
            return False
        moved = self.received + self.size - unsent
        if self._pace is None:
            self._pace = MinimumRate(now, moved)
            return False
        return self._pace.too_slow(now, moved, limits.minimum_rate, limits.rate_window.total_seconds())

    async def _connect(self) -> None:
        try:
            connection = await self.pool.connect()
        except Refusal as refusal:
            self._connecting = None
            self._fail(refusal)
            return
        self._connecting = None
        if self._finished:
            connection.abort()
            return
        self.touched = self._clock()
        self._send(connection)
        self.client.go_on_reading()

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self)
        connection.transport.write(self._head)
        if self._queued:
            for data in self._queued:
                connection.transport.write(data)
            self._queued.clear()

    def _out(self, data: bytes) -> None:
        self.touched = self._clock()
        connection = self._connection
        if connection is None:
            self._queued.append(data)
            if not self.request_done:
                self.client.stop_reading()
        elif connection.alive:
            connection.transport.write(data)
            if connection.paused and not self.request_done:
                self.client.stop_reading()  # whoever let the client go on meanwhile did not know

    def pause_body(self) -> None:
        if not self.request_done:
            self.client.stop_reading()

    def resume_body(self) -> None:
        self.touched = self._clock()
        self.client.go_on_reading()

    def on_interim(self, response: ParsedResponse) -> None:
        self.touched = self._clock()
        if self.request.version == "1.0" or (response.status == 100 and not self.request.expects_continue):
            return
        self.client.write(b"\r\n".join((response.status_line, *response.lines, b"\r\n")))

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        """The head, and the body bytes that came with it; None: this response has no body."""
        self.started = True
        self.touched = self._clock()
        self.status = response.status
        if not self.request_done or self.draining:
            self.keep_alive = False
        if not self.request_done and self._connection is not None:
            # SECURITY: an upstream that answers before the body ended would read the rest as the next person's request (B-02).
            self._connection.narrow(Serves.NOBODY)
        parts = [response.status_line, *response.lines]
        if response.length_line and response.status != 204:
            parts.append(response.length_line)
        elif first is not None and self.request.version == "1.1":
            self._chunk_out = True
            parts.append(CHUNKED)
        elif first is not None:
            self.keep_alive = False  # HTTP/1.0: the closing ends the body
        if not self.keep_alive:
            parts.append(b"Connection: close")
        parts.append(b"\r\n")
        body = b"" if not first else chunk(first) if self._chunk_out else first
        self.size = len(first or b"")
        if first == b"" and not self._chunk_out and 0 < (response.length or 0) <= _SMALL:
            # Many servers send head and body apart; a small answer goes on in one piece all the same.
            self._lone = b"\r\n".join(parts)
        else:
            self._write(b"\r\n".join(parts), body)

    def _write(self, head: bytes, body: bytes) -> None:
        """A small body goes on in one piece with its head; a large one is not copied for that."""
        if len(body) <= _SMALL:
            self.client.write(head + body)
        else:
            self.client.write(head)
            self.client.write(body)

    def _write_lone(self) -> None:
        if self._lone:
            lone, self._lone = self._lone, b""
            self.client.write(lone)

    def on_whole(self, response: ParsedResponse, body: bytes) -> None:
        """A response that came all at once, on a connection that stays open."""
        connection = self._connection
        if connection is None or not self.request_done or self.draining or not self.keep_alive:
            self.on_response(response, body)
            if not self._finished:
                self.on_end(connection.serves if connection is not None else Serves.NOBODY)
            return
        self.started = self._finished = True
        self.status, self.size = response.status, len(body)
        self._connection = None
        self._write(response.whole(), chunk(body) + LAST_CHUNK if response.chunked else body)
        if self._stopped:
            connection.transport.resume_reading()  # its next exchange is somebody else's
        self.pool.give_back(connection)
        self.client.answered(self.status, self.size, keep_alive=True)

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        """Never empty; `last`: nothing comes after it."""
        self.touched = self._clock()
        self.size += len(data)
        if self._lone:
            data, self._lone = self._lone + data, b""
        if self._chunk_out:
            data = chunk(data) + LAST_CHUNK if last else chunk(data)
            self._chunk_out = not last
        self.client.write(data)

    def on_end(self, serves: Serves) -> None:
        if self._chunk_out:
            self.client.write(LAST_CHUNK)
        self._write_lone()
        connection, self._connection = self._connection, None
        self._finished = True
        if connection is not None:
            if serves is Serves.NOBODY or not self.request_done:
                connection.abort()
            else:
                if self._stopped:
                    connection.transport.resume_reading()  # its next exchange is another one
                (self.pool.give_back if serves is Serves.ANYBODY else self.client.keep)(connection)
        self.client.answered(self.status, self.size, keep_alive=self.keep_alive and self.request_done)

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None:
        connection = self._connection
        assert connection is not None
        if self.request.upgrade is None or response.upgrade != self.request.upgrade:
            connection.abort()
            self._fail(UpstreamFault("a 101 that nobody asked for"))  # B-42
            return
        self._finished = True
        self._connection = None
        upgrade = b"Upgrade: %b\r\nConnection: Upgrade\r\n\r\n" % response.upgrade
        head = b"\r\n".join((b"HTTP/1.1 101 Switching Protocols", *response.lines, upgrade))
        if not accepts(self.request, head):
            connection.abort()
            self.client.refuse(UpstreamFault("Sec-WebSocket-Accept"))
            return
        self.client.tunnel(connection, head, first)

    def on_broken(self, error: Exception, answered: bool) -> None:
        connection, self._connection = self._connection, None
        used = connection is not None and connection.used
        # A kept connection that died before a byte came back says nothing about the request: once more, on a fresh one.
        if (
            used
            and not answered
            and not self._retried
            and self.request.method in _REPEATABLE
            and not self.request.has_body
        ):
            self._retried = True
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            return
        self._fail(error if isinstance(error, Refusal) else UpstreamFault(f"{type(error).__name__}: {error}"))

    def _fail(self, refusal: Refusal) -> None:
        if self._finished:
            return
        self.end()
        if self.started:
            self._write_lone()
            self.client.cut(self.status, self.size)
        else:
            self.client.refuse(refusal)
