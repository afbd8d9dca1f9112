"""WebSockets: a server that echoes, and clients that wait for each echo before they send again.

    python -m tests.bench.sockets echo PORT
    python -m tests.bench.sockets load PORT SECONDS CONNECTIONS

Every message is one text frame of 64 bytes; its mask is four zero bytes, which is allowed and costs neither side anything (RFC 6455
section 5.3). The load's Cookie field comes on standard input; it prints one line of JSON, times in milliseconds.
"""

import asyncio
import base64
import hashlib
import json
import sys
import time
from functools import partial
from typing import Final, cast

import uvloop

from tests.bench.parties import HOST

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT: Final = b"x" * 64
_SENT: Final = bytes((0x81, 0x80 | len(_TEXT), 0, 0, 0, 0)) + _TEXT
_ECHO: Final = bytes((0x81, len(_TEXT))) + _TEXT
_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
)
_KEY: Final = base64.b64encode(bytes(16))
_HEAD: Final = (
    f"GET /live HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY.decode()}\r\n"
)


def accept_of(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


class Echo(asyncio.Protocol):
    """One WebSocket of the upstream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have no such base class
        self._rest = b""
        self._open = False

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._shake_hands(head)
        whole = len(data) // len(_SENT)
        self._rest = data[whole * len(_SENT) :]
        if whole:
            self._transport.write(_ECHO * whole)

    def _shake_hands(self, head: bytes) -> None:
        fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
        self._open = True
        accept = accept_of(fields[b"sec-websocket-key"])
        self._transport.write(_ACCEPTED + accept + b"\r\n\r\n")


class Talker(asyncio.Protocol):
    """One client. It counts while `counting` is set, and stops the rest of the time."""

    counting = False

    def __init__(self, head: bytes, opened: asyncio.Future[None]) -> None:
        self._head = head
        self._opened = opened
        self._rest = b""
        self._since = 0.0
        self.times: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports have no such base class
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        if not self._opened.done():
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if found:
                if not head.startswith(b"HTTP/1.1 101"):
                    self._opened.set_exception(ConnectionError(f"no WebSocket: {head[:200]!r}"))
                    return
                self._rest = rest
                self._opened.set_result(None)
        elif len(self._rest) >= len(_ECHO):
            self._rest = self._rest[len(_ECHO) :]
            self.times.append(time.perf_counter() - self._since)
            if Talker.counting:
                self.talk()

    def talk(self) -> None:
        self._since = time.perf_counter()
        self._transport.write(_SENT)


async def echo(port: int) -> None:
    """For ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


async def load(port: int, seconds: float, connections: int, cookie: str) -> None:
    loop = asyncio.get_running_loop()
    head = (_HEAD + (f"Cookie: {cookie}\r\n" if cookie else "") + "\r\n").encode()
    talkers = []
    for _ in range(connections):
        opened: asyncio.Future[None] = loop.create_future()
        _, talker = await loop.create_connection(partial(Talker, head, opened), "127.0.0.1", port)
        await asyncio.wait_for(opened, 10)
        talkers.append(talker)
    Talker.counting = True
    began = time.perf_counter()
    for talker in talkers:
        talker.talk()
    await asyncio.sleep(seconds)
    Talker.counting = False
    took = time.perf_counter() - began
    times = sorted(one for talker in talkers for one in talker.times)
    told = {f"p{share}": times[min(len(times) - 1, len(times) * share // 100)] * 1e3 for share in (50, 99)}
    print(json.dumps({"count": len(times), "seconds": took, **told}))


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        uvloop.run(echo(int(sys.argv[2])))
    else:
        uvloop.run(load(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.stdin.read().strip()))
