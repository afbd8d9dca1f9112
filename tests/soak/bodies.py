"""Bodies of gigabytes: both ways, both framings, compressed to nothing, and of strangers (B-03, B-19, B-51)."""

import asyncio
import contextlib
import gzip
import time
from typing import Final

from tests.soak.place import Place, SoakFailed, status_of, wait_closed
from tests.soak.told import Told

GIB: Final = 1 << 30
MB: Final = 1_000_000
_PIECE: Final = bytes(range(256)) * 1024
_CHUNK: Final = b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
_LAST: Final = b"0\r\n\r\n"
_ALLOWED: Final = 20 * MB
_STALL_SECONDS: Final = 2.0


async def _pour(writer: asyncio.StreamWriter, count: int, *, chunked: bool) -> None:
    piece = _CHUNK if chunked else _PIECE
    for _ in range(count):
        writer.write(piece)
        await writer.drain()
    if chunked:
        writer.write(_LAST)


async def _swallow(reader: asyncio.StreamReader, missing: int) -> None:
    while missing > 0:
        data = await reader.read(1 << 18)
        if not data:
            raise SoakFailed(f"{missing} bytes are missing")
        missing -= len(data)


def _framing(count: int, *, chunked: bool) -> tuple[str, int]:
    """The field, and the bytes on the wire that its body takes."""
    if chunked:
        return "Transfer-Encoding: chunked", count * len(_CHUNK) + len(_LAST)
    return f"Content-Length: {count * len(_PIECE)}", count * len(_PIECE)


async def download(place: Place, gib: float, *, chunked: bool) -> Told:
    """The client reads nothing for a while, then everything."""
    count = int(gib * GIB) // len(_PIECE)
    field, size = _framing(count, chunked=chunked)

    async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode())
        await _pour(writer, count, chunked=chunked)

    place.upstream.answer = answer
    before, used, began = place.forget_peak(), place.cpu(), time.monotonic()
    reader, writer = await place.asked("GET /large")
    await status_of(reader)
    await asyncio.sleep(_STALL_SECONDS)
    # Chunks are framed anew on the way: their number may differ, their content not. So content is counted.
    await (_swallow_chunks(reader, count * len(_PIECE)) if chunked else _swallow(reader, size))
    return _told("download", place, gib, chunked, before, used, began, writer)


async def upload(place: Place, gib: float, *, chunked: bool) -> Told:
    """The upstream reads nothing for a while, then everything."""
    count = int(gib * GIB) // len(_PIECE)
    field, size = _framing(count, chunked=chunked)

    async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(_STALL_SECONDS)
        await (_swallow_chunks(reader, count * len(_PIECE)) if chunked else _swallow(reader, size))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    place.upstream.answer = answer
    before, used, began = place.forget_peak(), place.cpu(), time.monotonic()
    reader, writer = await place.asked("POST /large", field)
    await _pour(writer, count, chunked=chunked)
    status, _ = await status_of(reader)
    if status != 204:
        raise SoakFailed(f"the upload is answered with {status}")
    return _told("upload", place, gib, chunked, before, used, began, writer)


async def _swallow_chunks(reader: asyncio.StreamReader, content: int) -> None:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        content -= size
        await _swallow_exactly(reader, size + 2)
    await reader.readexactly(2)
    if content:
        raise SoakFailed(f"{content} bytes are missing, or too many")


async def _swallow_exactly(reader: asyncio.StreamReader, size: int) -> None:
    while size > 0:
        size -= len(await reader.readexactly(min(size, 1 << 17)))


def _told(
    what: str, place: Place, gib: float, chunked: bool, before: int, used: float, began: float, writer: asyncio.StreamWriter
) -> Told:  # fmt: skip
    took = time.monotonic() - began - _STALL_SECONDS
    more = place.peak() - before
    writer.close()
    cost = (place.cpu() - used) / gib
    return Told(
        case=f"{what} of {gib:g} GiB, {'chunked' if chunked else 'with its length'}, after standing still",
        reached=more < _ALLOWED,
        found=f"{more / MB:.1f} MB more at most (allowed: 20), {gib / took:.2f} GiB/s, {cost:.2f} s of CPU for each GiB",
    )


async def bombs(place: Place, gib: float) -> list[Told]:
    """A body that unpacks to `gib`: as a request and as an answer. It must not be unpacked here."""
    members = int(gib * 16)
    bomb = gzip.compress(bytes(GIB // 16), 9, mtime=0) * members
    field = f"Content-Length: {len(bomb)}\r\nContent-Encoding: gzip"
    got = b""

    async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        if head.startswith(b"POST"):
            got = await reader.readexactly(len(bomb))
            if b"\r\nContent-Encoding: gzip\r\n" not in head:
                raise SoakFailed("the Content-Encoding is gone")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            writer.write(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode() + bomb)

    place.upstream.answer = answer
    told = []
    for line, what in (("POST /bomb", "a request"), ("GET /bomb", "an answer")):
        before = place.forget_peak()
        reader, writer = await place.asked(line, *([field] if line.startswith("POST") else []))
        if line.startswith("POST"):
            writer.write(bomb)
        status, _ = await status_of(reader)
        if status == 200:
            got = await reader.readexactly(len(bomb))
        more, same = place.peak() - before, got == bomb
        told.append(
            Told(
                case=f"{what} of {len(bomb) / MB:.1f} MB that unpacks to {gib:g} GiB",
                reached=same and more < _ALLOWED,
                found=f"{more / MB:.1f} MB more at most (allowed: 20), {'the same bytes' if same else 'OTHER BYTES'}",
            )
        )
        got = b""
        wait_closed(writer)
    return told


async def stranger(place: Place, gib: float) -> Told:
    """Somebody without a session posts a gigabyte, and goes on sending whatever is said."""
    size = int(gib * GIB)
    before, used, requests = place.forget_peak(), place.cpu(), place.upstream.requests
    reader, writer = await place.asked("POST /up", f"Content-Length: {size}", signed_in=False)
    began = time.monotonic()
    sent = 0
    status, answered = 0, 0.0

    async def listen() -> None:
        nonlocal status, answered
        status, _ = await status_of(reader)
        answered = time.monotonic() - began

    listening = asyncio.create_task(listen())
    with contextlib.suppress(ConnectionError):
        while sent < size:
            writer.write(_PIECE)
            await writer.drain()
            sent += len(_PIECE)
            await asyncio.sleep(0)
    took = time.monotonic() - began
    await asyncio.wait([listening], timeout=5)
    more = place.peak() - before
    wait_closed(writer)
    return Told(
        case=f"a POST of {gib:g} GiB by a stranger",
        reached=status == 401 and more < _ALLOWED and took < 10 and place.upstream.requests == requests,
        found=f"{status} after {answered * 1e3:.1f} ms; it got rid of {sent / MB:.0f} MB in {took:.1f} s, {more / MB:.1f} MB more at most (allowed: 20), "
        f"{place.cpu() - used:.2f} s of CPU",
    )
