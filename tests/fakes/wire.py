"""A client that sends the bytes it is told to, and reads answers one by one."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import cast


@dataclass
class WireResponse:
    status: int
    head: bytes
    body: bytes
    complete: bool

    def values(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [value.strip().decode("latin-1") for found, _, value in lines if found.lower() == wanted]

    def value(self, name: str) -> str | None:
        found = self.values(name)
        return found[0] if found else None


class Wire:
    """One raw connection to a server on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> "Wire":
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * 1024 * 1024)
        return cls(reader, writer)

    def pause_reading(self) -> None:
        """Take nothing more from the server: what it sends stays in the sockets' buffers."""
        self._transport().pause_reading()

    def resume_reading(self) -> None:
        self._transport().resume_reading()

    def _transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self.writer.transport)  # uvloop's is none by inheritance

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, head_only: bool = False, timeout: float = 60.0) -> WireResponse:
        """The next response; interim ones are answers too. Raises EOFError when the connection ended before one began."""
        async with asyncio.timeout(timeout):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise EOFError(error.partial) from error
            response = WireResponse(int(head.split(b" ", 2)[1]), head[:-2], b"", True)
            if head_only or response.status < 200 or response.status in (204, 304):
                return response
            await self._body(response)
            return response

    async def _body(self, response: WireResponse) -> None:
        length = response.value("content-length")
        try:
            if length is not None:
                response.body = await self.reader.readexactly(int(length))
            elif response.value("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    response.body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            else:
                response.body = await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            response.body += getattr(error, "partial", b"")
            response.complete = False

    async def ended(self, timeout: float = 60.0) -> bool:
        """Whether the server ends the connection, having sent nothing more."""
        async with asyncio.timeout(timeout):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def exchange(port: int, data: bytes, *, head_only: bool = False) -> WireResponse:
    """Send one request on a connection of its own, return the answer."""
    wire = await Wire.open(port)
    try:
        await wire.send(data)
        return await wire.response(head_only=head_only)
    finally:
        await wire.close()


async def unix_exchange(path: str, data: bytes) -> WireResponse:
    """The same, to a unix socket."""
    wire = Wire(*await asyncio.open_unix_connection(path, limit=4 * 1024 * 1024))
    try:
        await wire.send(data)
        return await wire.response()
    finally:
        await wire.close()
