"""One request and its response on the client's side: the interface between the data plane and the client's protocol.

`downstream.Http1Stream` is HTTP/1.1; `tests/fakes/client_stream.py` is another one. A request comes in as a head and body data, a response goes
out as a head, data and an end. Nothing else of the proxy writes a client's protocol: framing, connection options and the order of responses
are the stream's.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.errors.refusal import Refusal
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.local_reply import LocalReply
from gateway.proxy.upstream import UpstreamConnection


class ClientStream(Protocol):
    """`request` is the head that is being answered, None between requests. `peer` is the address at the other end, `trusted` whether its
    forwarding fields are believed.

    An upstream's response is any number of `interim`, then `head`, any number of `data`, and `end`; or `whole`; or `cut` after `head`.
    """

    peer: str
    trusted: bool
    request: ParsedRequest | None

    # --- the request's body ---

    @property
    def body_open(self) -> bool:
        """Whether the request's body is still arriving."""

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Send the body's bytes, without framing, to `sink` from now on; call `end` after the last."""

    def send_continue(self) -> None:
        """Ask for the body: a 100 (Continue)."""

    def expect_body_soon(self) -> None:
        """The body is read here, so it must come within `limits.head_timeout`."""

    def stop_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    # --- an upstream's response ---

    def interim(self, response: ParsedResponse) -> None:
        """A 1xx other than 101."""

    def head(self, response: ParsedResponse, first: bytes | None) -> None:
        """The final head, and the body bytes that came with it; None: the response has no body."""

    def data(self, data: bytes, *, last: bool = False) -> None:
        """Body bytes, never empty; `last`: `end` is next."""

    def end(self, status: int, size: int) -> None:
        """The response is complete. `size`: bytes of its body."""

    def whole(self, response: ParsedResponse, body: bytes) -> None:
        """`head`, `data` and `end` in one call."""

    def cut(self, status: int, size: int) -> None:
        """The response broke off: the client must see that (B-45)."""

    def flush(self) -> None:
        """Write what was held back for bytes that would follow soon."""

    def tunnel(self, connection: UpstreamConnection, response: ParsedResponse, first: bytes) -> None:
        """An upgrade was honoured: `response` is the 101, `first` what came behind it; from here on, bytes."""

    def keep(self, connection: UpstreamConnection) -> None:
        """Keep a connection that may serve only the session of this request on this client connection, or close it."""

    # --- responses of our own ---

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a page or a problem document; the response must not have begun."""

    def respond(self, page: LocalReply) -> None:
        """Answer with a local reply; the response must not have begun."""

    def session_ended(self) -> None:
        """The session of the request is over: end at once (C-44)."""
