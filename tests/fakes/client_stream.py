"""A client protocol that is not HTTP/1.1: it records what an exchange sends to a client, in the order of the calls."""

from collections.abc import Callable

from gateway.errors.refusal import Refusal
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.local_reply import LocalReply
from gateway.proxy.upstream import UpstreamConnection


class RecordingStream:
    """`events` are the calls for the response: ("head", status), ("data", bytes), ("end", size) and so on. `on_event` gets each.

    The request's body is what the test calls `exchange.body` with. `reading` is false while the exchange wants no more of it.
    """

    def __init__(self, request: ParsedRequest) -> None:
        self.peer = "203.0.113.7"
        self.trusted = False
        self.request: ParsedRequest | None = request
        self.events: list[tuple[object, ...]] = []
        self.on_event: Callable[[tuple[object, ...]], None] = lambda event: None
        self.reading = True
        self.kept: list[UpstreamConnection] = []
        self.lines: list[bytes] = []  # of the final head
        self.tunnelled: UpstreamConnection | None = None
        self.sink: Callable[[bytes], None] | None = None
        self.body_end: Callable[[], None] | None = None

    @property
    def data_received(self) -> bytes:
        """The response's body so far."""
        return b"".join(event[1] for event in self.events if event[0] == "data" and isinstance(event[1], bytes))

    @property
    def names(self) -> list[object]:
        return [event[0] for event in self.events]

    def _record(self, *event: object) -> None:
        self.events.append(event)
        self.on_event(event)

    # --- the request's body ---

    @property
    def body_open(self) -> bool:
        return self.body_end is not None

    def receive(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self.sink, self.body_end = sink, end

    def send_continue(self) -> None:
        self._record("continue")

    def expect_body_soon(self) -> None: ...

    def stop_reading(self) -> None:
        self.reading = False

    def go_on_reading(self) -> None:
        self.reading = True

    # --- an upstream's response ---

    def interim(self, response: ParsedResponse) -> None:
        self._record("interim", response.status)

    def head(self, response: ParsedResponse, first: bytes | None) -> None:
        self.lines = list(response.lines)
        self._record("head", response.status)
        if first:
            self._record("data", first)

    def data(self, data: bytes, *, last: bool = False) -> None:
        self._record("data", data)

    def end(self, status: int, size: int) -> None:
        self._record("end", size)

    def whole(self, response: ParsedResponse, body: bytes) -> None:
        self.head(response, body)
        self.end(response.status, len(body))

    def cut(self, status: int, size: int) -> None:
        self._record("cut", size)

    def flush(self) -> None: ...

    def tunnel(self, connection: UpstreamConnection, response: ParsedResponse, first: bytes) -> None:
        self.tunnelled = connection
        self._record("tunnel", response.upgrade, first)

    def keep(self, connection: UpstreamConnection) -> None:
        self.kept.append(connection)

    # --- responses of our own ---

    def refuse(self, refusal: Refusal) -> None:
        self._record("refuse", type(refusal).__name__)

    def respond(self, page: LocalReply) -> None:
        self._record("respond", page.status)

    def session_ended(self) -> None:
        self._record("session_ended")
