"""Requests whose end two servers could see in two places."""

import asyncio
import contextlib
import gzip
import json
import zlib

import pytest

from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.servers import serving
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

GZIPPED = gzip.compress(b"hello gateway", mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIPPED), ("deflate", zlib.compress(b"hello gateway")), ("br", b"\x0f\x06\x80hello gateway\x03"), ("zstd", b"\x28\xb5\x2f\xfd junk"),
        ("gzip, gzip", gzip.compress(GZIPPED, mtime=0)), ("x-gzip", GZIPPED),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_encoded_body_arrives_byte_for_byte(house: House, coding: str, body: bytes, chunked: bool) -> None:
    """B-01."""
    cookie = await house.session()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    wire_body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    head = f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Encoding: {coding}\r\n{framing}\r\n\r\n"
    assert (await house.raw(head.encode() + wire_body)).status == 200
    request = house.upstream.requests[0]
    assert request.body == body
    assert request.values("content-encoding") == [coding.encode()]
    if not chunked:
        assert request.values("content-length") == [str(len(body)).encode()]


async def test_an_upstream_that_answers_early_never_takes_the_next_request_for_the_rest_of_a_body(house: House) -> None:
    """B-02: eight empty gzip members and a little text, to an upstream that answers at once and then drains what was declared."""
    body = gzip.compress(b"") * 8 + gzip.compress(b"x")
    attacker, victim = await house.session(), await house.session(subject="victim", email="victim@example.com")
    house.upstream.read_bodies = False

    async def early(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        if request.values("content-length"):
            request.body = await reader.readexactly(int(request.values("content-length")[0]))

    house.upstream.answer = early
    evil = await Wire.open(house.port)
    half = len(body) // 2
    await evil.send(
        f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {attacker}\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body[:half]
    )
    assert (await evil.response()).status == 200
    answer = await house.ask("/victim", cookie=f"s=secret; {victim}")
    assert answer.body == b"ok"
    await evil.close()
    assert [request.target for request in house.upstream.requests] == ["/p", "/victim"]
    assert house.upstream.requests[0].connection != house.upstream.requests[1].connection
    assert all(b"secret" not in request.body for request in house.upstream.requests)


@pytest.mark.parametrize(
    "fields",
    [
        "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: JUNK, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: identity",
        "Transfer-Encoding:", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: +5",
        "Content-Length: 0x5", "Content-Length: 5,5", "Content-Length: 5, 6", "Content-Length: 05", "Content-Length: 5_0", "Content-Length: -0",
        "Content-Length:", "Content-Length: 5\r\nContent-Length: 5", "Content-Length : 5", "Content-Length: 5\n",
        "Transfer-Encoding : chunked", "Transfer-Encoding: chunked\r\n x", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked;x=1", "Transfer-Encoding: chunked,", "Transfer-Encoding: gzip",
    ],
)  # fmt: skip
async def test_framing_that_can_be_doubted_is_refused_and_the_connection_closed(house: House, fields: str) -> None:
    """B-10, B-13, B-65."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    smuggled = f"GET /smuggled HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n"
    await wire.send(
        f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{smuggled}".encode(
            "latin-1"
        )
    )
    response = await wire.response()
    assert response.status == (501 if fields.endswith(", chunked") else 400)
    assert await wire.ended()
    await wire.close()
    assert house.upstream.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b"+1\r\na\r\n0\r\n\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"1_0\r\na\r\n", b" 1\r\na\r\n", b"1 \r\na\r\n", b"1;" + b"x" * 70000 + b"\r\na\r\n",
        b"1\na\r\n0\r\n\r\n", b"1\r\r;\na\r\n", b"FFFFFFFFFFFFFFFF1\r\na", b"1\r\naX\r\n0\r\n\r\n", b"1;a\x00b\r\na\r\n0\r\n\r\n",
        b"1;\r\na\r\n0\r\n\r\n", b'1;a="\r\na\r\n0\r\n\r\n', b"1 ;a\r\na\r\n0\r\n\r\n", b"0;a=\r\n\r\n",
    ],
)  # fmt: skip
async def test_a_chunk_that_can_be_doubted_ends_the_connection_and_no_request_is_completed(
    house: House, body: bytes
) -> None:
    """B-14, B-66."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(
        f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + body
    )
    assert (await wire.response()).status == 400
    assert await wire.ended()
    await wire.close()
    assert all(not request.body for request in house.upstream.requests)
    assert (await house.ask("/next", cookie=cookie)).body == b"you asked for /next"


@pytest.mark.parametrize("size", [b"5;", b'5;a="', b"5 ;a", b"5;a b", b"5 "])
async def test_an_answer_with_a_chunk_that_can_be_doubted_is_broken_off(house: House, size: bytes) -> None:
    """B-14, B-47, B-66: an upstream's chunks are held to the same grammar, and its connection serves nobody else."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/odd":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n")
        else:
            await answer_ok(request, reader, writer)

    house.upstream.answer = answer
    cookie = await house.session()
    response = await house.ask("/odd", cookie=cookie)
    assert response.status == 502 or not response.complete
    assert b"hello" not in response.body
    assert (await house.ask("/next", cookie=cookie)).body == b"you asked for /next"
    assert house.upstream.connections == 2


async def test_trailers_never_become_headers(house: House) -> None:
    """B-15."""
    cookie = await house.session()
    trailers = b"Content-Length: 5\r\nTransfer-Encoding: x\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-User: admin\r\nCookie: a=1\r\n"
    head = f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nTrailer: X-Forwarded-User\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = await house.raw(head.encode() + b"1\r\na\r\n0\r\n" + trailers + b"\r\n")
    assert response.status == 200
    request = house.upstream.requests[0]
    assert request.values("x-forwarded-user") == [b"bob"]
    assert request.values("host") == [house.host().encode()]
    assert request.values("authorization") == []
    assert request.values("trailer") == []
    assert request.body == b"a"


async def test_ten_thousand_trailers_are_refused(house: House) -> None:
    """B-15."""
    cookie = await house.session()
    head = f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await house.raw(head.encode() + b"1\r\na\r\n0\r\n" + b"X-T: aaaaaaaa\r\n" * 10_000)).status == 400


@pytest.mark.parametrize("value", [b"caf\xe9", b"\x85x\xa0", b"caf\xc3\xa9"])
async def test_request_header_bytes_above_ascii_arrive_unchanged(house: House, value: bytes) -> None:
    """B-20."""
    cookie = await house.session()
    await house.raw(
        f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nX-N: ".encode() + value + b"\r\n\r\n"
    )
    assert house.upstream.requests[0].values("x-n") == [value]


@pytest.mark.parametrize(
    "field", [b'Content-Disposition: attachment; filename="\xe9.txt"', b"Location: /\xc3\xa9", b"X-N: \x85x\xa0"]
)
async def test_response_header_bytes_above_ascii_come_back_unchanged(house: House, field: bytes) -> None:
    """B-21."""

    async def bytes_in_headers(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + field + b"\r\nContent-Length: 0\r\n\r\n")

    house.upstream.answer = bytes_in_headers
    assert field + b"\r\n" in (await house.ask("/", cookie=await house.session())).head


async def test_a_client_that_leaves_half_way_never_gives_its_answer_to_somebody_else(house: House) -> None:
    """B-54: two hundred clients leave inside an answer of theirs; then everybody still gets their own."""
    cookie = await house.session()

    async def slowly(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = request.target.encode() * 50
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 200):
            writer.write(body[start : start + 200])
            await writer.drain()
            await asyncio.sleep(0)

    house.upstream.answer = slowly

    async def leave(number: int) -> None:
        wire = await Wire.open(house.port)
        await wire.send(f"GET /left/{number} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        for _ in range(number % 7):
            await asyncio.sleep(0)
        wire.writer.transport.abort()

    async def stay(number: int) -> None:
        response = await house.ask(f"/canary/{number}", cookie=cookie)
        assert response.body == f"/canary/{number}".encode() * 50

    for start in range(0, 200, 20):
        await asyncio.gather(
            *(leave(number) for number in range(start, start + 20)),
            *(stay(number) for number in range(start, start + 5)),
        )
    for start in range(0, 300, 30):
        await asyncio.gather(*(stay(number) for number in range(start, start + 30)))


@pytest.mark.parametrize(
    "said",
    [
        b"204 No Content\r\nContent-Length: 38", b"204 No Content\r\nTransfer-Encoding: chunked",
        b"304 Not Modified\r\nTransfer-Encoding: chunked",
    ],
)  # fmt: skip
async def test_a_body_that_follows_where_none_can_be_is_nobodys_answer(house: House, said: bytes) -> None:
    """B-44: it comes when the next person's request is on its way already."""
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    left = asyncio.Event()

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/victim":
            writer.write(body if request.connection == house.upstream.requests[0].connection else b"")
            await answer_ok(request, reader, writer)
        else:
            writer.write(b"HTTP/1.1 " + said + b"\r\n\r\n")
            left.set()

    house.upstream.answer = answer
    cookie = await house.session()
    response = await house.ask("/odd", cookie=cookie)
    assert response.status == int(said[:3])
    assert response.value("content-length") is None
    assert response.value("transfer-encoding") is None
    await left.wait()
    assert (await house.ask("/victim", cookie=cookie)).body == b"you asked for /victim"
    assert house.upstream.connections == 2


@pytest.mark.parametrize(
    "late",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nplanted", b"x", b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"],
)
async def test_bytes_that_nobody_asked_for_end_the_connection_that_they_came_on(house: House, late: bytes) -> None:
    """B-44, B-54: they come while it waits for work; the next person's request goes out on another one."""
    writers: list[asyncio.StreamWriter] = []
    ended = asyncio.Event()

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_ok(request, reader, writer)
        if request.target == "/first":
            await writer.drain()
            await eventually(lambda: house.worker.context.pools["portal"].idle)
            writer.write(late)
            writers.append(writer)
            assert await reader.read(1) == b""
            ended.set()

    house.upstream.answer = answer
    attacker, victim = await house.session(), await house.session(subject="victim", email="victim@example.com")
    assert (await house.ask("/first", cookie=attacker)).body == b"you asked for /first"
    async with asyncio.timeout(60):
        await ended.wait()
    assert (await house.ask("/victim", cookie=victim)).body == b"you asked for /victim"
    assert [request.connection for request in house.upstream.requests] == [1, 2]


async def test_a_post_of_a_gigabyte_by_a_stranger_is_refused_without_being_read(house: House) -> None:
    """B-19: its answer comes at once, and the connection ends although the client goes on and on."""
    wire = await Wire.open(house.port)
    head = f"POST /up HTTP/1.1\r\nHost: {house.host()}\r\nContent-Length: 1000000000\r\n\r\n"
    await wire.send(head.encode())
    response = await wire.response()
    assert response.status == 401
    assert response.value("connection") == "close"
    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            while True:
                wire.writer.write(bytes(65536))
                await wire.writer.drain()
                sent += 65536
                await asyncio.sleep(0.001)
    assert sent < 1_000_000_000
    await eventually(lambda: not house.worker.context.connections)
    assert house.upstream.connections == 0


@pytest.mark.parametrize("kind", ["gunicorn", "uvicorn"])
async def test_real_servers_that_never_read_a_body_answer_everybody_with_their_own(
    open_house: OpenHouse, kind: str
) -> None:
    """B-02: the body holds a request, comes in two halves, and the application has answered before the second."""
    with serving(kind) as url:
        house = await open_house(upstreams={"portal": url})
        attacker, victim = await house.session(), await house.session(subject="victim", email="victim@example.com")
        smuggled = f"GET /stolen HTTP/1.1\r\nHost: {house.host()}\r\nX-Pad: ".encode()
        for number in range(5):
            evil = await Wire.open(house.port)
            head = f"POST /p HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {attacker}\r\nContent-Length: {2 * len(smuggled)}\r\n\r\n"
            await evil.send(head.encode() + smuggled)
            assert json.loads((await evil.response()).body)["path"] == "/p"
            answer = json.loads((await house.ask(f"/victim/{number}", cookie=f"s=secret; {victim}")).body)
            assert answer["path"] == f"/victim/{number}"
            assert answer["names"]["HTTP_X_FORWARDED_USER"] == "victim"
            with contextlib.suppress(ConnectionError):
                await evil.send(smuggled)
            await evil.close()
            answer = json.loads((await house.ask(f"/later/{number}", cookie=f"s=secret; {victim}")).body)
            assert answer["path"] == f"/later/{number}"
