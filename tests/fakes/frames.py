"""WebSocket frames as a client sends and reads them (RFC 6455 section 5.2), whatever is wrong with them."""

import asyncio
from dataclasses import dataclass

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """`kind`: the opcode; 0 continues the message before."""

    kind: int
    data: bytes
    last: bool = True
    reserved: int = 0


def masked(frame: Frame) -> bytes:
    """As a client sends it. The mask is four zero bytes, which is allowed and leaves the data as they are."""
    first = frame.kind | frame.reserved << 4 | (0x80 if frame.last else 0)
    size = len(frame.data)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes((first,)) + length + bytes(4) + frame.data


def closing(code: int | None, reason: str = "") -> Frame:
    """None: a close frame without a code, which the other side hears as 1005."""
    return Frame(kind=CLOSE, data=b"" if code is None else code.to_bytes(2) + reason.encode())


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame of a server. Raises IncompleteReadError where the connection ends instead."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    return Frame(kind=first & 15, data=await reader.readexactly(size), last=bool(first & 0x80), reserved=first >> 4 & 7)
