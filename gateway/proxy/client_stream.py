"""A client's side of one request: what the data plane sees of the protocol that the client speaks.

`downstream.Downstream` is HTTP/1.1; the tests have another one. Requests come in as heads and body data, responses go out as heads, data
and ends; nothing else of the proxy writes a client's protocol.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.errors.refusal import Refusal
from gateway.http.request_head import ParsedRequest
from gateway.proxy.local_reply import LocalReply
from gateway.proxy.upstream import UpstreamConnection


class ClientStream(Protocol):
    """`request` is the head that is being answered, None between requests."""

    peer: str
    trusted: bool
    request: ParsedRequest | None

    def write(self, data: bytes) -> None: ...

    def stop_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    def keep(self, connection: UpstreamConnection) -> None:
        """An exchange leaves a connection that may serve nobody but this session, here."""

    def answered(self, status: int, size: int, *, keep_alive: bool) -> None:
        """The response is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a page or a problem document; the response must not have begun."""

    def respond(self, page: LocalReply) -> None:
        """Answer with a local reply; the response must not have begun."""

    def cut(self, status: int, size: int) -> None:
        """The response broke off: the client must see that (B-45)."""

    def tunnel(self, connection: UpstreamConnection, head: bytes, first: bytes) -> None:
        """An upgrade was honoured: from here on, bytes."""

    def session_ended(self) -> None:
        """The session that the request belongs to is over: end at once (C-44)."""

    @property
    def body_open(self) -> bool:
        """Whether the request's body is still arriving."""

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Send the body's bytes to `sink` from now on, then call `end`."""

    def expect_body_soon(self) -> None:
        """The body is read here, so it must come in time."""
