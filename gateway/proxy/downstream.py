"""One client connection over HTTP/1.1: request heads in, responses out, strictly in order.

A request's head is read completely before it is judged (`request_handler`), and judged before anything of it travels. Pipelined requests wait,
bounded, until the one before them was answered. The body of a refused request is read and dropped when it is small; otherwise the connection is
closed gently, so that the client can read the response first. A client that ends its side of the connection counts as gone, as with nginx.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.errors.refusal import Refusal
from gateway.errors.requests import MalformedRequest, RequestTimeout
from gateway.http.framing import LAST_CHUNK, FramingError, chunk
from gateway.http.request_head import ParsedRequest, judge_partial
from gateway.http.response_head import CHUNKED, ParsedResponse
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
_SMALL: Final = 16 * 1024  # bytes of a body that goes on in one piece with its head
_FOREVER: Final = float("inf")
_NOT_BEGUN: Final = (b"", b"\r", b"\r\n")  # what may stand before a request and is no part of it


class Http1Stream:
    """The request at hand of one client connection, and its response, as HTTP/1.1 (RFC 9112). Requests follow each other on the same object."""

    __slots__ = (
        "_chunked", "_connection", "_context", "_held", "_keep_alive", "_write",
        "handler", "incoming", "peer", "request", "transport", "trusted",
    )  # fmt: skip

    def __init__(self, connection: "Downstream", context: ProxyContext) -> None:
        self._connection = connection
        self._context = context
        self.transport: asyncio.Transport
        self._write: Callable[[bytes], None]
        self.peer = ""
        self.trusted = False
        self.request: ParsedRequest | None = None
        self.incoming = RequestBody()
        self.handler = RequestHandler(self, context, self._hand_over)
        self._held = b""  # a response head that waits for the first bytes of its body
        self._chunked = False
        self._keep_alive = False

    def connected(self, peer: str, trusted: bool, transport: asyncio.Transport) -> None:
        self.peer, self.trusted, self.transport, self._write = peer, trusted, transport, transport.write

    # --- the request's body ---

    @property
    def body_open(self) -> bool:
        """Whether the request's body is still arriving."""
        return self.incoming.body is not None

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Send the body's bytes to `sink` from now on, then call `end`."""
        self.incoming.send_to(sink, end)
        self._connection.feed_pending()

    def send_continue(self) -> None:
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def expect_body_soon(self) -> None:
        """The body is read here, so it must come in time."""
        self._connection.expect_soon()

    def stop_reading(self) -> None:
        self._connection.stop_reading()

    def go_on_reading(self) -> None:
        self._connection.go_on_reading()

    def body_broke(self, refusal: Refusal) -> None:
        """The body's framing cannot be believed: what was sent on is aborted, nothing of it is completed."""
        exchange = self.handler.forwarder.exchange
        if exchange is not None and exchange.started:
            exchange.end()
            self.cut(exchange.status, exchange.size)
        else:
            self.refuse(refusal)

    # --- an upstream's response ---

    def interim(self, response: ParsedResponse) -> None:
        if self.request is not None and self.request.version != "1.0":
            self._write(b"\r\n".join((response.status_line, *response.lines, b"\r\n")))

    def head(self, response: ParsedResponse, first: bytes | None) -> None:
        """The head with its framing; a small body that came with it, or comes soon, goes on in one piece with it."""
        request = self.request
        assert request is not None
        self._chunked = False
        self._keep_alive = request.keep_alive and self.incoming.body is None and not self._context.draining
        parts = [response.status_line, *response.lines]
        if response.length_line and response.status != 204:
            parts.append(response.length_line)
        elif first is not None and request.version == "1.1":
            self._chunked = True
            parts.append(CHUNKED)
        elif first is not None:
            self._keep_alive = False  # HTTP/1.0: the closing ends the body
        if not self._keep_alive:
            parts.append(b"Connection: close")
        parts.append(b"\r\n")
        if first == b"" and not self._chunked and 0 < (response.length or 0) <= _SMALL:
            self._held = b"\r\n".join(parts)  # many servers send head and body apart
        else:
            self._write_pieces(b"\r\n".join(parts), b"" if not first else chunk(first) if self._chunked else first)

    def data(self, data: bytes, *, last: bool = False) -> None:
        """`last`: the last chunk goes on with it."""
        if self._held:
            data, self._held = self._held + data, b""
        if self._chunked:
            data = chunk(data) + LAST_CHUNK if last else chunk(data)
            self._chunked = not last
        self._write(data)

    def end(self, status: int, size: int) -> None:
        """The response is complete: the next request, or the end of the connection."""
        if self._chunked:
            self._write(LAST_CHUNK)
        self.flush()
        self._answered(status, size, keep_alive=self._keep_alive and self.incoming.body is None)

    def whole(self, response: ParsedResponse, body: bytes) -> None:
        """`head`, `data` and `end`; in one write, where the connection stays open."""
        request = self.request
        if request is None or not request.keep_alive or self._context.draining or self.incoming.body is not None:
            self.head(response, body)
            self.end(response.status, len(body))
            return
        head = response.whole()
        if response.chunked or len(body) > _SMALL:
            self._write_pieces(head, chunk(body) + LAST_CHUNK if response.chunked else body)
        else:
            self._write(head + body)
        self.request = None
        self.handler.finished(response.status, len(body))
        self._connection.go_on()

    def _write_pieces(self, head: bytes, body: bytes) -> None:
        """A small body goes on in one piece with its head; a large one is not copied for that."""
        if len(body) <= _SMALL:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)

    def flush(self) -> None:
        """Write a head whose body does not come soon."""
        if self._held:
            held, self._held = self._held, b""
            self._write(held)

    def cut(self, status: int, size: int) -> None:
        """The response broke off: the client must see that (B-45)."""
        self.flush()
        self.handler.finished(status, size)
        break_off(self.transport, self.request)
        self.request = None

    def tunnel(self, connection: UpstreamConnection, response: ParsedResponse, first: bytes) -> None:
        """An upgrade was honoured: from here on, bytes."""
        self.handler.forwarder.drop_exchange(tunnelled=True)
        upgrade = b"Upgrade: %b\r\nConnection: Upgrade\r\n\r\n" % (response.upgrade or b"")
        head = b"\r\n".join((b"HTTP/1.1 101 Switching Protocols", *response.lines, upgrade))
        self._connection.open_tunnel(connection, head, first)

    def keep(self, connection: UpstreamConnection) -> None:
        """What an exchange leaves that may serve only this session here."""
        self.handler.keep(connection)

    # --- responses of our own ---

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a page or a problem document."""
        if not self.transport.is_closing():
            handler = self.handler
            page = self._context.render(refusal, self.request, handler.log.request_id, handler.memo.site)
            self.respond(page, close=refusal.close or self.request is None)

    def respond(self, page: LocalReply, *, close: bool = False) -> None:
        """Answer the request with a page of ours."""
        keep_alive = not close and not self._context.draining and may_go_on(self.request, self.incoming.body)
        self._write(serialise(page, head_only=self.handler.log.method == "HEAD", keep_alive=keep_alive))
        self.handler.forwarder.drop_exchange()
        if keep_alive and self.incoming.body is not None:
            self.finish(page.status, len(page.body))
            self.expect_body_soon()
            self.receive(lambda data: None, self._connection.go_on)
        else:
            self._answered(page.status, len(page.body), keep_alive=keep_alive)

    def session_ended(self) -> None:
        """The session of this request is over: nothing more is sent on the connection (C-44)."""
        self.transport.abort()

    def _hand_over(self, data: bytes) -> None:
        """The pages of our own answer on this connection from now on."""
        page = AiohttpConnection(self._context, self._connection, self._context.web_handler())
        self.request = None
        page.begin(data)

    # --- after the response ---

    def _answered(self, status: int, size: int, *, keep_alive: bool) -> None:
        self.finish(status, size)
        if keep_alive:  # what the head promised, a drain that began meanwhile does not take back
            self._connection.go_on()
        else:
            self._connection.linger()

    def finish(self, status: int, size: int) -> None:
        """The response is complete, be it to something that was no request."""
        if self.request is not None:
            self.request = None
            self.handler.finished(status, size)
        else:
            self.handler.unparsed(status)


class Downstream(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_buffer", "_deadline", "_full", "_incoming", "_lingering", "_paused",
        "_pending", "_source", "_tunnel", "context", "handler", "peer", "stream", "transport", "trusted",
    )  # fmt: skip

    def __init__(self, context: ProxyContext, source: Source | None = None) -> None:
        self.context = context
        self._source = source
        self.transport: asyncio.Transport
        self.peer, self.trusted = "", False
        self.stream = Http1Stream(self, context)
        self.handler = self.stream.handler
        self._buffer = b""  # an incomplete head
        self._pending = b""  # bytes that wait: of this body, or of later requests
        self._incoming = self.stream.incoming
        self._tunnel: Tunnel | None = None
        self._paused = False
        self._full = False  # the client does not take what was written to it
        self._lingering = False
        self._deadline = _FOREVER

    @property
    def request(self) -> ParsedRequest | None:
        """The head that is being answered."""
        return self.stream.request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self.expect_soon()
        status = self.context.enter(self, self._source)
        self.stream.connected(self.peer, self.trusted, self.transport)
        if status:
            self.transport.write(bare(status))
            self._close()

    def connection_lost(self, error: Exception | None) -> None:
        self.context.leave(self)
        if self._tunnel is not None:
            self._tunnel.end()
        if self.stream.request is not None:
            self.stream.request = None
            self.handler.lost()
        else:
            self.handler.forwarder.leave()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
        elif self._lingering:
            return
        elif self._incoming.body is not None:
            self._feed_body(data)
        elif self.stream.request is not None or self._full:
            self._hold(data)
        elif (
            (block := self.handler.memo.block)
            and not self._buffer
            and not self._pending
            and (line := data.removesuffix(block)) is not data  # one copy and one comparison for both
        ):
            self._feed_line(line, data)
        else:
            # SECURITY: what came earlier may still wait for its turn of the loop; it stays in front (B-16).
            pending, self._pending = self._pending, b""
            self._feed_head(pending + data if pending else data)

    def eof_received(self) -> bool:
        return self._tunnel is not None and self._tunnel.half_closed(self.transport)

    def pause_writing(self) -> None:
        self._full = True
        side = self._tunnel or self.handler.forwarder.exchange
        if side is not None:
            side.pause_response()

    def resume_writing(self) -> None:
        self._full = False
        side = self._tunnel or self.handler.forwarder.exchange
        if side is not None:
            side.resume_response()
        elif self.stream.request is None and self._incoming.body is None and not self._lingering:
            self.go_on()

    def sweep(self, now: float) -> None:
        """Called now and then: ends what has waited too long."""
        if self._tunnel is not None:
            self._tunnel.sweep(now, self.handler.forwarder.idle_seconds())
        elif self.handler.forwarder.exchange is not None:
            self.handler.forwarder.exchange.sweep(now, self.transport.get_write_buffer_size(), self.context.limits)
        elif now <= self._deadline:
            if self.stream.request is None:
                self.handler.forwarder.sweep_idle(now)
        elif self.transport.is_closing():
            self.transport.abort()  # it was closed long ago, and the client takes nothing
        elif self._lingering or (self.stream.request is None and self._buffer in _NOT_BEGUN):
            self._close()
        else:
            if self.stream.request is None:
                self.handler.arrived(now)
            self.stream.refuse(RequestTimeout("head or body too slow"))

    def expect_soon(self) -> None:
        """What is read here must come within `limits.head_timeout`."""
        self._deadline = self.context.clock() + self.context.head_timeout

    def _feed_line(self, line: bytes, data: bytes) -> None:
        """One request, most likely, whose fields are those of the one before: `data` without them is `line`."""
        self.handler.arrived(self.context.clock())
        try:
            again = self.handler.memo.again(line)
            if again is not None:
                self._deadline = _FOREVER
                request, route = again
                self.stream.request = request
                self.handler.begin(request, route)
                return
        except Refusal as refusal:
            self.stream.refuse(refusal)
            return
        self._feed_head(data)

    def _feed_head(self, data: bytes) -> None:
        received = data = self._buffer + data if self._buffer else data
        if data[0] == 13 and data[:2] == b"\r\n":
            data = data[2:]  # one empty line before a request is forgiven (RFC 9112 2.2)
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > self.context.limits.head:
            self._partial(data, end, received)
            return
        self._deadline = _FOREVER
        self._buffer = b""
        self.handler.arrived(self.context.clock())
        head = data[: end + 4]
        try:
            request = self.stream.request = self.context.read_request(head)
            self.handler.memo.keep(request, head)
            self._pending = data[end + 4 :]
            if not request.repeatable:
                self._incoming.expect(request)
            self.handler.begin(request)
        except Refusal as refusal:
            self.stream.refuse(refusal)

    def _partial(self, data: bytes, end: int, received: bytes) -> None:
        """A head that is not complete, or too large. `received`: with the empty line before it, which is kept so that it stays one."""
        try:
            judge_partial(data, end, self.context.limits.head)
        except Refusal as refusal:
            self.handler.arrived(self.context.clock())
            self.stream.refuse(refusal)
            return
        # SECURITY: empty lines and nothing else would hold the connection for ever, if each began its time anew (B-67).
        if self._buffer in _NOT_BEGUN and received not in _NOT_BEGUN:
            self.expect_soon()
        self._buffer = received
        self.go_on_reading()

    def _feed_body(self, data: bytes) -> None:
        if not self._incoming.wanted:
            self._hold(data)
            return
        try:
            rest = self._incoming.feed(data)
        except FramingError as error:
            self.stream.body_broke(MalformedRequest(str(error)))
            return
        if rest is not None and not self._lingering:
            self._pending = rest
            self._deadline = _FOREVER
            self._incoming.complete()

    def feed_pending(self) -> None:
        """The request's body has a sink now: what has come of it goes there."""
        self.go_on_reading()
        pending, self._pending = self._pending, b""
        self._feed_body(pending)

    def _hold(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) > _PIPELINE_LIMIT:
            self.stop_reading()

    # --- after a response ---

    def open_tunnel(self, upstream: UpstreamConnection, head: bytes, first: bytes) -> None:
        """Join the connection with `upstream`; the client gets the 101 in `head`, and `first`."""
        self._tunnel = Tunnel(self.transport, upstream, self.context.clock, self._on_tunnel_end)
        self.go_on_reading()
        pending, self._pending = self._pending, b""
        self._tunnel.begin(head, first, pending)

    def _on_tunnel_end(self, size: int) -> None:
        self._tunnel = None
        self.stream.finish(101, size)
        self._close()

    def go_on(self) -> None:
        """The next request may come, or is there; not before the client took its responses, and no more than a bounded part of it (B-16)."""
        self._deadline = self.context.clock() + self.context.idle_timeout
        if self._full:
            return
        if self._paused:
            self.go_on_reading()
        if self._pending:
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        if (
            self._pending
            and self.stream.request is None
            and self in self.context.connections
            and not self.transport.is_closing()
        ):
            self.data_received(b"")

    def linger(self) -> None:
        """Close, but let the client read the response first: bytes that it still sends would otherwise reset the connection."""
        pending, self._pending = self._pending, b""
        if self._incoming.body is None and not pending and not self._buffer and self.handler.clean:
            self._close()
            return
        self._lingering = True
        self._deadline = self.context.clock() + _LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.go_on_reading()

    def _close(self) -> None:
        """Close when the client has taken everything; it must do so in time."""
        self._lingering = True
        waits = self.transport.get_write_buffer_size() > 0
        # TLS waits for the client's own end of the connection, which some never send.
        self._deadline = self.context.clock() + (self.context.idle_timeout if waits else _LINGER_SECONDS)
        self.transport.close()

    def stop_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        if self._incoming.body is None and self._tunnel is None and len(self._pending) > _PIPELINE_LIMIT:
            return  # later requests wait in the socket (B-16)
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
