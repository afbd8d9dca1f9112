"""One connection to an upstream: reads response heads and bodies, and calls its listener.

It carries one exchange at a time and is used again only when the end of both messages is certain: what is left on it would be the next
person's response (docs/threats.md B-02, B-18, B-54, B-60). Connections come from `pool` and wait there; those that may serve only one session
wait in `tie`.
"""

import asyncio
from enum import IntEnum
from typing import Final, Protocol, cast

from gateway.errors.dependencies import UpstreamFault
from gateway.http.framing import Body, ChunkedBody, FramingError, SizedBody, UntilClose, whole_chunked
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse, parse_response

_HEAD_LIMIT: Final = 256 * 1024
_INTERIM_LIMIT: Final = 32
_WRITE_HIGH: Final = 128 * 1024
_REMEMBERED: Final = 4096  # bytes: the longest head that is kept to be recognised


class Reuse(IntEnum):
    """Which requests may use a connection after the exchange at hand. For one connection that never becomes more.

    SESSION: those of the same session on the same client connection, since the upstream has authenticated the connection. SESSION_BRIEFLY:
    the same, for a second, since more of the response may be on its way.
    """

    NEVER = 0
    SESSION = 1
    SESSION_BRIEFLY = 2
    ANY = 3


class ResponseListener(Protocol):
    """What a connection calls: an exchange or a subrequest. `on_whole` is `on_response` and `on_end` in one; `on_broken` ends it otherwise."""

    request: ParsedRequest
    #: Whether the request has credentials for the connection, rather than for itself; it is not `plain` then.
    authenticates: bool
    #: Whether `on_whole` may be called: not for a response to HEAD, nor for one that a filter looks at.
    plain: bool

    def on_interim(self, response: ParsedResponse) -> None: ...

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None: ...

    def on_whole(self, response: ParsedResponse, body: bytes) -> None: ...

    def on_body(self, data: bytes, *, last: bool = False) -> None: ...

    def on_end(self, reuse: Reuse) -> None: ...

    def on_tunnel(self, response: ParsedResponse, first: bytes) -> None: ...

    def on_broken(self, error: Exception, answered: bool) -> None: ...

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...


class Joined(Protocol):
    """What gets a connection's bytes after a 101: a tunnel. Empty bytes are the end."""

    def from_upstream(self, data: bytes) -> None: ...

    def half_closed(self, side: asyncio.Transport) -> bool: ...

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...


class ConnectionHome(Protocol):
    """Where a connection waits for work."""

    idle: "list[UpstreamConnection]"
    answered: float

    def opened(self, connection: "UpstreamConnection") -> None: ...

    def lost(self, connection: "UpstreamConnection") -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One connection to an upstream."""

    __slots__ = (
        "_body",
        "_buffer",
        "_head_seen",
        "_interims",
        "_response_seen",
        "alive",
        "answered",
        "epoch",
        "home",
        "idle_since",
        "joined",
        "listener",
        "paused",
        "reuse",
        "transport",
        "used",
    )

    def __init__(self, home: ConnectionHome) -> None:
        self.home = home
        self.transport: asyncio.Transport
        self.listener: ResponseListener | None = None
        self.joined: Joined | None = None  # after a 101: bytes go straight there
        self.alive = False
        self.used = False
        self.answered = False
        self.paused = False
        self.reuse = Reuse.ANY
        self.idle_since = 0.0
        self.epoch = 0  # of the address, when this connection was made
        self._buffer = b""
        self._body: Body | None = None
        self._interims = 0
        self._head_seen = b""  # the last head, where all of the response may come at once; the next is often the same
        self._response_seen: ParsedResponse | None = None

    # --- the exchange's side ---

    def begin(self, listener: ResponseListener) -> None:
        self.listener = listener
        self.answered = False
        self._interims = 0

    def narrow(self, reuse: Reuse) -> None:
        """It may serve no more than this from now on."""
        self.reuse = min(reuse, self.reuse)

    def abort(self) -> None:
        """Close at once; nothing of it is used again."""
        self.listener = None
        self.joined = None
        if self.alive:
            self.alive = False
            self.transport.abort()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_WRITE_HIGH)
        self.alive = True
        self.home.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self.home.lost(self)
        listener, self.listener = self.listener, None
        joined, self.joined = self.joined, None
        if joined is not None:
            joined.from_upstream(b"")
        if listener is None:
            return
        # SECURITY: over TLS an attacker on the way can end the connection; only a close_notify before that has ended the response (B-45).
        if error is None and isinstance(self._body, UntilClose) and self._body.ended:
            listener.on_end(Reuse.NEVER)
        else:
            listener.on_broken(error or ConnectionResetError("upstream closed the connection"), self.answered)

    def eof_received(self) -> bool:
        """The other side has ended its direction; over TLS only a close_notify does."""
        if isinstance(self._body, UntilClose):
            self._body.ended = True
        return self.joined is not None and self.joined.half_closed(self.transport)

    def pause_writing(self) -> None:
        self.paused = True
        side = self.joined or self.listener
        if side is not None:
            side.pause_body()

    def resume_writing(self) -> None:
        self.paused = False
        side = self.joined or self.listener
        if side is not None:
            side.resume_body()

    def data_received(self, data: bytes) -> None:
        listener = self.listener
        if listener is None:
            if self.joined is not None:
                self.joined.from_upstream(data)
            else:
                self.abort()  # bytes without a request: whose response would they be?
            return
        response = self._response_seen
        try:
            if response is not None and self._body is None and not self._buffer:
                rest = data.removeprefix(self._head_seen)
                size = len(rest)
                if size == len(data):
                    pass  # another head
                elif size == response.length and listener.plain:
                    listener.on_whole(response, rest)
                    return
                elif response.chunked and self._deliver_whole(listener, response, rest):
                    return
            self._receive(data)
        except (UpstreamFault, FramingError) as error:
            self._broken(error)

    def _receive(self, data: bytes) -> None:
        body, listener = self._body, self.listener
        if body is None:
            self.answered = True
            self._read_head(self._buffer + data if self._buffer else data)
            return
        assert listener is not None
        out = body.feed(data)
        if out:
            listener.on_body(out, last=body.done)
        if body.done and self.listener is listener:
            self._body = None
            self._complete(listener, body.rest)

    def _read_head(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > _HEAD_LIMIT:
                raise UpstreamFault("response head too large")
            self._buffer = data
            return
        if end > _HEAD_LIMIT:
            raise UpstreamFault("response head too large")
        self._buffer = b""
        head, rest = data[: end + 4], data[end + 4 :]
        response = parse_response(head)
        listener = self.listener
        assert listener is not None
        # SECURITY: a connection that was authenticated once is that person's for every later request (B-61).
        if response.authenticates or listener.authenticates:
            self.narrow(Reuse.SESSION)
        if response.status < 200:
            self._read_interim(listener, response, rest)
            return
        framed = response.chunked or response.length is not None
        # A connection that serves only some requests does not come back by the pool: nothing of it is kept.
        # SECURITY: a response that a filter looks at may be changed for one person, so it is never kept for the next (B-54).
        self._response_seen = None
        if (
            framed
            and listener.plain
            and response.keep_alive
            and response.status not in (204, 205, 304)
            and self.reuse is Reuse.ANY
        ):
            if len(head) <= _REMEMBERED:
                self._head_seen, self._response_seen = head, response
            if self._deliver_whole(listener, response, rest):
                return
        self._begin_response(listener, response, rest)

    def _deliver_whole(self, listener: ResponseListener, response: ParsedResponse, rest: bytes) -> bool:
        """Hand over a response whose body is complete; False where it is not. Raises FramingError."""
        if not listener.plain:
            return False
        body = whole_chunked(rest) if response.chunked else rest if len(rest) == response.length else None
        if body is None:
            return False
        listener.on_whole(response, body)
        return True

    def _read_interim(self, listener: ResponseListener, response: ParsedResponse, rest: bytes) -> None:
        if response.status == 101:
            listener.on_tunnel(response, rest)
            return
        self._interims += 1
        if self._interims > _INTERIM_LIMIT:
            raise UpstreamFault("too many interim responses")
        listener.on_interim(response)
        if rest and self.listener is listener:
            self._read_head(rest)

    def _begin_response(self, listener: ResponseListener, response: ParsedResponse, rest: bytes) -> None:
        if not response.keep_alive:
            self.narrow(Reuse.NEVER)
        if listener.request.method == "HEAD" or response.status in (204, 304):
            self._bodiless(listener, response, rest)
            return
        if response.status == 205:
            # SECURITY: for many servers it ends with its head, with any Content-Length, and others send a body without one (RFC 9110 section
            # 15.3.6; B-60).
            self.narrow(Reuse.NEVER)
        body: Body
        if response.chunked:
            body = ChunkedBody()
        elif response.length is not None:
            body = SizedBody(response.length)
        else:
            body = UntilClose()
        self._body = body
        # What came with the head goes on with it: one write, one packet.
        first = body.feed(rest) if rest else b""
        listener.on_response(response, first)
        if body.done and self.listener is listener:
            self._body = None
            self._complete(listener, body.rest)

    def _bodiless(self, listener: ResponseListener, response: ParsedResponse, rest: bytes) -> None:
        """A response that ends with its head, or should."""
        # SECURITY: servers send a body after HEAD, and after a 204 or 304 that announces one, or even none. It may still be under way
        # when the head is here, so neither looking nor waiting shows it (B-44, B-60).
        certainly_more = listener.request.method == "HEAD" or response.chunked or response.length
        self.narrow(Reuse.NEVER if certainly_more else Reuse.SESSION_BRIEFLY)
        listener.on_response(response, None)
        if self.listener is listener:
            self._complete(listener, rest)

    def _complete(self, listener: ResponseListener, rest: bytes) -> None:
        if rest:
            self.narrow(Reuse.NEVER)  # bytes that are no part of the response
        listener.on_end(self.reuse)

    def _broken(self, error: Exception) -> None:
        listener = self.listener
        self.abort()
        if listener is not None:
            listener.on_broken(error, True)
