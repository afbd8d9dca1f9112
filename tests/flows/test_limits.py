"""What clients may cost: how many they are, how slow they are, how far ahead they ask."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.proxy.downstream import Downstream
from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket

QUICK = {"head_timeout": "600ms", "idle_timeout": "600ms", "minimum_rate": "20KiB", "rate_window": "1s"}


@pytest.fixture
async def wires() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Opens connections from an address of loopback; all are closed afterwards."""
    opened: list[Wire] = []

    async def open_wire(house: House, address: str = "127.0.0.1") -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port, local_addr=(address, 0), limit=65536)
        opened.append(Wire(reader, writer))
        return opened[-1]

    yield open_wire
    for wire in opened:
        wire.writer.transport.abort()


def head(house: House, cookie: str, line: str = "GET /", fields: str = "") -> bytes:
    return f"{line} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{fields}\r\n".encode()


async def flood(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A large answer, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    for _ in range(500):
        writer.write(b"x" * 100_000)
        await writer.drain()


# --- how many ---------------------------------------------------------------------------------------------------------


async def test_one_address_may_have_so_many_connections_and_another_is_served_all_the_same(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]], caplog: pytest.LogCaptureFixture
) -> None:
    """D-20."""
    house = await open_house(limits={"connections_per_address": 3})
    cookie = await house.session()
    crowd = [await wires(house) for _ in range(3)]
    await eventually(lambda: house.worker.context.connection_limit.total == 3)
    with caplog.at_level(logging.WARNING, "doorward.proxy"):
        for _ in range(5):
            too_many = await wires(house)
            assert (await too_many.response()).status == 429
            assert await too_many.ended()
    assert len([line for line in caplog.messages if "connections_per_address" in line]) == 1
    other = await wires(house, "127.0.0.2")
    await other.send(head(house, cookie))
    assert (await other.response()).status == 200
    await crowd[0].close()
    await eventually(lambda: house.worker.context.connection_limit.total == 3)
    again = await wires(house)
    await again.send(head(house, cookie))
    assert (await again.response()).status == 200
    assert house.worker.report().counts.requests["-", 429] == 5


async def test_a_worker_that_is_full_says_so_and_counts_everybody_out_again(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """D-20."""
    house = await open_house(limits={"connections": 4}, trusted_proxies=["127.0.0.0/8"])
    cookie = await house.session()
    crowd = [await wires(house) for _ in range(4)]
    await eventually(lambda: house.worker.context.connection_limit.total == 4)
    too_many = await wires(house)
    assert (await too_many.response()).status == 503
    for wire in crowd:
        await wire.send(head(house, cookie, fields="Connection: close\r\n"))
        assert (await wire.response()).status == 200
        assert await wire.ended()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)
    assert (await house.ask("/oauth2/userinfo", cookie=cookie)).status == 200
    await eventually(lambda: house.worker.context.connection_limit.total == 0)


async def test_a_trusted_proxy_may_have_any_number_of_connections(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    house = await open_house(limits={"connections_per_address": 2}, trusted_proxies=["127.0.0.1/32"])
    cookie = await house.session()
    for wire in [await wires(house) for _ in range(6)]:
        await wire.send(head(house, cookie))
        assert (await wire.response()).status == 200


# --- how slow ---------------------------------------------------------------------------------------------------------


async def test_a_head_that_dribbles_is_answered_408_and_silence_is_closed(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """D-20."""
    house = await open_house(limits=QUICK)
    silent, slow = await wires(house), await wires(house)
    async with asyncio.timeout(60):
        for byte in head(house, "a=b", fields="X: " + "y" * 1000 + "\r\n"):
            slow.writer.write(bytes([byte]))
            if slow.reader.at_eof() or house.lines:
                break
            await asyncio.sleep(0.02)
    assert (await slow.response()).status == 408
    assert await slow.ended()
    assert await silent.ended()


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("begun", [b"\r\n", b"\r"])
async def test_an_empty_line_before_a_request_gives_no_more_time(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]], asked_before: bool, begun: bytes
) -> None:
    """B-67: neither on a new connection nor on one that waits for its next request; it is closed as one that is silent."""
    house = await open_house(limits={"head_timeout": "30s", "idle_timeout": "30s"})
    door, now = house.worker.context, [1000.0]
    door.clock = lambda: now[0]
    wire = await wires(house)
    if asked_before:
        await wire.send(head(house, await house.session()))
        assert (await wire.response()).status == 200
    await eventually(lambda: len(door.connections) == 1)
    (connection,) = door.connections
    assert isinstance(connection, Downstream)
    now[0] += 20
    await wire.send(begun)
    await eventually(lambda: connection._buffer == begun)
    now[0] += 11
    door.sweep()
    assert await wire.ended()


async def test_one_empty_line_before_a_request_is_forgiven_and_a_second_is_not(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """B-67, RFC 9112 section 2.2: however they are cut."""
    house = await open_house()
    cookie = await house.session()
    for pieces in (
        [b"\r\n" + head(house, cookie)],
        [b"\r", b"\n", head(house, cookie)],
        [b"\r\n", head(house, cookie)],
    ):
        wire = await wires(house)
        for _ in range(2):
            for piece in pieces:
                await wire.send(piece)
                await asyncio.sleep(0.01)
            assert (await wire.response()).status == 200
    for pieces in ([b"\r\n\r\n" + head(house, cookie)], [b"\r\n", b"\r\n", head(house, cookie)]):
        wire = await wires(house)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await wire.send(piece)
                await asyncio.sleep(0.01)
        assert (await wire.response()).status == 400
        assert await wire.ended()


async def test_a_connection_without_a_request_is_closed_after_its_idle_time(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    house = await open_house(limits=QUICK)
    wire = await wires(house)
    await wire.send(head(house, await house.session()))
    assert (await wire.response()).status == 200
    began = asyncio.get_running_loop().time()
    assert await wire.ended()
    assert asyncio.get_running_loop().time() - began > 0.5


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_an_upload_that_dribbles_is_answered_408_and_its_upstream_connection_ends(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]], framing: str
) -> None:
    """D-20."""
    house = await open_house(limits=QUICK)
    house.upstream.read_bodies = False

    async def read_all(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    house.upstream.answer = read_all
    wire = await wires(house)
    await wire.send(head(house, await house.session(), "POST /up", framing + "\r\n"))
    async with asyncio.timeout(60):
        while not wire.reader.at_eof() and not any(b'"status":408' in line for line in house.lines):
            wire.writer.write(b"1\r\nx\r\n" if "chunked" in framing else b"x")
            await asyncio.sleep(0.05)
            house.worker.context.flush()
    assert (await wire.response()).status == 408
    assert await wire.ended()
    await eventually(lambda: house.worker.context.pools["portal"].open == 0)


async def test_a_client_that_reads_nothing_is_cut_and_its_upstream_connection_ends(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """D-20, B-51."""
    house = await open_house(limits=QUICK)
    house.upstream.answer = flood
    wire = await wires(house)
    wire.pause_reading()
    await wire.send(head(house, await house.session()))
    await eventually(lambda: house.worker.context.pools["portal"].open == 1)
    await eventually(lambda: house.worker.context.pools["portal"].open == 0 and not house.worker.context.connections)


async def test_a_client_that_reads_slowly_but_steadily_gets_everything(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    house = await open_house(limits={**QUICK, "rate_window": "500ms"}, apps={"portal": {"timeouts": {"idle": "1s"}}})
    house.upstream.answer = flood
    wire = await wires(house)
    await wire.send(head(house, await house.session()))
    await wire.reader.readuntil(b"\r\n\r\n")
    got = 0
    async with asyncio.timeout(30):
        while got < 50_000_000:
            # Three seconds of small sips, and then the rest at once.
            if got < 30_000_000:
                await asyncio.sleep(0.05)
            data = await wire.reader.readexactly(min(500_000, 50_000_000 - got))
            got += len(data)
    assert got == 50_000_000


async def test_nobody_is_called_slow_who_waits_for_100_continue_or_for_an_event(
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """B-17, B-52."""
    house = await open_house(limits={**QUICK, "rate_window": "200ms"})
    house.upstream.read_bodies = False
    go_on = asyncio.Event()

    async def patient(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/events":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            await writer.drain()
        await go_on.wait()
        if request.target == "/events":
            writer.write(b"data: 2\n\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    house.upstream.answer = patient
    cookie = await house.session()
    polite, listener = await wires(house), await wires(house)
    await polite.send(head(house, cookie, "POST /up", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
    await listener.send(head(house, cookie, "GET /events"))
    await listener.reader.readuntil(b"data: 1\n\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(polite.reader.read(1), 1.5)
    go_on.set()
    assert (await polite.response()).status == 100
    await polite.send(b"hello")
    assert (await polite.response()).body == b"hello"
    await listener.reader.readuntil(b"data: 2\n\n")


async def test_a_websocket_that_says_nothing_ends_after_the_apps_idle_time_and_one_that_talks_does_not(
    open_house: OpenHouse,
) -> None:
    """B-53."""
    house = await open_house(apps={"portal": {"timeouts": {"idle": "800ms"}}}, limits=QUICK)
    cookie = await house.session()
    silent, talking = await open_socket(house, cookie), await open_socket(house, cookie)
    ended = asyncio.create_task(silent.ended())
    for _ in range(20):
        await talking.send(b"\x89\x00")
        assert await talking.reader.readexactly(2) == b"\x89\x00"
        await asyncio.sleep(0.1)
    assert ended.done()
    assert await ended
    await talking.close()


async def test_two_hundred_slow_clients_harm_nobody_and_all_end(  # noqa: C901 - one list of what is looked for
    open_house: OpenHouse, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """D-20: slow heads, slow bodies, slow readers and silence, fifty of each, and normal users between them."""
    house = await open_house(limits={**QUICK, "head_timeout": "2s", "idle_timeout": "2s", "minimum_rate": "4KiB"})

    async def both(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (flood if request.target == "/large" else answer_ok)(request, reader, writer)

    house.upstream.answer = both
    cookie, slow_cookie = await house.session(), await house.session()
    slow = [await wires(house) for _ in range(200)]
    for number, wire in enumerate(slow):
        if number % 4 == 1:
            await wire.send(head(house, slow_cookie)[:-3])
        elif number % 4 == 2:
            await wire.send(head(house, slow_cookie, "POST /up", "Content-Length: 100000\r\n") + b"x")
        elif number % 4 == 3:
            wire.pause_reading()
            await wire.send(head(house, slow_cookie, "GET /large"))
    done = asyncio.Event()

    async def dribble() -> None:
        while not done.is_set():
            for number, wire in enumerate(slow):
                if number % 4 in (1, 2):
                    with contextlib.suppress(OSError, RuntimeError):
                        wire.writer.write(b"y")
            await asyncio.sleep(0.2)

    dribbling = asyncio.create_task(dribble())
    served_beside = 0
    async with asyncio.timeout(30):
        while slow_ones := house.worker.context.connection_limit.total:
            answers = await asyncio.gather(*(house.ask(f"/{number}", cookie=cookie) for number in range(10)))
            assert {answer.status for answer in answers} == {200}
            served_beside += slow_ones >= 150
            await asyncio.sleep(0.05)
    done.set()
    await dribbling
    assert served_beside


# --- how far ahead ----------------------------------------------------------------------------------------------------


async def test_ten_thousand_pipelined_requests_wait_outside_and_are_answered_in_order(
    house: House, wires: Callable[..., Awaitable[Wire]]
) -> None:
    """B-16."""
    release = asyncio.Event()

    async def slow(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer_ok(request, reader, writer)

    house.upstream.answer = slow
    cookie = await house.session()
    wire = await wires(house)
    data = b"".join(head(house, cookie, f"GET /{number}", "X: " + "y" * 400 + "\r\n") for number in range(10_000))
    wire.writer.write(data)
    await eventually(lambda: len(house.upstream.requests) == 1)
    (client,) = house.worker.context.connections
    held: Any = client
    await eventually(lambda: held._paused)
    # What one read may bring (the loop reads 256 KiB at once) beyond the bound, and no more, whoever asked for more meanwhile.
    assert len(held._pending) <= (64 + 256) * 1024
    assert len(house.upstream.requests) == 1
    release.set()
    for number in range(10_000):
        assert (await wire.response()).body == b"you asked for /%d" % number


# --- about the server, and half a client ------------------------------------------------------------------------------


async def test_options_of_the_server_are_answered_here_and_bother_no_application(house: House) -> None:
    """B-31."""
    data = f"OPTIONS * HTTP/1.1\r\nHost: {house.host()}\r\n\r\n".encode()
    wire = await Wire.open(house.port)
    for _ in range(2):
        await wire.send(data)
        response = await wire.response()
        assert response.status == 204
        assert "OPTIONS" in (response.value("allow") or "")
        assert response.value("content-length") is None
    await wire.send(data.replace(b"portal.", b"other."))
    assert (await wire.response()).status == 421
    await wire.close()
    assert house.upstream.requests == []


async def test_a_client_that_ends_its_side_after_its_request_counts_as_gone(house: House) -> None:
    """As with nginx: its upstream connection ends, the log says 499, and nobody else is told its answer."""
    gone = asyncio.Event()

    async def slow(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/half":
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.set()
        else:
            await answer_ok(request, reader, writer)

    house.upstream.answer = slow
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(head(house, cookie, "GET /half"))
    await eventually(lambda: len(house.upstream.requests) == 1)
    wire.writer.write_eof()
    async with asyncio.timeout(60):
        await gone.wait()
    assert await wire.ended()
    house.worker.context.flush()
    assert any(b'"path":"/half","status":499' in line for line in house.lines)
    assert (await house.ask("/next", cookie=cookie)).body == b"you asked for /next"


async def test_a_sweep_that_raises_keeps_no_other_from_running(open_house: OpenHouse) -> None:
    """D-20: what ends slow clients goes on, whatever breaks beside it."""
    house = await open_house(limits={"head_timeout": "500ms"})

    def broken() -> None:
        raise RuntimeError("broken")

    house.worker.context.on_sweep.insert(0, broken)
    swept = asyncio.Event()
    house.worker.context.on_sweep.append(swept.set)
    await asyncio.wait_for(swept.wait(), 60)
    slow = await Wire.open(house.port)
    await slow.send(b"GET / HTTP/1.1\r\n")
    answer = await slow.response()
    assert answer.status == 408
