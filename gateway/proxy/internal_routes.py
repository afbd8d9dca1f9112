"""The pages of our own: aiohttp answers them on the client's connection, and closes it.

The connection stays one of the worker's until it is gone: it counts, it is waited for when the server drains, and a client that does not
take its answer is not waited for without end (docs/threats.md D-20).
"""

import asyncio

from gateway.proxy.context import Connection, ProxyContext


class AiohttpConnection(asyncio.Protocol):
    """Passes everything on to `handler`."""

    __slots__ = ("_context", "_deadline", "_handler", "peer", "request", "transport", "trusted")

    def __init__(self, context: ProxyContext, connection: Connection, handler: asyncio.Protocol) -> None:
        self.transport = connection.transport
        self.peer, self.trusted = connection.peer, connection.trusted
        self.request, connection.request = connection.request, None
        self._context = context
        self._handler = handler
        self._deadline: float | None = None
        context.replace(connection, self)

    def begin(self, data: bytes) -> None:
        """`data`: the one request that is to be answered."""
        self.transport.set_protocol(self)
        self._handler.connection_made(self.transport)
        self._handler.data_received(data)

    def sweep(self, now: float) -> None:
        """Called now and then. What a page takes is bounded by what it asks; here only the client can be slow."""
        if not self.transport.is_closing():
            return
        if self._deadline is None:
            self._deadline = now + self._context.idle_timeout
        elif now > self._deadline:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._context.leave(self)
        self._handler.connection_lost(error)
