"""One client connection: request heads in, answers out, strictly in order.

A request's head is read completely before it is judged (`visit`), and judged before anything of it travels. Pipelined requests wait,
bounded, until the one before them was answered. A refused body is read away when it is small; otherwise the connection is closed
gently, so that the client can read the answer first. A client that ends its side of the connection counts as gone, as with nginx.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.errors.refusal import Refusal
from gateway.errors.requests import MalformedRequest, RequestTimeout
from gateway.http.framing import FramingError
from gateway.http.request_head import ParsedRequest, judge_partial
from gateway.proxy.context import ProxyContext, Source
from gateway.proxy.internal_routes import AiohttpConnection
from gateway.proxy.local_reply import LocalReply, bare, break_off, may_go_on, serialise
from gateway.proxy.request_body import RequestBody
from gateway.proxy.request_handler import RequestHandler
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.upstream import UpstreamConnection

_PIPELINE_LIMIT: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0
_WRITE_HIGH: Final = 256 * 1024
_FOREVER: Final = float("inf")
_NOT_BEGUN: Final = (b"", b"\r", b"\r\n")  # what may stand before a request and is nothing of it


class Downstream(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_buffer", "_deadline", "_full", "_incoming", "_lingering", "_paused",
        "_pending", "_source", "_tunnel", "door", "handler", "peer", "request", "transport", "trusted", "write",
    )  # fmt: skip

    def __init__(self, door: ProxyContext, source: Source | None = None) -> None:
        self.door = door
        self._source = source
        self.transport: asyncio.Transport
        self.peer = ""
        self.trusted = False
        self.request: ParsedRequest | None = None  # the one being answered
        self.handler = RequestHandler(self, door, self._hand_over)
        self._buffer = b""  # an incomplete head
        self._pending = b""  # bytes that wait: of this body, or of later requests
        self._incoming = RequestBody()
        self._tunnel: Tunnel | None = None
        self._paused = False
        self._full = False  # the client does not take what was written to it
        self._lingering = False
        self._deadline = _FOREVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.write = self.transport.write
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self._deadline = self.door.clock() + self.door.head_timeout
        status = self.door.enter(self, self._source)
        if status:
            self.transport.write(bare(status))
            self._leave()

    def connection_lost(self, error: Exception | None) -> None:
        self.door.leave(self)
        if self._tunnel is not None:
            self._tunnel.end()
        if self.request is not None:
            self.request = None
            self.handler.lost()
        else:
            self.handler.leave()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
        elif self._lingering:
            return
        elif self._incoming.body is not None:
            self._feed_body(data)
        elif self.request is not None or self._full:
            self._hold(data)
        elif (block := self.handler.memo.block) and not self._buffer and not self._pending and data.endswith(block):
            self._feed_line(data)
        else:
            # SECURITY: what came earlier may still wait for its turn of the loop; it stays in front (B-16).
            pending, self._pending = self._pending, b""
            self._feed_head(pending + data if pending else data)

    def eof_received(self) -> bool:
        return self._tunnel is not None and self._tunnel.half_closed(self.transport)

    def pause_writing(self) -> None:
        self._full = True
        side = self._tunnel or self.handler.exchange
        if side is not None:
            side.pause_response()

    def resume_writing(self) -> None:
        self._full = False
        side = self._tunnel or self.handler.exchange
        if side is not None:
            side.resume_response()
        elif self.request is None and self._incoming.body is None and not self._lingering:
            self._go_on()

    def sweep(self, now: float) -> None:
        """Called now and then by the door: ends what has waited too long."""
        if self._tunnel is not None:
            self._tunnel.sweep(now, self.handler.idle_seconds())
        elif self.handler.exchange is not None:
            self.handler.exchange.sweep(now, self.transport.get_write_buffer_size(), self.door.limits)
        elif now <= self._deadline:
            if self.request is None:
                self.handler.rest(now)
        elif self.transport.is_closing():
            self.transport.abort()  # it was asked to close long ago, and the client takes nothing
        elif self._lingering or (self.request is None and self._buffer in _NOT_BEGUN):
            self._leave()
        else:
            if self.request is None:
                self.handler.arrived(now)
            self.refuse(RequestTimeout("head or body too slow"))

    def _feed_line(self, data: bytes) -> None:
        """One request, most likely, whose fields are those of the one before."""
        self.handler.arrived(self.door.clock())
        try:
            again = self.handler.memo.again(data)
            if again is not None:
                self._deadline = _FOREVER
                self.request, verdict = again
                self.handler.begin(self.request, verdict)
                return
        except Refusal as refusal:
            self.refuse(refusal)
            return
        self._feed_head(data)

    def _feed_head(self, data: bytes) -> None:
        received = data = self._buffer + data if self._buffer else data
        if data[0] == 13 and data[:2] == b"\r\n":
            data = data[2:]  # one empty line before a request is forgiven (RFC 9112 2.2)
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > self.door.limits.head:
            self._partial(data, end, received)
            return
        self._deadline = _FOREVER
        self._buffer = b""
        self.handler.arrived(self.door.clock())
        head = data[: end + 4]
        try:
            request = self.request = self.door.read_request(head)
            self.handler.memo.keep(request, head)
            self._pending = data[end + 4 :]
            if not request.repeatable:
                self._incoming.expect(request)
            self.handler.begin(request)
        except Refusal as refusal:
            self.refuse(refusal)

    def _partial(self, data: bytes, end: int, received: bytes) -> None:
        """A head that is not complete, or too large. `received`: with the empty line before it, which is kept so that it stays one."""
        try:
            judge_partial(data, end, self.door.limits.head)
        except Refusal as refusal:
            self.handler.arrived(self.door.clock())
            self.refuse(refusal)
            return
        # SECURITY: empty lines and nothing else would hold the connection for ever, if each began its time anew (B-67).
        if self._buffer in _NOT_BEGUN and received not in _NOT_BEGUN:
            self.expect_body_soon()
        self._buffer = received
        self.go_on_reading()

    @property
    def body_open(self) -> bool:
        """Whether the request's body is still arriving."""
        return self._incoming.body is not None

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Send the body's bytes to `sink` from now on, then call `end`."""
        self._incoming.goes_to(sink, end)
        self.go_on_reading()
        pending, self._pending = self._pending, b""
        self._feed_body(pending)

    def expect_body_soon(self) -> None:
        """What we wait for ourselves must come in time."""
        self._deadline = self.door.clock() + self.door.head_timeout

    def _feed_body(self, data: bytes) -> None:
        if not self._incoming.wanted:
            self._hold(data)
            return
        try:
            rest = self._incoming.feed(data)
        except FramingError as error:
            self._body_broke(MalformedRequest(str(error)))
            return
        if rest is not None and not self._lingering:
            self._pending = rest
            self._deadline = _FOREVER
            self._incoming.complete()

    def _body_broke(self, refusal: Refusal) -> None:
        """The body's framing cannot be believed: what was sent on is aborted, nothing of it is completed."""
        exchange = self.handler.exchange
        if exchange is not None and exchange.started:
            exchange.end()
            self.cut(exchange.status, exchange.size)
        else:
            self.refuse(refusal)

    def _hold(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > _PIPELINE_LIMIT:
            self.stop_reading()

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a page or a problem document."""
        if not self.transport.is_closing():
            handler = self.handler
            page = self.door.render(refusal, self.request, handler.request_id, handler.site)
            self.respond(page, close=refusal.close or self.request is None)

    def respond(self, page: LocalReply, *, close: bool = False) -> None:
        """Answer the request with a page of ours."""
        keep_alive = not close and not self.door.draining and may_go_on(self.request, self._incoming.body)
        self.transport.write(serialise(page, head_only=self.handler.method == "HEAD", keep_alive=keep_alive))
        self.handler.drop_exchange()
        if keep_alive and self._incoming.body is not None:
            self._tell(page.status, len(page.body))
            self.expect_body_soon()
            self.receive(lambda data: None, self._go_on)
        else:
            self._next(page.status, len(page.body), keep_alive=keep_alive)

    def keep(self, connection: UpstreamConnection) -> None:
        """What an exchange leaves that may serve nobody but this session here."""
        self.handler.keep(connection)

    def answered(self, status: int, size: int, *, keep_alive: bool) -> None:
        """An exchange ended with a complete response."""
        self.request = None
        self.handler.finished(status, size)
        (self._go_on if keep_alive and not self.door.draining else self._linger)()

    def cut(self, status: int, size: int) -> None:
        """An exchange broke off inside its response: the client must see that (B-45)."""
        self.handler.finished(status, size)
        break_off(self.transport, self.request)
        self.request = None

    def tunnel(self, connection: UpstreamConnection, head: bytes, first: bytes) -> None:
        """An upgrade was honoured: from here on, bytes."""
        self.handler.drop_exchange(keep_attached=True)
        self._tunnel = Tunnel(self.transport, connection, self.door.clock, self._tunnel_ended)
        self.go_on_reading()
        pending, self._pending = self._pending, b""
        self._tunnel.begin(head, first, pending)

    def session_ended(self) -> None:
        """The session that this request belongs to is over: nothing more is said on it (C-44)."""
        self.transport.abort()

    def _hand_over(self, data: bytes) -> None:
        """The pages of our own answer on this connection from now on."""
        AiohttpConnection(self.door, self, self.door.web_handler()).begin(data)

    def _tunnel_ended(self, size: int) -> None:
        self._tunnel = None
        self._tell(101, size)
        self._leave()

    def _next(self, status: int, size: int, *, keep_alive: bool) -> None:
        """The request is answered; the connection waits for the next one, or ends."""
        self._tell(status, size)
        (self._go_on if keep_alive else self._linger)()

    def _tell(self, status: int, size: int) -> None:
        if self.request is not None:
            self.request = None
            self.handler.finished(status, size)
        else:
            self.handler.unparsed(status)

    def _go_on(self) -> None:
        """The next request may come, or is there; not before the client took its answers, and no more than a bounded part of it (B-16)."""
        self._deadline = self.door.clock() + self.door.idle_timeout
        if self._full:
            return
        if self._paused:
            self.go_on_reading()
        if self._pending:
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        if self._pending and self.request is None and self in self.door.connections and not self.transport.is_closing():
            self.data_received(b"")

    def _linger(self) -> None:
        """Close, but let the client read the answer first: bytes that it still sends would otherwise reset the connection."""
        pending, self._pending = self._pending, b""
        if self._incoming.body is None and not pending and not self._buffer and self.handler.clean:
            self._leave()
            return
        self._lingering = True
        self._deadline = self.door.clock() + _LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.go_on_reading()

    def _leave(self) -> None:
        """Close when the client has taken everything; it must do so in time."""
        self._lingering = True
        self._deadline = self.door.clock() + self.door.idle_timeout
        self.transport.close()

    def stop_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        if self._incoming.body is None and self._tunnel is None and len(self._pending) > _PIPELINE_LIMIT:
            return  # later requests wait outside (B-16)
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
