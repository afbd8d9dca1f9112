"""A connection remembers the last response head; what somebody looked at first, and may have changed, is never remembered."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.proxy.upstream import Reuse, UpstreamConnection
from tests.fakes.recorder import Recorded, RecordingUpstream


@dataclass
class Home:
    """Where the connection would wait for work."""

    idle: list[UpstreamConnection] = field(default_factory=list)
    answered: float = 0.0

    def opened(self, connection: UpstreamConnection) -> None: ...

    def lost(self, connection: UpstreamConnection) -> None: ...


class Reader:
    """What hears one response. `plain` as an exchange has it; one that is not changes the lines for its person, as an app's care does."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.authenticates = False
        self.request = ParsedRequest(b"GET / HTTP/1.1", "GET", b"/", "1.1")
        self.lines: list[bytes] = []
        self.body = b""
        self.done = asyncio.Event()

    def on_response(self, response: ParsedResponse, first: bytes | None) -> None:
        if not self.plain:
            response.lines = [*response.lines, b"Set-Cookie: sealed=for-one-person"]
        self.lines = list(response.lines)
        self.body += first or b""

    def on_whole(self, response: ParsedResponse, body: bytes) -> None:
        self.on_response(response, body)
        self.done.set()

    def on_body(self, data: bytes, *, last: bool = False) -> None:
        self.body += data

    def on_end(self, reuse: Reuse) -> None:
        self.done.set()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name}: nothing of the kind happens here")


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_a_response_that_was_changed_for_one_person_is_not_the_next_ones(framed: bytes) -> None:
    """B-54: the same head comes again on the same connection, for somebody whose response nobody looks at."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Same: 1\r\n" + framed)

    upstream = RecordingUpstream(answer)
    await upstream.start()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: UpstreamConnection(Home()), "127.0.0.1", upstream.port)
    read = []
    for plain in (False, True, True):
        reader = Reader(plain=plain)
        connection.begin(reader)
        connection.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(60):
            await reader.done.wait()
        assert reader.body == b"hello"
        read.append(reader.lines)
    assert read == [[b"X-Same: 1", b"Set-Cookie: sealed=for-one-person"], [b"X-Same: 1"], [b"X-Same: 1"]]
    connection.abort()
    await upstream.close()
