"""Requests for pages of our own: aiohttp answers them on the client's connection, all but forward-auth, which is answered here."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from gateway.errors import BadRequest, MalformedRequest, PayloadTooLarge, Refusal
from gateway.gate.decision import Own
from gateway.gate.site import Site
from gateway.http.request_head import ParsedRequest
from gateway.proxy.context import Connection, ProxyContext
from gateway.proxy.request_body import Collecting


class AiohttpConnection(asyncio.Protocol):
    """Passes everything on to `handler`."""

    __slots__ = ("_deadline", "_door", "_handler", "peer", "request", "transport", "trusted")

    def __init__(self, door: ProxyContext, connection: Connection, handler: asyncio.Protocol) -> None:
        self.transport = connection.transport
        self.peer, self.trusted = connection.peer, connection.trusted
        self.request, connection.request = connection.request, None
        self._door = door
        self._handler = handler
        self._deadline: float | None = None
        door.replace(connection, self)

    def begin(self, data: bytes) -> None:
        """`data`: the one request that is to be answered."""
        self.transport.set_protocol(self)
        self._handler.connection_made(self.transport)
        self._handler.data_received(data)

    def sweep(self, now: float) -> None:
        """Called now and then by the door. What a page takes is bounded by what it asks; here only the client can be slow."""
        if not self.transport.is_closing():
            return
        if self._deadline is None:
            self._deadline = now + self._door.idle_timeout
        elif now > self._deadline:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._door.leave(self)
        self._handler.connection_lost(error)


class Asking(Collecting, Protocol):
    """The request at hand."""

    def at_hand(self) -> tuple[Site, ParsedRequest]: ...

    def with_body(self, then: Callable[[bytes], None], too_large: Refusal) -> None: ...

    def later(self, work: Coroutine[Any, Any, None]) -> None: ...

    def leave(self) -> None: ...


def serve(visit: Asking, request: ParsedRequest, own: Own) -> None:
    """Answer, now or later. Raises a Refusal."""
    if request.upgrade is not None:
        raise MalformedRequest("an upgrade of a page of ours")
    if own.path != visit.door.forward_auth_path:
        too_large = PayloadTooLarge("the body of a page of ours")
        visit.with_body(lambda body: _hand_over(visit, request, own, body), too_large)
    elif visit.connection.body_open:
        raise BadRequest("a forward-auth request has no body")
    else:
        visit.later(_forward_auth(visit, request))


async def _forward_auth(visit: Asking, request: ParsedRequest) -> None:
    visit.connection.respond(await visit.door.forward_auth(visit, request))


def _hand_over(visit: Asking, request: ParsedRequest, own: Own, body: bytes) -> None:
    """aiohttp gets the connection, with the head re-serialised from what was parsed and judged."""
    site, _ = visit.at_hand()
    connection, door = visit.connection, visit.door
    data = door.own_head(visit, site, request, own, len(body)) + body
    door.counters.in_flight -= 1
    visit.leave()
    connection.go_on_reading()
    AiohttpConnection(door, connection, door.web_handler()).begin(data)
