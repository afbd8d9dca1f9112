"""One admitted request and its response: the client's stream on one side, the upstream's connection on the other.

The request head is written once, re-serialised; bodies stream both ways, and a side that cannot take more stops the other from reading.
A response that broke off is cut on the client's side too (B-45); a connection that carried half a message is never used again (B-18).
"""

import asyncio
from math import inf
from typing import Final

from gateway.config.schema import Limits
from gateway.errors.dependencies import UpstreamFault, UpstreamTimeout
from gateway.errors.refusal import Refusal
from gateway.errors.requests import RequestTimeout
from gateway.http.framing import LAST_CHUNK, chunk
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.pool import Pool
from gateway.proxy.tie import Tie
from gateway.proxy.tunnel import accepts
from gateway.proxy.upstream import Reuse, UpstreamConnection


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


_HELD_SECONDS: Final = 0.5  # that a stream may hold back a head for its body
_REPEATABLE: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"))


class Exchange:
    """One request on its way. `status` is 0 until the response begins.

    `waited` is how long the upstream took to begin it, in seconds, once there is a `status`; infinite for an event stream, which ends when it
    likes.
    """

    __slots__ = (
        "_clock", "_connecting", "_connection", "_finished", "_head", "_queued", "_rate", "_retried", "_stopped",
        "authenticates", "client", "plain", "pool", "received", "request", "request_done", "size", "status", "touched",
        "waited",
    )  # fmt: skip

    def __init__(self, client: ClientStream, request: ParsedRequest, head: bytes, pool: Pool) -> None:
        self.client = client
        self.request = request
        self.pool = pool
        self.plain = request.method != "HEAD"
        self.request_done = not (request.length or request.chunked)
        self.status = self.size = self.received = 0
        clock = self._clock = pool.clock
        self.touched = clock()
        self._head = head
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._queued: list[bytes] | None = None
        self._rate: MinimumRate | None = None
        self._stopped = False  # the client takes no more for now
        self.authenticates = self._retried = self._finished = False

    @property
    def started(self) -> bool:
        """Whether the response has begun."""
        return self.status != 0

    def start(self, tie: Tie | None = None) -> None:
        """`tie`: it has the connection for this request, unless that is gone."""
        repeatable = self.request_done and self.request.method in _REPEATABLE
        connection = None if tie is None else tie.take(repeatable=repeatable)
        connection = connection or self.pool.take(repeatable)
        if connection is not None:
            self._write_request(connection)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._open_connection())

    def authenticate(self) -> None:
        """The request has credentials for the connection that it goes over (`ResponseListener.authenticates`)."""
        self.authenticates, self.plain = True, False

    def body(self, data: bytes) -> None:
        """Body bytes of the client, unframed."""
        self.received += len(data)
        self._send_body(chunk(data) if self.request.chunked else data)

    def body_end(self) -> None:
        self.request_done = True
        if self.request.chunked:
            self._send_body(LAST_CHUNK)

    def end(self) -> None:
        """Stop: the client is gone, or its session ended."""
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
        if waited > _HELD_SECONDS:
            self.client.flush()
        connection = self._connection
        if self._client_too_slow(now, unsent, limits):
            self._fail(RequestTimeout("slower than limits.minimum_rate"))
            return
        if connection is None and not self.started:
            return  # connecting has its own limit
        if not self.started and self.request_done:
            if waited > self.pool.timeouts.response_headers.total_seconds():
                if connection is not None:
                    self.pool.report_timeout(connection, self.touched)
                self._fail(UpstreamTimeout("no response head in time"))
        elif waited > self.pool.timeouts.idle.total_seconds() and not (unsent and limits.minimum_rate):
            if self.request_done:
                self._fail(UpstreamTimeout("response stalled"))
            elif connection is not None and connection.paused:
                self._fail(UpstreamTimeout("the request body is not read"))
            else:
                self._fail(RequestTimeout("request body stalled"))

    def _client_too_slow(self, now: float, unsent: int, limits: Limits) -> bool:
        """Whether the exchange waits for a client that is slower than `limits.minimum_rate` (D-20)."""
        connection = self._connection
        begun = self.received or not self.request.expects_continue
        sends = not self.request_done and begun and connection is not None and not connection.paused
        if not (unsent or sends) or not limits.minimum_rate:
            self._rate = None
            return False
        moved = self.received + self.size - unsent
        if self._rate is None:
            self._rate = MinimumRate(now, moved)
            return False
        return self._rate.too_slow(now, moved, limits.minimum_rate, limits.rate_window.total_seconds())

    async def _open_connection(self) -> None:
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
        self._write_request(connection)
        self.client.go_on_reading()

    def _write_request(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self)
        connection.transport.write(self._head)
        if self._queued is not None:
            connection.transport.writelines(self._queued)
            self._queued = None

    def _send_body(self, data: bytes) -> None:
        self.touched = self._clock()
        connection = self._connection
        if connection is None:
            if self._queued is None:
                self._queued = []
            self._queued.append(data)
            if not self.request_done:
                self.client.stop_reading()
        elif connection.alive:
            connection.transport.write(data)
            if connection.paused and not self.request_done:
                self.client.stop_reading()  # reading may have gone on since `pause_body`

    def pause_body(self) -> None:
        if not self.request_done:
            self.client.stop_reading()

    def resume_body(self) -> None:
        self.touched = self._clock()
        self.client.go_on_reading()

    def on_interim(self, response: ParsedResponse) -> None:
        self.touched = self._clock()
        if response.status != 100 or self.request.expects_continue:
            self.client.interim(response)

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        """The head, and the body bytes that came with it; None: this response has no body."""
        now = self._clock()
        self.waited, self.touched = inf if response.event_stream else now - self.touched, now
        self.status = response.status
        if not self.request_done and self._connection is not None:
            # SECURITY: an upstream that answers before the body ended would read the rest as the next person's request (B-02).
            self._connection.narrow(Reuse.NEVER)
        self.size = len(first or b"")
        self.client.head(response, first)

    def on_whole(self, response: ParsedResponse, body: bytes) -> None:
        """A response that came all at once, on a connection that stays open."""
        connection = self._connection
        if connection is None or not self.request_done:
            self.on_response(response, body)
            if not self._finished:
                self.on_end(connection.reuse if connection is not None else Reuse.NEVER)
            return
        self._finished = True
        self.status, self.size = response.status, len(body)
        self._connection = None
        if self._stopped:
            connection.transport.resume_reading()  # its next exchange is another one
        self.pool.give_back(connection)
        self.waited = connection.idle_since - self.touched
        self.client.whole(response, body)

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        """Never empty; `last`: nothing comes after it."""
        self.touched = self._clock()
        self.size += len(data)
        self.client.data(data, last=last)

    def on_end(self, reuse: Reuse) -> None:
        connection, self._connection = self._connection, None
        self._finished = True
        if connection is not None:
            if reuse is Reuse.NEVER or not self.request_done:
                connection.abort()
            else:
                if self._stopped:
                    connection.transport.resume_reading()  # its next exchange is another one
                (self.pool.give_back if reuse is Reuse.ANY else self.client.keep)(connection)
        self.client.end(self.status, self.size)

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None:
        connection = self._connection
        assert connection is not None
        if self.request.upgrade is None or response.upgrade != self.request.upgrade:
            self._fail(UpstreamFault("a 101 without a request for it"))  # B-42
        elif not accepts(self.request, response.lines):
            self._fail(UpstreamFault("Sec-WebSocket-Accept"))
        else:
            self._finished, self._connection = True, None
            self.client.tunnel(connection, response, first)

    def on_broken(self, error: Exception, answered: bool) -> None:
        connection, self._connection = self._connection, None
        used = connection is not None and connection.used
        # A kept connection that died before a byte came back is no failure of the request: once more, on a fresh one.
        repeatable = self.request.method in _REPEATABLE and not self.request.has_body
        if used and repeatable and not answered and not self._retried:
            self._retried = True
            self._connecting = asyncio.get_running_loop().create_task(self._open_connection())
            return
        self._fail(error if isinstance(error, Refusal) else UpstreamFault(f"{type(error).__name__}: {error}"))

    def _fail(self, refusal: Refusal) -> None:
        if self._finished:
            return
        self.end()
        if self.started:
            self.client.cut(self.status, self.size)
        else:
            self.client.refuse(refusal)
