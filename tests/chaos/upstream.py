"""The application behind the gateway: it answers with the person that the gateway named to it, and with the number of the request.

`/live` is a WebSocket that says the person first and then echoes; `/events` an event stream that says the person again and again.
"""

import asyncio
import re
from typing import Final, cast

from tests.bench.sockets import accept_of

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.I)
_USER: Final = re.compile(rb"\r\nx-forwarded-user: *([^\r]*)", re.I)
_KEY: Final = re.compile(rb"\r\nsec-websocket-key: *([^\r]*)", re.I)
_NUMBER: Final = re.compile(rb"[?&]number=([A-Za-z0-9-]*)")
_REPEATS: Final = 40
EVENT_SECONDS: Final = 1.0


class Application:
    """`requests`: how many arrived. `sockets` and `streams`: how many are open."""

    def __init__(self) -> None:
        self.requests = 0
        self.sockets = 0
        self.streams = 0
        self.slow = 0.0
        self.port = 0

    async def start(self) -> "Application":
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, application: Application) -> None:
        self._application = application
        self._buffer = b""
        self._kind = ""
        self._ticking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if self._kind == "socket":
            self._application.sockets -= 1
        elif self._kind == "stream":
            self._application.streams -= 1

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._kind == "socket":
            self._echo(data)
            return
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        self._application.requests += 1
        user, number = _USER.search(head), _NUMBER.search(head.partition(b"\r\n")[0])
        name = user[1] if user else b"nobody"
        target = head.split(b" ", 2)[1]
        if target.startswith(b"/live"):
            key = _KEY.search(head)
            self._open("socket")
            accept = accept_of(key[1]) if key else b""
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
                + accept + b"\r\n\r\n" + bytes((0x81, len(name))) + name
            )  # fmt: skip
        elif target.startswith(b"/events"):
            self._open("stream")
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            self._tick(name)
        else:
            found = number[1] if number else b""
            body = (name + b" " + found + b"\n") * _REPEATS
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Seen-User: %b\r\nX-Seen-Number: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (name, found, len(body), body)
            )

    def _open(self, kind: str) -> None:
        self._kind = kind
        if kind == "socket":
            self._application.sockets += 1
        else:
            self._application.streams += 1

    def _tick(self, name: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"data: " + name + b"\n\n")
            self._ticking = asyncio.get_running_loop().call_later(EVENT_SECONDS, self._tick, name)

    def _echo(self, data: bytes) -> None:
        """Frames come as they are sent here: short, masked with zeros; a close is answered with a close."""
        if data[0] == 0x88:
            self._transport.write(b"\x88\x00")
            self._transport.close()
            return
        size = data[1] & 0x7F
        self._transport.write(bytes((data[0], size)) + data[6 : 6 + size])
