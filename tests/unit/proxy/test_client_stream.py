"""An exchange speaks to its client in heads, data and ends: here to a client that does not speak HTTP/1.1."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.config.schema import App, Limits
from gateway.http.field_cache import RequestFields
from gateway.http.header_policy import FieldKinds
from gateway.http.request_head import ParsedRequest, RequestReader
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.exchange import Exchange
from gateway.proxy.pool import Pool
from tests.fakes.client_stream import RecordingStream
from tests.fakes.recorder import Recorded, RecordingUpstream
from tests.fakes.waiting import eventually

READ = RequestReader(RequestFields(FieldKinds(frozenset(), frozenset())), Limits().headers).read
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    upstream = RecordingUpstream()
    await upstream.start()
    yield upstream
    await upstream.close()


@pytest.fixture
async def pool(upstream: RecordingUpstream) -> AsyncIterator[Pool]:
    pool = Pool("portal", App.model_validate({"hosts": ["portal.example.com"], "upstream": [upstream.url]}))
    yield pool
    pool.close()


def started(pool: Pool, line: bytes = b"GET /x HTTP/1.1", *fields: bytes) -> tuple[RecordingStream, Exchange]:
    """A request under way, and its client."""
    head = b"\r\n".join((line, b"Host: portal.example.com", *fields, b"", b""))
    request = READ(head)
    stream = RecordingStream(request)
    return stream, begun(stream, request, head, pool)


def begun(client: ClientStream, request: ParsedRequest, head: bytes, pool: Pool) -> Exchange:
    exchange = Exchange(client, request, head, pool)
    exchange.start()
    return exchange


def answers(upstream: RecordingUpstream, *pieces: bytes, then_abort: bool = False) -> None:
    """Each piece of the response arrives by itself."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.03)
        if then_abort:
            writer.transport.abort()

    upstream.answer = answer


async def finished(stream: RecordingStream, name: str = "end") -> None:
    await eventually(lambda: name in stream.names)


@pytest.mark.parametrize("framed", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_response_that_is_there_at_once_is_a_head_data_and_an_end(
    pool: Pool, upstream: RecordingUpstream, framed: bytes
) -> None:
    """The upstream's framing is not the client's: neither chunks nor a length reach a stream as data."""
    chunked = framed.startswith(b"Transfer")
    answers(
        upstream,
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n%b\r\n\r\n%b" % (framed, b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"),
    )
    for _ in range(2):
        stream, _ = started(pool)
        await finished(stream)
        assert stream.events == [("head", 200), ("data", b"hello"), ("end", 5)]
        assert stream.lines == [b"X-A: 1"]
        assert len(pool.idle) == 1
    assert upstream.connections == 1


async def test_a_body_that_comes_in_pieces_is_data_in_the_same_order_without_chunks(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    answers(
        upstream,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2\r\nab\r\n",
        b"3\r\ncde\r\n",
        b"0\r\n\r\n",
    )
    stream, _ = started(pool)
    await finished(stream)
    assert stream.events == [("head", 200), ("data", b"ab"), ("data", b"cde"), ("end", 5)]
    assert len(pool.idle) == 1


async def test_a_response_without_a_body_has_no_data(pool: Pool, upstream: RecordingUpstream) -> None:
    """B-60: its connection may bring more, so it is left to the stream and not to the pool."""
    answers(upstream, b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n")
    stream, _ = started(pool)
    await finished(stream)
    assert stream.events == [("head", 304), ("end", 0)]
    assert len(stream.kept) == 1
    assert not pool.idle
    stream.kept[0].abort()


async def test_an_interim_response_comes_before_the_head_and_a_100_only_where_it_is_expected(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    answers(
        upstream,
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    )
    stream, _ = started(pool)
    await finished(stream)
    assert stream.events == [("interim", 103), ("head", 204), ("end", 0)]
    for connection in stream.kept:
        connection.abort()


async def test_a_response_that_breaks_off_is_cut_and_never_ended(pool: Pool, upstream: RecordingUpstream) -> None:
    """B-45."""
    answers(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", then_abort=True)
    stream, _ = started(pool)
    await finished(stream, "cut")
    assert stream.events == [("head", 200), ("data", b"hello"), ("cut", 5)]
    assert not pool.idle


async def test_a_response_that_never_began_is_refused(pool: Pool, upstream: RecordingUpstream) -> None:
    """B-47."""
    answers(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    stream, _ = started(pool)
    await finished(stream, "refuse")
    assert stream.events == [("refuse", "UpstreamFault")]


async def test_an_exchange_that_was_ended_calls_its_stream_no_more(pool: Pool, upstream: RecordingUpstream) -> None:
    """C-44: the client is gone, or its session."""
    answers(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"world")
    stream, exchange = started(pool)
    await finished(stream, "data")
    exchange.end()
    await eventually(lambda: pool.open == 0)
    assert stream.events == [("head", 200), ("data", b"hello")]


async def test_the_requests_body_goes_to_the_upstream_framed_as_its_head_says(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    for field, chunked in ((b"Content-Length: 10", False), (b"Transfer-Encoding: chunked", True)):
        stream, exchange = started(pool, b"POST /x HTTP/1.1", field)
        exchange.body(b"hello")
        await asyncio.sleep(0.02)
        exchange.body(b"world")
        exchange.body_end()
        await finished(stream)
        assert (upstream.requests[-1].body, upstream.requests[-1].chunked) == (b"helloworld", chunked)


async def test_the_stream_reads_no_further_while_the_upstream_takes_nothing(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    """D-20: what waits here is bounded."""
    upstream.read_bodies = False
    go_on = asyncio.Event()

    async def later(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    upstream.answer = later
    size, sent = 32 << 20, 0
    stream, exchange = started(pool, b"POST /x HTTP/1.1", b"Content-Length: %d" % size)
    await eventually(lambda: bool(upstream.requests))
    while stream.reading and sent < size:
        exchange.body(bytes(1 << 20))
        sent += 1 << 20
        await asyncio.sleep(0)
    assert sent < size
    go_on.set()
    await eventually(lambda: stream.reading)
    exchange.body(bytes(size - sent))
    exchange.body_end()
    await finished(stream)
    assert stream.data_received == b"ok"


async def test_the_upstream_is_read_no_further_while_the_client_takes_nothing(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    """D-20: the same, the other way."""
    size = 32 << 20

    async def much(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    upstream.answer = much
    stream, exchange = started(pool)
    stream.on_event = lambda event: exchange.pause_response() if event[0] == "head" else None
    await finished(stream, "head")
    before = exchange.size
    await asyncio.sleep(0.1)
    assert exchange.size == before < size
    exchange.resume_response()
    await finished(stream)
    assert stream.events[-1] == ("end", size)
    assert [connection.transport.is_reading() for connection in pool.idle] == [True]


class RecordingPeer:
    """What a tunnel's connection is joined with."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.pauses: list[str] = []
        self.half_closes = 0

    def from_upstream(self, data: bytes) -> None:
        self.received.append(data)

    def half_closed(self, side: asyncio.Transport) -> bool:
        self.half_closes += 1
        return False

    def pause_body(self) -> None:
        self.pauses.append("pause")

    def resume_body(self) -> None:
        self.pauses.append("resume")


def handshake(*more: bytes) -> tuple[bytes, ...]:
    return (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
        *more,
    )


async def test_an_honoured_upgrade_is_a_tunnel_and_its_connection_carries_bytes(
    pool: Pool, upstream: RecordingUpstream
) -> None:
    """B-53: what came behind the 101 is not lost, and nothing of it is read as HTTP."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    ended = asyncio.Event()

    async def switched(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switching % ACCEPT + b"first")
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await ended.wait()
        writer.close()

    upstream.answer = switched
    stream, _ = started(pool, b"GET /socket HTTP/1.1", *handshake())
    peer = RecordingPeer()

    def join(event: tuple[object, ...]) -> None:
        assert stream.tunnelled is not None
        stream.tunnelled.listener, stream.tunnelled.joined = None, peer

    stream.on_event = join
    await finished(stream, "tunnel")
    assert stream.events == [("tunnel", b"websocket", b"first")]
    await eventually(lambda: b"".join(peer.received) == b"HTTP/1.1 200 OK\r\n\r\n")
    connection = stream.tunnelled
    assert connection is not None
    assert not pool.idle
    connection.pause_writing()
    connection.resume_writing()
    assert peer.pauses == ["pause", "resume"]
    ended.set()
    await eventually(lambda: peer.received[-1] == b"")
    assert peer.half_closes == 1
    connection.abort()


@pytest.mark.parametrize(
    ("fields", "accept"), [((), ACCEPT), (handshake(), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=")], ids=["unasked", "wrong proof"]
)
async def test_a_101_without_its_request_or_its_proof_is_refused(
    pool: Pool, upstream: RecordingUpstream, fields: tuple[bytes, ...], accept: bytes
) -> None:
    """B-42."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    answers(upstream, switching % accept)
    stream, _ = started(pool, b"GET /socket HTTP/1.1", *fields)
    await finished(stream, "refuse")
    assert stream.events == [("refuse", "UpstreamFault")]
    assert stream.tunnelled is None
    await eventually(lambda: pool.open == 0)
