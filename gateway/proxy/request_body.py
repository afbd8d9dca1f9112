"""The body of the request at hand, on its way in: decoded here, and sent to whoever asked for it."""

from collections.abc import Callable
from typing import Protocol

from gateway.errors import Refusal
from gateway.http.framing import Body, ChunkedBody, SizedBody
from gateway.http.request_head import ParsedRequest
from gateway.proxy.client_side import Client
from gateway.proxy.context import Connection, ProxyContext, Visited
from gateway.proxy.local_reply import LocalReply


class Visiting(Connection, Client, Protocol):
    """The client's connection, as its request sees it."""

    @property
    def body_open(self) -> bool: ...

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None: ...

    def expect_body_soon(self) -> None: ...

    def refuse(self, refusal: Refusal) -> None: ...

    def respond(self, page: LocalReply) -> None: ...

    def session_ended(self) -> None: ...


class Collecting(Visited, Protocol):
    """The request whose body it is."""

    door: ProxyContext

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


class Incoming:
    """`body` decodes what arrives; None: all of it is there, or the request has none."""

    __slots__ = ("_end", "_sink", "body")

    def __init__(self) -> None:
        self.body: Body | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._end: Callable[[], None] | None = None

    def expect(self, request: ParsedRequest) -> None:
        """What comes next is the body of this request, if it has one."""
        if request.chunked:
            self.body = ChunkedBody()
        elif request.length:
            self.body = SizedBody(request.length)

    def goes_to(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Its bytes to `sink`, and `end` after the last."""
        self._sink, self._end = sink, end

    @property
    def wanted(self) -> bool:
        """Whether somebody asked for it already."""
        return self.body is not None and self._sink is not None

    def feed(self, data: bytes) -> bytes | None:
        """What belongs to later requests, once the body is complete; None before. Raises FramingError."""
        body, sink = self.body, self._sink
        assert body is not None and sink is not None  # noqa: PT018 - one fact
        out = body.feed(data)
        if out:
            sink(out)
        return body.rest if body.done else None

    def complete(self) -> None:
        """Say so to whoever asked."""
        end, self.body, self._sink, self._end = self._end, None, None, None
        if end is not None:
            end()
