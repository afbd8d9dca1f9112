"""Listening, and ceasing to: the door's clock and its sockets."""

import asyncio
import socket
import ssl
from typing import Final

from gateway.proxy.context import ProxyContext
from gateway.proxy.downstream import Downstream
from gateway.proxy.listener import PreambleListener

_SWEEP_SECONDS: Final = 0.5
_BACKLOG: Final = 4096


class Server:
    """Serves a door on sockets that are bound already."""

    def __init__(self, door: ProxyContext) -> None:
        self._door = door
        self._servers: list[asyncio.Server | PreambleListener] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None, *, announced: bool = False) -> None:
        """Serve the connections of one socket; `announced`: each begins with a PROXY header."""
        loop = asyncio.get_running_loop()
        if tls is not None or announced:
            entrance = PreambleListener(self._door, sock, tls, announced=announced)
            entrance.open(_BACKLOG)
            self._servers.append(entrance)
        elif sock.family == socket.AF_UNIX:
            self._servers.append(await loop.create_unix_server(self._accept, sock=sock, backlog=_BACKLOG))
        else:
            self._servers.append(await loop.create_server(self._accept, sock=sock, backlog=_BACKLOG))
        if self._sweeper is None:
            self._sweep()

    async def drain(self, seconds: float) -> None:
        """Accept no more, let requests end, close the rest when `seconds` are over."""
        door = self._door
        door.draining = True
        for server in self._servers:
            server.close()
        for connection in list(door.connections):
            if connection.request is None:
                connection.transport.close()
        end = door.clock() + seconds
        while door.connections and door.clock() < end:  # noqa: ASYNC110 - connections end in many places
            await asyncio.sleep(0.05)
        for connection in list(door.connections):
            connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pool in door.pools.values():
            pool.close()
        door.flush()

    def _accept(self) -> Downstream:
        return Downstream(self._door)

    def _sweep(self) -> None:
        self._door.sweep()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)
