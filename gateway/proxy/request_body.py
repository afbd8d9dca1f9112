"""The body of the request at hand, on its way in: decoded here, and sent to a sink; or buffered, whole and bounded."""

from collections.abc import Callable

from gateway.errors.refusal import Refusal
from gateway.http.framing import Body, ChunkedBody, SizedBody
from gateway.http.request_head import ParsedRequest
from gateway.proxy.client_stream import ClientStream


class RequestBody:
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

    def send_to(self, sink: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Call `sink` with its bytes, and `end` after the last."""
        self._sink, self._end = sink, end

    @property
    def wanted(self) -> bool:
        """Whether there is a sink already."""
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
        """Call `end`."""
        end, self.body, self._sink, self._end = self._end, None, None, None
        if end is not None:
            end()


def buffer(
    stream: ClientStream,
    request: ParsedRequest,
    limit: int,
    then: Callable[[bytes], None],
    too_large: Callable[[], Refusal],
) -> None:
    """Read the whole body of at most `limit` bytes, then call `then` with it. Raises what `too_large` returns, or answers with it."""
    if request.length > limit:
        raise too_large()
    collected = bytearray()

    def sink(data: bytes) -> None:
        if len(collected) + len(data) <= limit:
            collected.extend(data)
        elif stream.request is request:
            stream.refuse(too_large())

    def end() -> None:
        try:
            then(bytes(collected))
        except Refusal as refusal:
            stream.refuse(refusal)

    stream.expect_body_soon()
    if request.expects_continue:
        stream.send_continue()
        request.expects_continue = False
    stream.receive(sink, end)
