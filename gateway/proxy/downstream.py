"""One client connection: request heads in, answers out, strictly in order.

A request's head is read completely before it is judged (`visit`), and judged before anything of it travels. Pipelined requests wait,
bounded, until the one before them was answered. A refused body is read away when it is small; otherwise the connection is closed
gently, so that the client can read the answer first.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.errors import HeadTooLarge, MalformedRequest, Refusal, RequestTimeout, TargetTooLong, UpstreamFault
from gateway.proxy.door import Door
from gateway.proxy.framing import Body, ChunkedBody, FramingError, SizedBody
from gateway.proxy.heads import ParsedRequest
from gateway.proxy.refusals import Page, serialise
from gateway.proxy.tunnel import Tunnel, accepts
from gateway.proxy.upstream import UpstreamConnection
from gateway.proxy.visit import Visit

_PIPELINE_LIMIT: Final = 64 * 1024
_DRAIN_LIMIT: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0
_WRITE_HIGH: Final = 256 * 1024
_FOREVER: Final = float("inf")


class Downstream(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_body", "_body_end", "_body_sink", "_buffer", "_deadline", "_lingering", "_paused", "_pending", "_tunnel",
        "door", "peer", "request", "transport", "trusted", "visit",
    )  # fmt: skip

    def __init__(self, door: Door) -> None:
        self.door = door
        self.transport: asyncio.Transport
        self.peer = ""
        self.trusted = False
        self.request: ParsedRequest | None = None  # the one being answered
        self.visit = Visit(self, door)
        self._buffer = b""  # an incomplete head
        self._pending = b""  # bytes that wait: of this body, or of later requests
        self._body: Body | None = None
        self._body_sink: Callable[[bytes], None] | None = None
        self._body_end: Callable[[], None] | None = None
        self._tunnel: Tunnel | None = None
        self._paused = False
        self._lingering = False
        self._deadline = _FOREVER

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self.peer, self.trusted = self.door.peer_of(self.transport)
        self._deadline = self.door.clock() + self.door.head_timeout
        self.door.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.door.connections.discard(self)
        if self._tunnel is not None:
            self._tunnel.end()
        if self.request is not None:
            self.request = None
            self.visit.lost()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
        elif self._lingering:
            return
        elif self._body is not None:
            self._feed_body(data)
        elif self.request is not None:
            self._hold(data)
        else:
            self._feed_head(data)

    def pause_writing(self) -> None:
        side = self._tunnel or self.visit.exchange
        if side is not None:
            side.pause_response()

    def resume_writing(self) -> None:
        side = self._tunnel or self.visit.exchange
        if side is not None:
            side.resume_response()

    def sweep(self, now: float) -> None:
        """Called now and then by the door: ends what has waited too long."""
        if self._tunnel is not None:
            if now - self._tunnel.touched > self.visit.idle_seconds():
                self._tunnel.end()
        elif self.visit.exchange is not None:
            self.visit.exchange.sweep(now)
        elif now > self._deadline:
            self._deadline = _FOREVER
            if self._lingering or (self.request is None and not self._buffer):
                self.transport.close()
            else:
                self.refuse(RequestTimeout("head or body too slow"))

    # --- heads ---

    def _feed_head(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if data[0] == 13 and data[:2] == b"\r\n":
            data = data[2:]  # one empty line before a request is forgiven (RFC 9112 2.2)
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > self.door.limits.head:
            self._partial(data, end)
            return
        self._deadline = _FOREVER
        self._buffer = b""
        self.visit.arrived(self.door.clock())
        try:
            request = self.door.read_request(data[: end + 4])
            self.request = request
            self._pending = data[end + 4 :]
            if request.chunked:
                self._body = ChunkedBody()
            elif request.length:
                self._body = SizedBody(request.length)
            self.visit.begin(request)
        except Refusal as refusal:
            self.refuse(refusal)

    def _partial(self, data: bytes, end: int) -> None:
        """A head that is not complete, or too large."""
        limit = self.door.limits.head
        if end > 0 or len(data) > limit:
            line_end = data.find(b"\r\n")
            self.visit.arrived(self.door.clock())
            self.refuse(TargetTooLong("request line") if line_end < 0 or line_end > limit else HeadTooLarge("head"))
        # SECURITY: a bare LF ends a line for some servers and not for others; there is no need to wait for more (B-13).
        elif data.count(b"\n") != data.count(b"\r\n"):
            self.visit.arrived(self.door.clock())
            self.refuse(MalformedRequest("bare LF"))
        else:
            if not self._buffer:
                self._deadline = self.door.clock() + self.door.head_timeout
            self._buffer = data

    # --- bodies ---

    @property
    def body_open(self) -> bool:
        """Whether the request's body is still arriving."""
        return self._body is not None

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Send the body's bytes to `sink` from now on, then call `end`."""
        self._body_sink, self._body_end = sink, end
        if self._pending:
            pending, self._pending = self._pending, b""
            self._feed_body(pending)

    def expect_body_soon(self) -> None:
        """A body that we wait for ourselves must come in time."""
        self._deadline = self.door.clock() + self.door.head_timeout

    def _feed_body(self, data: bytes) -> None:
        body, sink = self._body, self._body_sink
        if body is None or sink is None:
            self._hold(data)
            return
        try:
            out = body.feed(data)
        except FramingError as error:
            self._body_broke(MalformedRequest(str(error)))
            return
        if out:
            sink(out)
        if body.done and self._body is body:
            self._body, self._pending = None, body.rest
            self._deadline = _FOREVER
            end, self._body_sink, self._body_end = self._body_end, None, None
            if end is not None:
                end()

    def _body_broke(self, refusal: Refusal) -> None:
        """The body's framing cannot be believed: what was sent on is aborted, nothing of it is completed."""
        exchange = self.visit.exchange
        if exchange is not None and exchange.started:
            exchange.end()
            self.cut(exchange.status, exchange.size)
        else:
            self.refuse(refusal)

    def _hold(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > _PIPELINE_LIMIT:
            self.stop_reading()

    # --- answers ---

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a page or a problem document."""
        if self.transport.is_closing():
            return
        self.respond(self.door.render(refusal, self.request, self.visit), close=refusal.close or self.request is None)

    def respond(self, page: Page, *, close: bool = False) -> None:
        """Answer the request with a page of ours."""
        request = self.request
        body = self._body
        small = (
            isinstance(body, SizedBody)
            and body.left <= _DRAIN_LIMIT
            and request is not None
            and not request.expects_continue
        )
        keep_alive = (
            not close
            and request is not None
            and request.keep_alive
            and not self.door.draining
            and (body is None or small)
        )
        if keep_alive and self.request is not None and self.request.upgrade is not None:
            keep_alive = False  # what follows an upgrade that was refused may be in another protocol
        self.transport.write(
            serialise(page, head_only=request is not None and request.method == "HEAD", keep_alive=keep_alive)
        )
        self.visit.drop_exchange()
        if keep_alive and body is not None:
            self.receive(lambda data: None, lambda: self._next(page.status, len(page.body), keep_alive=True))
        else:
            self._next(page.status, len(page.body), keep_alive=keep_alive)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def answered(self, status: int, size: int, *, keep_alive: bool) -> None:
        """An exchange ended with a complete response."""
        self.visit.exchange = None
        self._next(status, size, keep_alive=keep_alive and not self.door.draining)

    def failed(self, refusal: Refusal) -> None:
        """An exchange ended without a response."""
        self.refuse(refusal)

    def cut(self, status: int, size: int) -> None:
        """An exchange broke off inside its response: the client must see that (B-45)."""
        self.visit.finished(status, size)
        self.request = None
        self.transport.abort()

    def tunnel(self, connection: UpstreamConnection, head: bytes, first: bytes) -> None:
        """An upgrade was honoured: from here on, bytes."""
        request = self.request
        assert request is not None
        self.visit.drop_exchange(keep_attached=True)
        if not accepts(request, head):
            connection.abort()
            self.refuse(UpstreamFault("Sec-WebSocket-Accept"))
            return
        self._tunnel = Tunnel(self.transport, connection, self.door.clock, self._tunnel_ended)
        self.transport.write(head)
        if first:
            self._tunnel.from_upstream(first)
        if self._pending:
            pending, self._pending = self._pending, b""
            self._tunnel.from_client(pending)

    def _tunnel_ended(self, size: int) -> None:
        self.request = None
        self.visit.finished(101, size)

    def session_ended(self) -> None:
        """The session that this request belongs to is over: nothing more is said on it (C-44)."""
        if self._tunnel is not None:
            self._tunnel.end()
        self.transport.abort()

    def _next(self, status: int, size: int, *, keep_alive: bool) -> None:
        """The request is answered; the connection waits for the next one, or ends."""
        if self.request is not None:
            self.request = None
            self.visit.finished(status, size)
        else:
            self.visit.unparsed(status)
        if keep_alive:
            self._deadline = self.door.clock() + self.door.idle_timeout
            self.go_on_reading()
            if self._pending:
                pending, self._pending = self._pending, b""
                asyncio.get_running_loop().call_soon(self.data_received, pending)
        else:
            self._linger()

    def _linger(self) -> None:
        """Close, but let the client read the answer first: bytes that it still sends would otherwise reset the connection."""
        self._pending = b""
        if self._body is None and self._buffer == b"" and self.visit.clean:
            self.transport.close()
            return
        self._lingering = True
        self._deadline = self.door.clock() + _LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.go_on_reading()

    # --- reading, stopped and gone on ---

    def stop_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
