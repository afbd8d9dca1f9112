"""Bodies of any size in the same memory, whoever stands still."""

import asyncio
import contextlib
import gc
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.gate.request import Request
from gateway.proxy.downstream import Downstream
from tests.fakes.house import House
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket

PIECE = bytes(range(256)) * 256
PIECES = 4800  # 300 MiB
ALLOWED = 20 * 1024 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Highest:
    value = 0


@contextlib.asynccontextmanager
async def highest() -> AsyncIterator[Highest]:
    """The most memory that this process (gateway, client and upstream in one) took beyond what it had."""
    gc.collect()
    before, found = resident(), Highest()

    async def watch() -> None:
        while True:
            found.value = max(found.value, resident() - before)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()


async def dial(house: House) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", house.port, limit=65536))


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (len(PIECE) * PIECES), b"Transfer-Encoding: chunked"])
async def test_a_download_that_the_client_stops_reading_stays_with_its_upstream(house: House, framing: bytes) -> None:
    """B-51."""
    written = 0

    async def large(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        chunked = framing.startswith(b"T")
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        for _ in range(PIECES):
            writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            await writer.drain()
            written += len(PIECE)
        writer.write(b"0\r\n\r\n" if chunked else b"")

    house.upstream.answer = large
    cookie = await house.session()
    assert (await house.ask("/oauth2/userinfo", cookie=cookie)).status == 200
    wire = await dial(house)
    async with highest() as memory, asyncio.timeout(60):
        await wire.send(f"GET /large HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        await wire.reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: written > 0)
        stuck = -1
        while stuck != written:
            stuck = written
            await asyncio.sleep(0.3)
        assert written < 64 * 1024 * 1024  # what the kernel takes, and two bounded buffers
        got = 0
        while got < PIECES * len(PIECE):
            data = await wire.reader.read(65536)
            assert data
            got += len(data)
    assert memory.value < ALLOWED
    await wire.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_that_the_upstream_stops_reading_stays_with_its_client(house: House, chunked: bool) -> None:
    """B-51."""
    house.upstream.read_bodies = False
    go_on = asyncio.Event()
    got = 0

    async def slow(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await go_on.wait()
        while got < len(PIECE) * PIECES:
            if chunked:
                size = int(await reader.readuntil(b"\r\n"), 16)
                await reader.readexactly(size + 2)
            else:
                size = len(await reader.read(65536))
            got += size
        if chunked:
            assert await reader.readexactly(5) == b"0\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = slow
    cookie = await house.session()
    wire = await dial(house)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(PIECE) * PIECES}"
    sent = 0

    async def send() -> None:
        nonlocal sent
        head = f"POST /large HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{framing}\r\n\r\n"
        wire.writer.write(head.encode())
        for _ in range(PIECES):
            wire.writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            await wire.writer.drain()
            sent += len(PIECE)
        wire.writer.write(b"0\r\n\r\n" if chunked else b"")

    async with highest() as memory, asyncio.timeout(60):
        sending = asyncio.create_task(send())
        await eventually(lambda: sent > 0)
        stuck = -1
        while stuck != sent:
            stuck = sent
            await asyncio.sleep(0.3)
        assert sent < 64 * 1024 * 1024
        go_on.set()
        assert (await wire.response(timeout=60)).body == b"ok"
        await sending
    assert memory.value < ALLOWED
    await wire.close()


async def test_a_websocket_whose_ends_stand_still_in_turn_takes_no_memory(house: House) -> None:
    """B-51, B-53: the echo stops reading when the client does, and the client's writes stop with it."""
    wire = await open_socket(house, await house.session())
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(PIECES // 4):
            wire.writer.write(PIECE)
            await wire.writer.drain()
            sent += len(PIECE)

    async with highest() as memory, asyncio.timeout(60):
        sending = asyncio.create_task(send())
        await eventually(lambda: sent > 0)
        stuck = -1
        while stuck != sent:
            stuck = sent
            await asyncio.sleep(0.3)
        assert sent < PIECES // 4 * len(PIECE)
        got = 0
        while got < PIECES // 4 * len(PIECE):
            got += len(await wire.reader.read(65536))
        await sending
    assert memory.value < ALLOWED
    await wire.close()


@pytest.mark.parametrize(("size", "most"), [(512 * 1024, 60), (20 * 1024, 1500)])
async def test_a_client_that_asks_and_asks_and_never_reads_is_not_served_ahead(
    house: House, size: int, most: int
) -> None:
    """B-51, B-16: every answer fits; all of them together must not be written for somebody who does not take them."""
    answered = asked = 0

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    house.upstream.answer = answer
    one = f"GET /large HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode()
    wire = await dial(house)
    wire.pause_reading()
    async with highest() as memory:
        while asked - answered < 100 and asked < 2 * most:
            wire.writer.write(one)
            asked += 1
            await asyncio.sleep(0.002)
        assert answered < most
    assert memory.value < ALLOWED
    wire.resume_reading()
    for _ in range(asked):
        assert len((await wire.response()).body) == size
    await wire.close()


async def test_a_body_that_would_unpack_to_much_is_passed_on_packed(house: House) -> None:
    """B-03: a quarter of a gigabyte in two hundred kilobytes, as a request and as an answer. Nothing here unpacks it."""
    bomb = gzip.compress(bytes(16 * 1024 * 1024), 9, mtime=0) * 16
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb)

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + bomb)

    house.upstream.answer = answer
    cookie = await house.session()
    async with highest() as memory:
        response = await house.ask(
            "/bomb", method="POST", cookie=cookie, fields="Content-Encoding: gzip\r\n", body=bomb
        )
    assert response.body == bomb
    assert response.value("content-encoding") == "gzip"
    assert house.upstream.requests[0].body == bomb
    assert house.upstream.requests[0].values("content-encoding") == [b"gzip"]
    assert memory.value < ALLOWED


async def test_a_connection_that_waits_keeps_no_request_and_no_body(open_house: OpenHouse) -> None:
    """D-08: a client may leave its connection open for a minute after each response."""
    delete = {"match": ["DELETE /things/**"], "require": {"groups": ["staff"]}}
    house = await open_house(apps={"portal": {"rules": [delete]}})

    def there() -> int:
        gc.collect()
        return sum(type(one) is Request for one in gc.get_objects())

    cookie = await house.session()
    form = b"name=" + b"x" * 1000  # is read here: it might ask for another method
    fields = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    wire = await dial(house)
    before = there()
    for status, line, more, body in (
        (200, "GET /things", "", b""),
        (200, "POST /things/1", fields, form),
        (403, "DELETE /things/1", "", b""),
    ):
        head = f"{line} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{more}\r\n"
        await wire.send(head.encode() + body)
        assert (await wire.response()).status == status
        assert there() == before
    await wire.close()


async def test_connections_that_are_gone_leave_nothing_in_memory(house: House) -> None:
    """D-08: a connection and its visit refer to each other, and nothing else may wake the collector."""

    def there() -> int:
        return sum(type(one) is Downstream for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        for _ in range(12):
            answers = await asyncio.gather(*(house.ask("/") for _ in range(100)))
            assert {answer.status for answer in answers} == {401}
        await eventually(lambda: there() < 300)
    finally:
        gc.enable()
