"""Long connections: WebSocket messages in their millions, event streams (B-52, B-53)."""

import asyncio
import time
from typing import Final

from tests.bench.sockets import accept_of
from tests.fakes.frames import BINARY, PING, Frame, masked
from tests.soak.place import Place, SoakFailed, Streams, status_of, wait_closed
from tests.soak.told import Told

MB: Final = 1_000_000
_ALLOWED: Final = 20 * MB
_KEY: Final = "MDEyMzQ1Njc4OWFiY2RlZg=="
_HANDSHAKE: Final = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}",
)  # fmt: skip


async def _echo(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    accept = accept_of(_KEY.encode()).decode()
    answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
    writer.write(f"{answer}\r\n\r\n".encode())
    while data := await reader.read(1 << 18):
        writer.write(data)
        await writer.drain()


async def _opened(place: Place) -> Streams:
    place.upstream.answer = _echo
    reader, writer = await place.asked("GET /socket", *_HANDSHAKE)
    status, _ = await status_of(reader)
    if status != 101:
        raise SoakFailed(f"the handshake is answered with {status}")
    return reader, writer


async def messages(place: Place, what: str, frames: list[bytes], times: int) -> Told:
    """`frames`, so often, through a byte echo: all of it comes back as it was."""
    reader, writer = await _opened(place)
    data = b"".join(frames)
    before, used, began = place.forget_peak(), place.cpu(), time.monotonic()

    async def send() -> None:
        for _ in range(times):
            for at in range(0, len(data), 1 << 18):
                writer.write(data[at : at + (1 << 18)])
                await writer.drain()

    sending = asyncio.create_task(send())
    same = True
    for _ in range(times):
        same &= await _read(reader, len(data)) == data
    await sending
    more, took = place.peak() - before, time.monotonic() - began
    wait_closed(writer)
    return Told(
        case=f"WebSocket: {what}",
        reached=same and more < _ALLOWED,
        found=f"{'all came back' if same else 'SOMETHING ELSE CAME BACK'} in {took:.1f} s, {place.cpu() - used:.2f} s of CPU, "
        f"{more / MB:.1f} MB more at most (allowed: 20)",
    )


async def _read(reader: asyncio.StreamReader, size: int) -> bytes:
    parts = []
    while size:
        parts.append(await reader.read(min(size, 1 << 18)))
        if not parts[-1]:
            raise SoakFailed(f"{size} bytes do not come back")
        size -= len(parts[-1])
    return b"".join(parts)


async def sockets(place: Place) -> list[Told]:
    """The sizes of B-53."""
    small = [masked(Frame(kind=BINARY, data=b"%05d" % number)) for number in range(10_000)]
    fragment = masked(Frame(kind=0, data=b"x", last=False))
    fragments = [
        masked(Frame(kind=BINARY, data=b"x", last=False)),
        fragment * 99_998,
        masked(Frame(kind=0, data=b"end")),
    ]
    bogus = masked(Frame(kind=BINARY, data=b"hello", reserved=4))
    return [
        await messages(place, "1,000,000 small frames", small, 100),
        await messages(place, "a frame of 16 MiB", [masked(Frame(kind=BINARY, data=bytes(16 << 20)))], 1),
        await messages(place, "one message in 100,000 fragments", fragments, 1),
        await messages(place, "1,000,000 pings", [masked(Frame(kind=PING, data=b"?")) * 10_000], 100),
        await messages(place, "100,000 frames with a reserved bit that nobody agreed on", [bogus * 1000], 100),
        await dribbled(place),
    ]


async def dribbled(place: Place) -> Told:
    """Ten thousand bytes of frames, each in a packet of its own."""
    reader, writer = await _opened(place)
    data = masked(Frame(kind=BINARY, data=b"hello")) * 1000
    before, used, began = place.forget_peak(), place.cpu(), time.monotonic()
    for at in range(len(data)):
        writer.write(data[at : at + 1])
        await asyncio.sleep(0)
    same = await _read(reader, len(data)) == data
    more = place.peak() - before
    wait_closed(writer)
    return Told(
        case=f"WebSocket: {len(data)} bytes of frames, byte by byte",
        reached=same and more < _ALLOWED,
        found=f"{'all came back' if same else 'SOMETHING ELSE CAME BACK'} in {time.monotonic() - began:.1f} s, {place.cpu() - used:.2f} s of CPU, "
        f"{more / MB:.1f} MB more at most (allowed: 20)",
    )


async def events(place: Place, seconds: float) -> Told:
    """An event a second: how late each is, and how soon the upstream hears that the client has gone."""
    gone = asyncio.Event()

    async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        listening = asyncio.create_task(reader.read(1))
        while not listening.done():
            writer.write(b"data: %.6f\n\n" % time.monotonic())
            await writer.drain()
            await asyncio.wait([listening], timeout=1)
        gone.set()

    place.upstream.answer = answer
    began = time.monotonic()
    reader, writer = await place.asked("GET /events")
    await status_of(reader)
    late = []
    while time.monotonic() < began + seconds:
        line = await _event(reader)
        late.append(time.monotonic() - float(line))
    left = time.monotonic()
    writer.close()
    await asyncio.wait_for(gone.wait(), 10)
    heard = time.monotonic() - left
    return Told(
        case=f"an event each second for {seconds:g} s, then the client leaves",
        reached=max(late) < 0.05 and heard < 2,
        found=f"{len(late)} events, the latest after {max(late) * 1e3:.1f} ms (allowed: 50); the upstream heard of the leaving after "
        f"{heard * 1e3:.1f} ms (allowed: 2000)",
    )


async def _event(reader: asyncio.StreamReader) -> bytes:
    """The time in the next event, out of its chunk."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    data = await reader.readexactly(size + 2)
    return data.removeprefix(b"data: ").split(b"\n", 1)[0]


async def silence(place: Place, seconds: float) -> Told:
    """An event stream that says nothing for so long is not ended."""

    async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(seconds)
        writer.write(b"data: 1.0\n\n")
        await writer.drain()
        await reader.read(1)

    place.upstream.answer = answer
    reader, writer = await place.asked("GET /events")
    await status_of(reader)
    came = await _event(reader) == b"1.0"
    writer.close()
    return Told(case=f"an event stream that is silent for {seconds:g} s", reached=came, found="the next event came")
