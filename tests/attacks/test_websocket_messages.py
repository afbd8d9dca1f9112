"""Messages of WebSockets: whatever frames a client makes, its application judges them, and the gateway between neither alters nor collects them.

The application is aiohttp's WebSocket server, which is strict. What the gateway does is shown by what arrives, and by what it holds meanwhile.
"""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from aiohttp import WSMsgType, web
from multidict import CIMultiDictProxy

from tests.fakes.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame, closing, masked, read_frame
from tests.fakes.house import House, free_port
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_memory import ALLOWED, dial, highest
from tests.flows.test_websockets import handshake

MIB = 1024 * 1024
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
CODES = [(1000, "bye"), (1001, "going away"), (1011, "x" * 123), (3000, "réservé"), (4999, "the application's own")]


class Application:
    """Echoes messages. `close CODE REASON` and `drop` it obeys; `heard` are the close codes, reasons and errors of its clients."""

    def __init__(self) -> None:
        self.port = free_port()
        self.messages = 0
        self.heard: list[tuple[object, ...]] = []
        self.heads: list[CIMultiDictProxy[str]] = []

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/socket", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.heads.append(request.headers)
        ws = web.WebSocketResponse(max_msg_size=20 * MIB, protocols=("chat.v2", "chat.v1"), timeout=5)
        await ws.prepare(request)
        while not ws.closed:
            message = await ws.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                self.heard.append((message.data, message.extra))
            elif message.type is WSMsgType.ERROR:
                self.heard.append((ws.close_code, str(message.data)))
            else:
                self.messages += 1
                await self._answer(ws, request, message.data)
        return ws

    async def _answer(self, ws: web.WebSocketResponse, request: web.Request, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await ws.send_bytes(data)
        elif data.startswith("close "):
            _, code, reason = data.split(" ", 2)
            await ws.close(code=int(code), message=reason.encode())
        elif data == "drop":
            assert request.transport is not None
            request.transport.abort()
        else:
            await ws.send_str(data)


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    running = Application()
    await running.start()
    yield running
    await running.close()


@pytest.fixture
async def house(open_house: OpenHouse, application: Application) -> House:
    return await open_house(upstreams={"portal": f"http://127.0.0.1:{application.port}"})


async def opened(house: House, extra: str = "") -> tuple[Wire, WireResponse]:
    wire = await dial(house)
    await wire.send(handshake(house, await house.session(), extra=extra))
    answer = await wire.response()
    assert answer.status == 101
    return wire, answer


async def echoed(wire: Wire, data: bytes = b"still there") -> None:
    """The WebSocket works."""
    await wire.send(masked(Frame(kind=BINARY, data=data)))
    async with asyncio.timeout(30):
        assert await read_frame(wire.reader) == Frame(kind=BINARY, data=data)


async def closed(wire: Wire) -> tuple[int, str] | None:
    """The code and reason of the close frame that comes; None: the connection ends without one."""
    async with asyncio.timeout(60):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (frame := await read_frame(wire.reader)).kind != CLOSE:
                pass
            return int.from_bytes(frame.data[:2]), frame.data[2:].decode()
    return None


# --- sizes and shapes ---


async def test_many_small_frames_come_back_each_in_its_place(house: House, application: Application) -> None:
    """B-53."""
    wire, _ = await opened(house)
    count = 20_000
    expected = [b"%d" % number for number in range(count)]

    async def send() -> None:
        for at in range(0, count, 500):
            await wire.send(b"".join(masked(Frame(kind=BINARY, data=data)) for data in expected[at : at + 500]))

    async with highest() as memory, asyncio.timeout(60):
        sending = asyncio.create_task(send())
        assert [(await read_frame(wire.reader)).data for _ in range(count)] == expected
        await sending
    assert application.messages == count
    assert memory.value < ALLOWED
    await wire.close()


async def test_one_frame_of_sixteen_mebibytes_passes_as_it_is(house: House) -> None:
    """B-53."""
    wire, _ = await opened(house)
    data = random.Random(1).randbytes(16 * MIB)
    frame = masked(Frame(kind=BINARY, data=data))

    async def send() -> None:
        for at in range(0, len(frame), 65536):
            await wire.send(frame[at : at + 65536])

    sending = asyncio.create_task(send())
    async with asyncio.timeout(60):
        assert (await read_frame(wire.reader)).data == data
    await sending
    await echoed(wire)
    await wire.close()


async def test_frames_that_dribble_byte_by_byte_are_whole_when_they_arrive(house: House) -> None:
    """B-53."""
    wire, _ = await opened(house)
    for text in (b"one", b"x" * 200):
        for byte in masked(Frame(kind=TEXT, data=text)):
            await wire.send(bytes((byte,)))
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert await read_frame(wire.reader) == Frame(kind=TEXT, data=text)
    await wire.close()


async def test_a_message_in_a_hundred_thousand_fragments_costs_the_gateway_nothing(
    house: House, application: Application
) -> None:
    """B-53."""
    wire, _ = await opened(house)
    count = 100_000
    one = masked(Frame(kind=0, data=b"x", last=False))
    async with highest() as memory, asyncio.timeout(60):
        await wire.send(masked(Frame(kind=BINARY, data=b"x", last=False)))
        for _ in range(0, count - 2, 1000):
            await wire.send(one * 1000)
        await wire.send(masked(Frame(kind=0, data=b"end")))
        message = await read_frame(wire.reader)
    assert len(message.data) == count + 4
    assert application.messages == 1
    assert memory.value < ALLOWED
    await wire.close()


async def test_pings_by_the_ten_thousands_are_the_applications_to_answer(house: House) -> None:
    """B-53."""
    wire, _ = await opened(house)
    count = 50_000

    async def send() -> None:
        for _ in range(0, count, 1000):
            await wire.send(masked(Frame(kind=PING, data=b"?")) * 1000)

    async with highest() as memory, asyncio.timeout(60):
        sending = asyncio.create_task(send())
        for _ in range(count):
            assert await read_frame(wire.reader) == Frame(kind=PONG, data=b"?")
        await sending
    assert memory.value < ALLOWED
    await echoed(wire)
    await wire.close()


# --- what only the ends can judge ---


async def test_a_reserved_bit_without_an_extension_is_refused_by_the_application_and_harms_nobody_else(
    house: House, application: Application
) -> None:
    """B-53: a byte tunnel passes it on; who may not get it closes with 1002, and the client hears that."""
    bystander, _ = await opened(house)
    wire, answer = await opened(house)
    assert answer.values("sec-websocket-extensions") == []
    await wire.send(masked(Frame(kind=TEXT, data=b"hello", reserved=4)))
    told = await closed(wire)
    assert told is not None
    assert told[0] == 1002
    assert await wire.ended()
    assert application.messages == 0
    await echoed(bystander)
    await bystander.close()


async def test_extensions_and_subprotocols_are_agreed_on_end_to_end(house: House, application: Application) -> None:
    """B-53."""
    wire, answer = await opened(house, DEFLATE + "Sec-WebSocket-Protocol: chat.v1, other\r\n")
    assert answer.values("sec-websocket-extensions") == ["permessage-deflate"]
    assert answer.values("sec-websocket-protocol") == ["chat.v1"]
    assert application.heads[0]["Sec-WebSocket-Protocol"] == "chat.v1, other"
    packer = zlib.compressobj(wbits=-15)
    packed = (packer.compress(b"hello " * 100) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    await wire.send(masked(Frame(kind=BINARY, data=packed, reserved=4)))
    async with asyncio.timeout(60):
        back = await read_frame(wire.reader)
    assert back.reserved == 4
    assert zlib.decompressobj(wbits=-15).decompress(back.data + b"\x00\x00\xff\xff") == b"hello " * 100
    await wire.close()


async def test_a_message_that_would_unpack_to_gigabytes_is_never_unpacked_here(house: House) -> None:
    """B-53: the application unpacks it to its own limit and says 1009."""
    wire, _ = await opened(house, DEFLATE)
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(256))
    bomb = (bomb + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    assert len(bomb) < MIB
    async with highest() as memory:
        await wire.send(masked(Frame(kind=BINARY, data=bomb, reserved=4)))
        told = await closed(wire)
    assert told is not None
    assert told[0] == 1009
    assert (
        memory.value < ALLOWED + 2 * 20 * MIB
    )  # the application is in this process, too: what it unpacks and copies to its limit is not ours
    await wire.close()


# --- how it ends ---


@pytest.mark.parametrize(("code", "reason"), CODES)
async def test_a_code_and_its_reason_are_heard_on_the_other_side(
    house: House, application: Application, code: int, reason: str
) -> None:
    """B-53: from the client to the application, and back."""
    wire, _ = await opened(house)
    await wire.send(masked(closing(code, reason)))
    assert await closed(wire) is not None
    await eventually(lambda: application.heard)
    assert application.heard == [(code, reason)]
    assert await wire.ended()
    other, _ = await opened(house)
    await other.send(masked(Frame(kind=TEXT, data=f"close {code} {reason}".encode())))
    assert await closed(other) == (code, reason)
    await other.send(masked(closing(code)))
    assert await other.ended()
    await wire.close()
    await other.close()


async def test_a_close_frame_without_a_code_stays_one(house: House, application: Application) -> None:
    """B-53: 1005 is what both sides call it; it is never sent."""
    wire, _ = await opened(house)
    await wire.send(masked(closing(None)))
    assert await closed(wire) is not None
    await eventually(lambda: application.heard)
    assert application.heard == [(0, "")]
    await wire.close()


async def test_an_end_without_a_close_frame_is_one_on_the_other_side(house: House, application: Application) -> None:
    """B-53: 1006 is what both sides call it; nobody invents a close frame."""
    wire, _ = await opened(house)
    await wire.send(masked(Frame(kind=TEXT, data=b"drop")))
    assert await closed(wire) is None
    await wire.close()
    other, _ = await opened(house)
    await echoed(other)
    other.writer.transport.abort()
    await eventually(lambda: not house.worker.context.connections)
    await eventually(lambda: len(application.heard) >= 1)
    assert all(code in (None, 1000, 1006) for code, *_ in application.heard)


async def test_a_client_that_says_no_more_still_hears_the_answer_to_its_close_frame(house: House) -> None:
    """B-53: half-closed: the end of its side comes right behind the frame."""
    for _ in range(20):
        wire, _ = await opened(house)
        wire.writer.write(masked(closing(4000, "done")))
        wire.writer.write_eof()
        assert await closed(wire) is not None
        assert await wire.ended()
        await wire.close()
    await eventually(lambda: not house.worker.context.connections)
