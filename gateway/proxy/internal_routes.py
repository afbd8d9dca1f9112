"""The pages of our own. forward-auth is answered here; aiohttp answers the others on the client's connection, and closes it.

The connection stays one of the worker's until it is gone: it counts, it is waited for when the server drains, and a client that does not
take its response is cut off after `limits.idle_timeout` (docs/threats.md D-20).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.errors.access import ForwardAuthRefused
from gateway.errors.refusal import Refusal
from gateway.errors.requests import MalformedRequest, PayloadTooLarge
from gateway.gate.decision import Own
from gateway.gate.request import NO_TIME, Request
from gateway.gate.site import FORWARD_AUTH, is_forward_auth
from gateway.http.request_head import ParsedRequest
from gateway.proxy import forward_auth
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import Connection, ProxyContext


@dataclass(frozen=True, slots=True)
class PageControl:
    """What the request handler does for a page of ours.

    `run_later` goes on in a Task, whose refusals become responses; `with_body` goes on with the request's whole body and raises the refusal
    where it is too large; `hand_over` gives the connection to aiohttp, with the one request that it answers.
    """

    run_later: Callable[[Coroutine[Any, Any, None]], None]
    with_body: Callable[[Request[ParsedRequest], Callable[[bytes], None], Refusal], None]
    hand_over: Callable[[bytes], None]


def serve(
    context: ProxyContext, stream: ClientStream, request: Request[ParsedRequest], own: Own, control: PageControl
) -> None:
    """Answer, now or later. Raises MalformedRequest, ForwardAuthRefused or PayloadTooLarge."""
    # SECURITY: a proxy asks under this very path. It lets no visitor ask, and might not know other spellings of it (C-23).
    if own.path == FORWARD_AUTH and is_forward_auth(request.head.target):
        answer_forward_auth(context, stream, request, control.run_later)
        return
    if request.head.upgrade is not None:
        raise MalformedRequest("an upgrade of a page of ours")

    def hand_over(body: bytes) -> None:
        control.hand_over(context.heads.own(request, own, len(body)) + body)

    control.with_body(request, hand_over, PayloadTooLarge("the body of a page of ours"))


def answer_forward_auth(
    context: ProxyContext,
    stream: ClientStream,
    request: Request[ParsedRequest],
    run_later: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """Answer another proxy, later. Raises ForwardAuthRefused."""
    if stream.body_open:
        raise ForwardAuthRefused(reason="a forward-auth request has no body")
    run_later(_answer_forward_auth(context, stream, request))


def answer_under_any_host(
    context: ProxyContext,
    stream: ClientStream,
    head: ParsedRequest,
    request_id: str,
    run_later: Callable[[Coroutine[Any, Any, None]], None],
) -> Request[ParsedRequest]:
    """Answer a trusted proxy's question whose Host is no app's: what it describes names the app. Raises ForwardAuthRefused."""
    site = forward_auth.site_of(context, head)
    request = Request(site, head, None, None, NO_TIME, request_id, stream.peer, stream.trusted, path=FORWARD_AUTH)
    answer_forward_auth(context, stream, request, run_later)
    return request


async def _answer_forward_auth(context: ProxyContext, stream: ClientStream, request: Request[ParsedRequest]) -> None:
    stream.respond(await forward_auth.answer(context, request))


class AiohttpConnection(asyncio.Protocol):
    """Passes everything on to `handler`. `request` is the one that it answers."""

    __slots__ = ("_context", "_deadline", "_handler", "peer", "request", "transport", "trusted")

    def __init__(self, context: ProxyContext, connection: Connection, handler: asyncio.Protocol) -> None:
        self.transport = connection.transport
        self.peer, self.trusted = connection.peer, connection.trusted
        self.request = connection.request
        self._context = context
        self._handler = handler
        self._deadline: float | None = None
        context.replace(connection, self)

    def begin(self, data: bytes) -> None:
        """`data`: the one request that is to be answered."""
        self.transport.set_protocol(self)
        self._handler.connection_made(self.transport)
        self._handler.data_received(data)

    def sweep(self, now: float) -> None:
        """Called now and then. The page itself is bounded by the time-outs of what it calls; here only the client can be slow."""
        if not self.transport.is_closing():
            return
        if self._deadline is None:
            self._deadline = now + self._context.idle_timeout
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
        self._context.leave(self)
        self._handler.connection_lost(error)
