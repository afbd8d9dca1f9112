"""WebSockets and other long connections: opened by a session, ended with it."""

import asyncio
import base64
import contextlib
import hashlib

import pytest

from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

KEY = base64.b64encode(b"0123456789abcdef").decode()
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def echo_socket(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    proof = base64.b64encode(hashlib.sha1(request.values("sec-websocket-key")[0] + GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + proof
        + b"\r\n\r\nhello"
    )
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def handshake(house: House, cookie: str | None, *, origin: str | None = None, extra: str = "") -> bytes:
    lines = [f"GET /socket HTTP/1.1\r\nHost: {house.host()}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    lines += [f"Cookie: {cookie}"] if cookie else []
    lines += [f"Origin: {origin}"] if origin else []
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()


async def open_socket(house: House, cookie: str) -> Wire:
    house.upstream.answer = echo_socket
    wire = await Wire.open(house.port)
    await wire.send(handshake(house, cookie, origin=f"http://{house.host()}"))
    assert (await wire.response()).status == 101
    assert await wire.reader.readexactly(5) == b"hello"
    return wire


async def test_a_websocket_passes_bytes_both_ways(house: House) -> None:
    wire = await open_socket(house, await house.session())
    body = bytes(range(256)) * 4096
    wire.writer.write(body)
    assert await wire.reader.readexactly(len(body)) == body
    request = house.upstream.requests[0]
    assert request.values("x-forwarded-user") == [b"bob"]
    assert request.values("upgrade") == [b"websocket"]
    await wire.close()


async def test_what_lasts_as_long_as_both_sides_like_is_not_in_the_histograms(house: House) -> None:
    """A WebSocket of a day, or an event stream, would make every average of response times meaningless."""

    async def event_stream(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\ndata: 1\n\n")
        writer.close()

    cookie = await house.session()
    wire = await open_socket(house, cookie)
    await wire.close()
    house.upstream.answer = event_stream
    assert b"data: 1" in (await house.ask("/events", cookie=cookie)).body
    house.upstream.answer = answer_ok
    for _ in range(2):
        assert (await house.ask("/page", cookie=cookie)).status == 200
    assert (await house.ask("/page")).status == 401
    counts = house.worker.report().counts
    await eventually(lambda: counts.requests["portal", 101] == 1)
    assert counts.requests["portal", 200] == 3
    assert sum(counts.durations["response", "portal"].counts) == 3
    assert sum(counts.durations["upstream", "portal"].counts) == 2
    assert 0 < counts.durations["upstream", "portal"].seconds < counts.durations["response", "portal"].seconds
    assert sum(counts.durations["redis", "session_store"].counts) > 0


async def test_a_websocket_without_a_session_is_401_and_with_anothers_origin_403(house: House) -> None:
    """C-19."""
    house.upstream.answer = echo_socket
    assert (await house.raw(handshake(house, None))).status == 401
    cookie = await house.session()
    assert (await house.raw(handshake(house, cookie, origin="https://evil.example"))).status == 403
    own = f"http://{house.host()}"
    for second in (own, "https://evil.example"):  # which of two Origins the application would believe, nobody knows
        answer = await house.raw(handshake(house, cookie, origin=own, extra=f"Origin: {second}\r\n"))
        assert answer.status == 403
    assert house.upstream.requests == []


async def test_origins_that_an_app_was_given_may_open_its_websockets_and_no_others(open_house: OpenHouse) -> None:
    """C-19."""
    given = ["https://App.example.com", "https://shop.example.com:443", "http://localhost:3000"]
    house = await open_house(apps={"portal": {"websocket_origins": given}})
    house.upstream.answer = echo_socket
    cookie = await house.session()
    for origin, status in {
        "https://app.example.com": 101,
        "https://shop.example.com": 101,
        "http://localhost:3000": 101,
        f"http://{house.host()}": 101,
        "http://app.example.com": 403,
        "https://app.example.com.evil.example": 403,
        "https://example.com": 403,
        "http://localhost": 403,
        "null": 403,
    }.items():
        wire = await Wire.open(house.port)
        await wire.send(handshake(house, cookie, origin=origin))
        assert (await wire.response()).status == status
        await wire.close()


async def test_a_handshake_that_is_none_never_becomes_101(house: House) -> None:
    """B-40."""
    house.upstream.answer = echo_socket
    cookie = await house.session()
    sound = handshake(house, cookie)
    cases = {
        sound.replace(f"Sec-WebSocket-Key: {KEY}\r\n".encode(), b""): 400,
        sound.replace(b"Version: 13", b"Version: 12"): 426,
        handshake(house, cookie, extra=f"Sec-WebSocket-Key: {KEY}\r\n"): 400,
        sound.replace(b"GET ", b"POST "): 400,
        sound.replace(b"HTTP/1.1", b"HTTP/1.0"): 400,
        handshake(house, cookie, extra="Content-Length: 3\r\n") + b"abc": 400,
    }
    for data, status in cases.items():
        assert (await house.raw(data)).status == status
    assert house.upstream.requests == []
    house.upstream.answer = answer_ok
    # Without the option it is an ordinary request that mentions a protocol: that field ends here.
    assert (await house.raw(sound.replace(b"Connection: Upgrade\r\n", b""))).status == 200
    assert house.upstream.requests[0].values("upgrade") == []


async def test_a_handshake_of_another_version_is_told_the_one_that_is_spoken(house: House) -> None:
    """B-40: RFC 9110 section 15.5.22, RFC 6455 section 4.4."""
    response = await house.raw(handshake(house, await house.session()).replace(b"Version: 13", b"Version: 8"))
    assert response.status == 426
    assert response.values("upgrade") == ["websocket"]
    assert response.values("sec-websocket-version") == ["13"]
    assert response.values("connection") == ["Upgrade, close"]


async def test_another_protocol_is_switched_to_only_where_the_app_names_it(open_house: OpenHouse) -> None:
    """B-41, B-42, C-19."""

    async def switch(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not request.values("upgrade"):
            await answer_ok(request, reader, writer)
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(data.upper())

    for upgrades, status in ((["websocket", "SPDY/3.1"], 101), (["websocket"], 200)):
        house = await open_house(apps={"portal": {"upgrades": upgrades}})
        house.upstream.answer = switch
        fields = (
            f"Host: {house.host()}\r\nCookie: {await house.session()}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        )
        wire = await Wire.open(house.port)
        await wire.send(f"POST /exec HTTP/1.1\r\n{fields}\r\n".encode())
        assert (await wire.response()).status == status
        if status == 101:
            await wire.send(b"any bytes")
            assert await wire.reader.readexactly(9) == b"ANY BYTES"
            foreign = f"POST /exec HTTP/1.1\r\n{fields}Origin: https://evil.example\r\n\r\n"
            assert (await house.raw(foreign.encode())).status == 403
            assert (await house.raw(f"POST /exec HTTP/1.0\r\n{fields}\r\n".encode())).status == 200
        await wire.close()


async def test_an_app_may_have_no_websockets(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"upgrades": []}})
    assert (await house.raw(handshake(house, await house.session()))).status == 200
    assert house.upstream.requests[0].values("upgrade") == []
    assert house.upstream.requests[0].values("sec-websocket-key") == []


async def test_a_101_that_nobody_asked_for_is_a_502(house: House) -> None:
    """B-42."""

    async def unasked(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nraw bytes")

    house.upstream.answer = unasked
    cookie = await house.session()
    assert (await house.ask("/", cookie=cookie)).status == 502
    assert (await house.ask("/", cookie=cookie, fields="Connection: Upgrade\r\nUpgrade: foo\r\n")).status == 502
    assert house.upstream.requests[-1].values("upgrade") == []


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "Sec-WebSocket-Accept: \r\n",
        f"Sec-WebSocket-Accept: {KEY}\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        f"X-Sec-WebSocket-Accept: {base64.b64encode(hashlib.sha1(KEY.encode() + GUID).digest()).decode()}\r\n",
    ],
)
async def test_a_101_that_does_not_answer_this_handshakes_key_is_a_502(house: House, proof: str) -> None:
    """B-40: somebody else's 101, or that of a server that knows no WebSockets."""
    ended = asyncio.Event()

    async def switch(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{proof}\r\n"
        writer.write(head.encode() + b"hello")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        ended.set()

    house.upstream.answer = switch
    response = await house.raw(handshake(house, await house.session()))
    assert response.status == 502
    assert b"hello" not in response.body
    async with asyncio.timeout(60):
        await ended.wait()


@pytest.mark.parametrize("said", ["Upgrade: SPDY/3.1\r\n", "Upgrade: websocket, SPDY/3.1\r\n", ""])
async def test_a_101_to_another_protocol_than_was_asked_for_is_a_502(open_house: OpenHouse, said: str) -> None:
    """B-42: even where the app names both, and the key is answered."""
    house = await open_house(apps={"portal": {"upgrades": ["websocket", "SPDY/3.1"]}})
    ended = asyncio.Event()

    async def switch(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proof = base64.b64encode(hashlib.sha1(KEY.encode() + GUID).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\n{said}Connection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
        writer.write(head.encode())
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        ended.set()

    house.upstream.answer = switch
    assert (await house.raw(handshake(house, await house.session()))).status == 502
    async with asyncio.timeout(60):
        await ended.wait()


async def test_a_flood_of_interim_responses_is_a_502(house: House) -> None:
    """B-42."""

    async def flood(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10_000):
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")

    house.upstream.answer = flood
    wire = await Wire.open(house.port)
    await wire.send(f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode())
    statuses = [(await wire.response()).status]
    while statuses[-1] == 103:
        statuses.append((await wire.response()).status)
    assert statuses[-1] == 502
    assert len(statuses) < 100
    await wire.close()


async def test_a_websocket_and_an_upload_end_when_the_session_is_revoked(house: House) -> None:
    """C-19, C-44."""
    cookie = await house.session()
    wire = await open_socket(house, cookie)
    upload = await Wire.open(house.port)
    await upload.send(
        f"POST /up HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Length: 100000\r\n\r\nbegin".encode()
    )
    await eventually(lambda: len(house.upstream.requests) == 2)
    store = house.worker.store
    await store.revoke(store.key_of(cookie.partition("=")[2]))
    assert await wire.ended()
    assert await upload.ended()
    assert (await house.ask("/", cookie=cookie)).status == 401


async def test_another_process_that_revokes_is_heard(house: House, valkey: str) -> None:
    """C-44: the record is deleted behind the worker's back, as another worker or an operator does it."""
    from redis.asyncio import Redis

    cookie = await house.session()
    wire = await open_socket(house, cookie)
    other: Redis = Redis.from_url(valkey)
    prefix = house.worker.config.redis.key_prefix
    async for key in other.scan_iter(match=prefix + "s:*"):
        await other.delete(key)
    await other.aclose()
    assert await wire.ended()
    assert (await house.ask("/", cookie=cookie)).status == 401


async def test_a_side_that_has_ended_is_still_told_things_and_not_for_ever(open_house: OpenHouse) -> None:
    """B-53: half-closed, either side: what the other one says arrives; when it says nothing, the tunnel ends."""
    house = await open_house(apps={"portal": {"timeouts": {"idle": "1s"}}})
    heard = asyncio.Event()
    received = b""

    async def last_words(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        if request.target != "/socket":
            return
        await echo_until(request, reader, writer, b"server, be silent")
        received = await reader.read()
        heard.set()

    async def echo_until(
        request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: bytes
    ) -> None:
        proof = base64.b64encode(hashlib.sha1(request.values("sec-websocket-key")[0] + GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + proof
            + b"\r\n\r\n"
        )
        assert await reader.readexactly(len(word)) == word
        writer.write(b"the server's last word")
        writer.write_eof()

    house.upstream.answer = last_words
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(handshake(house, cookie))
    assert (await wire.response()).status == 101
    await wire.send(b"server, be silent")
    assert await wire.reader.read() == b"the server's last word"  # and the end of its side
    await wire.send(b"the client's last word")
    wire.writer.write_eof()
    async with asyncio.timeout(60):
        await heard.wait()
    assert received == b"the client's last word"
    await wire.close()

    silent = await Wire.open(house.port)
    await silent.send(handshake(house, cookie))
    assert (await silent.response()).status == 101
    await silent.send(b"server, be silent")
    assert await silent.reader.read() == b"the server's last word"
    await eventually(lambda: not house.worker.context.connections)
    await silent.close()
