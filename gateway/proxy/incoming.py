"""The body of the request at hand, on its way in: decoded here, and sent to whoever asked for it."""

from collections.abc import Callable

from gateway.proxy.framing import Body, ChunkedBody, SizedBody
from gateway.proxy.heads import ParsedRequest


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
