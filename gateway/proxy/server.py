"""Listening, sweeping and draining: the sockets of a worker's data plane, and its clock."""

import asyncio
import socket
import ssl
from typing import Final

from gateway.observability.background import repeat
from gateway.proxy.context import ProxyContext
from gateway.proxy.downstream import Downstream
from gateway.proxy.listener import PreambleListener

_SWEEP_SECONDS: Final = 0.5
_BACKLOG: Final = 4096


class Server:
    """Serves on sockets that are bound already."""

    def __init__(self, context: ProxyContext) -> None:
        self._context = context
        self._servers: dict[socket.socket, asyncio.Server | PreambleListener] = {}
        self._preambles: set[asyncio.Task[None]] = set()  # of connections that are counted, and not served yet
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None, *, announced: bool = False) -> None:
        """Serve the connections of one socket; `announced`: each begins with a PROXY header."""
        loop = asyncio.get_running_loop()
        if tls is not None or announced:
            listener = PreambleListener(self._context, sock, tls, self._preambles, announced=announced)
            listener.open(_BACKLOG)
            self._servers[sock] = listener
        elif sock.family == socket.AF_UNIX:
            self._servers[sock] = await loop.create_unix_server(self._accept, sock=sock, backlog=_BACKLOG)
        else:
            self._servers[sock] = await loop.create_server(self._accept, sock=sock, backlog=_BACKLOG)
        if self._sweeper is None:
            self._sweeper = loop.create_task(repeat("sweep", self._sweep, _SWEEP_SECONDS))

    def ignore(self, sock: socket.socket) -> None:
        """Accept from this socket no more, and close it. Its connections stay."""
        self._servers.pop(sock).close()

    async def drain(self, seconds: float) -> None:
        """Accept no more; `Connection: close` of the next response ends each connection; the rest are cut when `seconds` are over.

        An idle connection is not closed at once: its client may have sent a request already, which would be lost.
        """
        context = self._context
        context.draining = True
        for server in self._servers.values():
            server.close()
        await asyncio.sleep(0)  # connections that were accepted in this turn of the loop become protocols
        end = context.clock() + seconds
        while (context.connections or self._preambles) and context.clock() < end:  # noqa: ASYNC110 - they end in many places
            await asyncio.sleep(0.05)
        for task in list(self._preambles):
            task.cancel()
        for connection in list(context.connections):
            connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pool in context.pools.values():
            pool.close()
        context.flush()

    def _accept(self) -> Downstream:
        return Downstream(self._context)

    async def _sweep(self) -> None:
        self._context.sweep()
