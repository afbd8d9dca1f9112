"""Requests for pages of our own: aiohttp answers them on the client's connection, all but forward-auth, which is answered here."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from gateway.decisions import Own
from gateway.errors import BadRequest, MalformedRequest, PayloadTooLarge, Refusal
from gateway.proxy.collecting import Collecting
from gateway.proxy.handed_over import HandedOver
from gateway.proxy.heads import ParsedRequest
from gateway.sites import Site


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
    HandedOver(door, connection, door.web_handler()).begin(data)
