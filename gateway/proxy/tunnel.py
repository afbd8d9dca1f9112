"""After a 101: bytes both ways, as they come, until one side ends.

A WebSocket belongs to the session that opened it: when that ends, both sides are cut (C-19, C-44). A side that has ended its direction may
still receive: the answer to a close frame, often. The bytes are for the two ends to judge (B-53).
The handshake is checked before anything is sent (RFC 6455 section 4.2.1; B-40), and the upstream's response to it as well. Other protocols pass
where an app names them in `upgrades`.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence, Set
from typing import Final

from gateway.errors.access import OriginForbidden
from gateway.errors.requests import MalformedRequest, UpgradeRequired
from gateway.http.request_head import ParsedRequest
from gateway.proxy.upstream import UpstreamConnection

_CLOSE_SECONDS: Final = 10.0
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


_WEBSOCKET: Final = b"websocket"


def honoured(request: ParsedRequest, upgrades: Set[bytes], origins: Set[str]) -> bytes | None:
    """The protocol of the Upgrade field for the upstream; None: the field is left out, and the request goes on without it (B-41).

    `upgrades` are those of the app, `origins` its own and those it was given. Raises MalformedRequest, UpgradeRequired or OriginForbidden.
    """
    if request.upgrade not in upgrades:
        return None
    if request.upgrade == _WEBSOCKET:
        _validate_handshake(request)
    elif request.version != "1.1":
        return None  # RFC 9110 section 7.8
    # SECURITY: a page of another site can open a WebSocket with this browser's cookies; only its Origin shows that (C-19).
    sent = request.values(b"origin")
    if len(sent) > 1 or (sent and sent[0].decode("latin-1").lower() not in origins):
        raise OriginForbidden("Origin of a WebSocket handshake, or of another upgrade")
    return request.upgrade


def _validate_handshake(request: ParsedRequest) -> None:
    """Raises MalformedRequest or UpgradeRequired."""
    if request.method != "GET" or request.version != "1.1":
        raise MalformedRequest("a WebSocket handshake is a GET over HTTP/1.1")
    if request.values(b"sec-websocket-version") != [b"13"]:
        raise UpgradeRequired("Sec-WebSocket-Version")
    keys = request.values(b"sec-websocket-key")
    try:
        sound = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except binascii.Error:
        sound = False
    if not sound:
        raise MalformedRequest("Sec-WebSocket-Key")


def accepts(request: ParsedRequest, lines: Sequence[bytes]) -> bool:
    """Whether the upstream's 101 answers this handshake's key. Other protocols have no such proof."""
    if request.upgrade != _WEBSOCKET:
        return True
    key = request.first(b"sec-websocket-key") or b""
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return b"sec-websocket-accept: " + proof.lower() in (line.lower() for line in lines)


class Tunnel:
    """Two transports joined. `on_end` is called once, when either side ended, with the number of bytes sent to the client."""

    __slots__ = ("_clock", "_half", "_on_end", "client", "size", "touched", "upstream")

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: UpstreamConnection,
        clock: Callable[[], float],
        on_end: Callable[[int], None],
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.size = 0
        self.touched = clock()
        self._clock = clock
        self._on_end: Callable[[int], None] | None = on_end
        self._half = False  # one side has ended
        upstream.listener = None
        upstream.joined = self

    def begin(self, head: bytes, first: bytes, early: bytes) -> None:
        """Pass the upstream's 101 on, and what either side has sent behind it already."""
        self.client.write(head + first)
        self.size += len(first)
        self.from_client(early)

    def from_client(self, data: bytes) -> None:
        self.touched = self._clock()
        if self.upstream.alive:
            self.upstream.transport.write(data)

    def from_upstream(self, data: bytes) -> None:
        self.touched = self._clock()
        if data:
            self.size += len(data)
            self.client.write(data)
        else:
            self.end()

    def half_closed(self, side: asyncio.Transport) -> bool:
        """`side` has ended its direction: end the other one's too, which may still send. False: it is over, or TLS cannot end one direction."""
        other = self.client if side is self.upstream.transport else self.upstream.transport
        if self._half or other.is_closing() or not (side.can_write_eof() and other.can_write_eof()):
            return False
        self._half = True
        self.touched = self._clock()
        other.write_eof()
        return True

    def sweep(self, now: float, idle: float) -> None:
        """End, if no bytes came for `idle` seconds, or for ten where one side has ended."""
        if now - self.touched > (min(idle, _CLOSE_SECONDS) if self._half else idle):
            self.end()

    def end(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        _close_gently(self.upstream)
        self.client.close()
        on_end(self.size)

    def pause_response(self) -> None:
        if self.upstream.alive:
            self.upstream.transport.pause_reading()

    def resume_response(self) -> None:
        if self.upstream.alive:
            self.upstream.transport.resume_reading()

    # --- the upstream's write buffer ---

    def pause_body(self) -> None:
        self.client.pause_reading()

    def resume_body(self) -> None:
        if not self.client.is_closing():
            self.client.resume_reading()


def _close_gently(upstream: UpstreamConnection) -> None:
    """Close the connection when the upstream has taken what the client sent last, often a close frame; after ten seconds in any case."""
    upstream.joined = None
    if not upstream.alive:
        return
    upstream.alive = False
    upstream.transport.close()
    if upstream.transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, upstream.transport.abort)
