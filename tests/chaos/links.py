"""A TCP link in user space between two parties, which can be told to misbehave and counts what it did.

delay       each piece waits for so many seconds, in both directions; order is kept
stall       nothing moves; what was sent arrives when the stall ends
reset       all connections are reset, and so is every new one
truncate    each answer ends after so many bytes, in the middle of whatever it was
forget      what goes through connections of before is swallowed, new ones work: a firewall that lost its table
blackhole   what is sent is swallowed, new connections open and stay silent; a connection that lost bytes never works again
"""

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, cast

Mode = Literal["", "delay", "stall", "reset", "truncate", "forget", "blackhole"]
_RESET: Final = struct.pack("ii", 1, 0)
_HIGH: Final = 256 * 1024


class Link:
    """`dial(factory)` connects to the far side. `counts`: how often each misbehaviour took effect, and `connections`."""

    def __init__(self, name: str, host: str, port: int) -> None:
        async def dial(factory: Callable[[], asyncio.Protocol]) -> None:
            await asyncio.get_running_loop().create_connection(factory, host, port)

        self._set_up(name, dial)

    @classmethod
    def to_socket(cls, name: str, path: str) -> "Link":
        """To a unix socket."""

        async def dial(factory: Callable[[], asyncio.Protocol]) -> None:
            await asyncio.get_running_loop().create_unix_connection(factory, path)

        link = cls.__new__(cls)
        link._set_up(name, dial)
        return link

    def _set_up(self, name: str, dial: Callable[[Callable[[], asyncio.Protocol]], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self.dial = dial
        self.mode: Mode = ""
        self.amount = 0.0
        self.counts: Counter[str] = Counter()
        self.pairs: set[_Pair] = set()
        self.dialling: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> "Link":
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Pair(self).near, "127.0.0.1", 0, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        self._server.close()
        for pair in list(self.pairs):
            pair.abort()
        await asyncio.gather(*self.dialling, return_exceptions=True)

    def bury(self) -> None:
        """End what an earlier fault left dead: it would swallow bytes for another reason than the next one's."""
        for pair in [pair for pair in self.pairs if pair.dead]:
            pair.reset()

    def misbehave(self, mode: Mode, amount: float = 0.0) -> None:
        """From now on. `amount`: seconds of a delay, bytes until a truncation."""
        self.mode, self.amount = mode, amount
        for pair in list(self.pairs):
            pair.mode_changed()

    def behave(self) -> None:
        self.misbehave("")

    def told(self) -> str:
        """The counters, for people."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())) or "nothing happened"


class _Pair:
    """One connection through the link: its near end and its far one."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.dead = False
        self.left = -1
        self.near = _End(self)
        self.far = _End(self)
        self.near.other, self.far.other = self.far, self.near

    def begun(self) -> None:
        link = self.link
        link.pairs.add(self)
        link.counts["connections"] += 1
        self.mode_changed(new=True)
        if link.mode != "reset":
            task = asyncio.get_running_loop().create_task(self._dial())
            link.dialling.add(task)
            task.add_done_callback(link.dialling.discard)

    def mode_changed(self, *, new: bool = False) -> None:
        link = self.link
        if link.mode == "reset":
            link.counts["reset"] += 1
            self.reset()
        elif link.mode == "truncate":
            self.left = int(link.amount)
        elif link.mode == "blackhole":
            if new:
                self.swallow()
        elif link.mode == "forget":
            if not new:
                self.swallow()
        else:
            self.left = -1
            self.near.release()
            self.far.release()

    def swallow(self) -> None:
        if not self.dead:
            self.dead = True
            self.link.counts["swallowed connections"] += 1

    async def _dial(self) -> None:
        try:
            await self.link.dial(lambda: self.far)
        except OSError:
            self.reset()

    def piece(self, end: "_End", data: bytes) -> None:
        """`data` arrived at `end`; it goes to the other one, or not."""
        link, counts = self.link, self.link.counts
        if self.dead or link.mode == "blackhole":
            self.swallow()
            counts["swallowed bytes"] += len(data)
            return
        if link.mode == "truncate" and end is self.far:
            self._cut_short(data)
        elif link.mode == "delay":
            counts["delayed pieces"] += 1
            end.other.later(data, link.amount)
        elif link.mode == "stall":
            counts["stalled pieces"] += 1
            end.other.hold(data)
        else:
            end.other.send(data)

    def _cut_short(self, data: bytes) -> None:
        if self.left < 0:
            self.left = int(self.link.amount)
        if len(data) <= self.left:
            self.left -= len(data)
            self.near.send(data)
            return
        self.link.counts["truncated"] += 1
        self.near.send(data[: self.left])
        self.near.finish()
        self.far.finish()
        self.dead = True

    def ended(self, end: "_End") -> None:
        self.link.pairs.discard(self)
        if not self.dead:
            end.other.finish()
        elif end is self.near and self.far.transport is not None:
            self.far.transport.abort()

    def reset(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None and not end.transport.is_closing():
                sock = cast(socket.socket, end.transport.get_extra_info("socket"))
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()

    def abort(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()


class _End(asyncio.Protocol):
    other: "_End"

    def __init__(self, pair: _Pair) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self._waiting: deque[bytes] = deque()
        self._due: deque[bytes] = deque()
        self._holding = False
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH)
        if self is self.pair.near:
            self.pair.begun()
        elif self.pair.near.transport is None or self.pair.near.transport.is_closing():
            self.transport.close()
        elif not self._holding:
            self.release()

    def data_received(self, data: bytes) -> None:
        self.pair.piece(self, data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.pair.ended(self)

    def pause_writing(self) -> None:
        transport = self.other.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def resume_writing(self) -> None:
        transport = self.other.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def send(self, data: bytes) -> None:
        if self.transport is None or self._waiting or self._due:
            self._waiting.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def later(self, data: bytes, seconds: float) -> None:
        if self._waiting:
            self._waiting.append(data)
            return
        self._due.append(data)
        asyncio.get_running_loop().call_later(seconds, self._arrive)

    def _arrive(self) -> None:
        if not self._due:
            return
        data = self._due.popleft()
        if self.transport is None:
            self._waiting.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)
        if not self._due:
            self._rest()

    def hold(self, data: bytes) -> None:
        self._holding = True
        self._waiting.append(data)

    def release(self) -> None:
        """What was held goes on its way."""
        self._holding = False
        if self.transport is not None and not self._due:
            self._rest()

    def _rest(self) -> None:
        assert self.transport is not None
        if self._holding:
            return
        while self._waiting:
            data = self._waiting.popleft()
            if not self.transport.is_closing():
                self.transport.write(data)
        if self._finished:
            self.transport.close()

    def finish(self) -> None:
        self._finished = True
        if self.transport is not None and not self._waiting and not self._due:
            self.transport.close()
