"""Connections that do not begin with HTTP: those over TLS, and those that begin with a PROXY protocol header.

They are accepted here one by one, and counted from then on: a handshake that stalls counts like any other connection. The PROXY header is
read to its last byte and no further, so that TLS begins right behind it.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from gateway.http.proxy_protocol import HeaderMalformed, measure, parse
from gateway.proxy.context import ProxyContext, Source
from gateway.proxy.downstream import Downstream

_log = logging.getLogger("doorward.proxy")
_BATCH: Final = 64
_PEEK: Final = 4096
_PAUSE_SECONDS: Final = 0.5  # when the process has no descriptor left
_HANDSHAKE_SECONDS: Final = 10.0


class PreambleListener:
    """One listening socket. `preambles` are the tasks of connections whose preamble is not complete, of all listeners."""

    def __init__(
        self,
        context: ProxyContext,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        preambles: "set[asyncio.Task[None]]",
        *,
        announced: bool,
    ) -> None:
        self._context = context
        self._sock = sock
        self._tls = tls
        self._announced = announced
        self._timeout = min(_HANDSHAKE_SECONDS, context.head_timeout)
        self._preambles = preambles
        self._loop = asyncio.get_running_loop()

    def open(self, backlog: int) -> None:
        self._sock.setblocking(False)
        self._sock.listen(backlog)
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Accept no more. Connections whose preamble is not complete go on with it."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("a connection cannot be accepted: %s", error)
                self._loop.remove_reader(self._sock)
                self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            self._accept_one(sock, address)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    def _accept_one(self, sock: socket.socket, address: object) -> None:
        source = self._context.source(address)
        # SECURITY: a peer that may send a PROXY header may claim any address; only trusted proxies may (C-34).
        if (self._announced and not source.trusted) or self._context.connection_limit.enter(
            source.peer, trusted=source.trusted
        ):
            sock.close()
            return
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._serve(sock, source))
        self._preambles.add(task)
        task.add_done_callback(self._preambles.discard)

    async def _serve(self, sock: socket.socket, source: Source) -> None:
        """Read the preamble, then serve. The source is counted already; from `connection_made` on, the connection counts itself out."""
        client: Downstream | None = None

        def make_downstream() -> Downstream:
            nonlocal client
            client = Downstream(self._context, source)
            return client

        try:
            if self._announced:
                source = await self._read_announcement(sock, source)
            await self._start(make_downstream, sock)
        except (OSError, HeaderMalformed, asyncio.CancelledError) as error:
            if client is None or not client.peer:
                self._context.connection_limit.leave(source.peer, trusted=source.trusted)
                sock.close()
            _log.debug("a connection of %s ended before it began: %s", source.peer, error)

    async def _start(self, factory: Callable[[], Downstream], sock: socket.socket) -> None:
        timeout = self._timeout if self._tls is not None else None
        await self._loop.connect_accepted_socket(factory, sock, ssl=self._tls, ssl_handshake_timeout=timeout)

    async def _read_announcement(self, sock: socket.socket, balancer: Source) -> Source:
        """The client that the balancer announces. Raises HeaderMalformed, TimeoutError or another OSError."""
        async with asyncio.timeout(self._timeout):
            address = parse(await self._read_header(sock))
        if address is None:
            return balancer
        source = self._context.source((address,))
        if self._context.connection_limit.reassign(source.peer, trusted=source.trusted):
            raise ConnectionRefusedError("too many connections")
        return source

    async def _read_header(self, sock: socket.socket) -> bytes:
        header = b""
        while True:
            await self._readable(sock)
            with contextlib.suppress(BlockingIOError, InterruptedError):
                seen = sock.recv(_PEEK, socket.MSG_PEEK)
                if not seen:
                    raise ConnectionResetError("closed before its PROXY header")
                size, complete = measure(header + seen)
                header += sock.recv(size - len(header))
                if complete and len(header) == size:
                    return header

    async def _readable(self, sock: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(sock, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(sock)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
