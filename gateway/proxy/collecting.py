"""A request body that is read here, whole and bounded, before anybody else gets it: a door wants to judge it, or a page of ours needs it."""

from collections.abc import Callable
from typing import Protocol

from gateway.errors import Refusal
from gateway.proxy.client_side import Client
from gateway.proxy.door import Connection, Door, Visited
from gateway.proxy.heads import ParsedRequest
from gateway.proxy.refusals import Page


class Visiting(Connection, Client, Protocol):
    """The client's connection, as its request sees it."""

    @property
    def body_open(self) -> bool: ...

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None: ...

    def expect_body_soon(self) -> None: ...

    def refuse(self, refusal: Refusal) -> None: ...

    def respond(self, page: Page) -> None: ...

    def session_ended(self) -> None: ...


class Collecting(Visited, Protocol):
    """The request whose body it is."""

    door: Door

    @property
    def connection(self) -> Visiting: ...


def collect(visit: Collecting, request: ParsedRequest, then: Callable[[bytes], None], too_large: Refusal) -> None:
    """Read the whole body, then go on; `too_large` is the answer to one over `limits.watched_body`. Raises it."""
    connection, limit = visit.connection, visit.door.limits.watched_body
    if request.length > limit:
        visit.door.told_refusal(visit, too_large)
        raise too_large
    collected = bytearray()

    def sink(data: bytes) -> None:
        if len(collected) + len(data) <= limit:
            collected.extend(data)
        elif connection.request is request:
            visit.door.told_refusal(visit, too_large)
            connection.refuse(too_large)

    def end() -> None:
        try:
            then(bytes(collected))
        except Refusal as refusal:
            connection.refuse(refusal)

    connection.expect_body_soon()
    if request.expects_continue:
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.expects_continue = False
    connection.receive(sink, end)
