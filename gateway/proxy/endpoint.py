"""One address of an app: where it is, and how a connection to it is made.

A name is resolved again when its answer is 30 seconds old; when that fails the old answer is used. Its records are tried in turn, a second
one while the first has not connected yet (happy eyeballs, RFC 8305). Over TLS the certificate must be valid for the address.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from gateway.config.schema import UpstreamTls
from gateway.http.header_policy import parse_address

_log = logging.getLogger("doorward.proxy")
_FRESH_SECONDS: Final = 30.0
_REFRESH_SECONDS: Final = 2.0  # for a new answer where there is an old one
_HAPPY_EYEBALLS_SECONDS: Final = 0.25

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.BaseProtocol)
Record = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]
Resolve = Callable[[str, int], Awaitable[Sequence[Record]]]


async def resolve(host: str, port: int) -> Sequence[Record]:
    """The system's answer. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return cast(Sequence[Record], found)


class Address:
    """`http(s)://host[:port]` or `unix:path`. `epoch` grows with each change of the name's records."""

    __slots__ = (
        "_clock", "_host", "_path", "_port", "_records", "_refreshing", "_resolve", "_resolved", "_server_name", "_tls", "_turn", "epoch", "url",
    )  # fmt: skip

    def __init__(self, url: str, tls: UpstreamTls, resolve: Resolve, clock: Callable[[], float]) -> None:
        self.url = url
        self.epoch = 0
        self._path: str | None = None
        self._host, self._port = "", 0
        self._tls: ssl.SSLContext | None = None
        self._server_name: str | None = None
        self._resolve = resolve
        self._clock = clock
        self._records: Sequence[Record] = ()
        self._resolved = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._turn = 0
        if url.startswith("unix:"):
            self._path = url.removeprefix("unix:")
            return
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
            self._tls.set_alpn_protocols(["http/1.1"])
            self._server_name = tls.server_name or self._host

    async def connect(self, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        """A new connection. Raises OSError; ssl.SSLError, which is one, where the certificate is not valid."""
        loop = asyncio.get_running_loop()
        if self._path is not None:
            return (await loop.create_unix_connection(factory, self._path))[1]
        if parse_address(self._host) is not None:
            made = await loop.create_connection(
                factory, self._host, self._port, ssl=self._tls, server_hostname=self._server_name
            )
            return made[1]
        await self._refreshed()
        sock = await start_connection(self._in_turn(), happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS, loop=loop)
        return (await loop.create_connection(factory, sock=sock, ssl=self._tls, server_hostname=self._server_name))[1]

    # --- names ---

    @property
    def stale(self) -> bool:
        """Whether the name should be resolved again."""
        return bool(self._records) and self._clock() - self._resolved >= _FRESH_SECONDS

    def stands_for(self, ip: str) -> bool:
        """Whether a connection to `ip` still leads here."""
        return not self._records or any(record[4][0] == ip for record in self._records)

    def refresh(self) -> "asyncio.Task[None]":
        """Resolve the name again, once at a time."""
        task = self._refreshing
        if task is None or task.done():
            task = self._refreshing = asyncio.get_running_loop().create_task(self._update())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # its waiter may be gone
        return task

    async def _refreshed(self) -> None:
        if self._records and not self.stale:
            return
        try:
            async with asyncio.timeout(_REFRESH_SECONDS if self._records else None):
                await asyncio.shield(self.refresh())
        except TimeoutError:
            if not self._records:
                raise

    async def _update(self) -> None:
        """Raises OSError when the name was never resolved."""
        try:
            records = await self._resolve(self._host, self._port)
        except OSError as error:
            if not self._records:
                raise
            _log.warning("%s cannot be resolved at the moment: its last addresses are used: %s", self.url, error)
        else:
            if not records:
                raise OSError(f"{self._host} has no address")
            if {record[4] for record in records} != {record[4] for record in self._records}:
                self._records = records
                self.epoch += 1
        self._resolved = self._clock()

    def _in_turn(self) -> list[Record]:
        """The records, the preferred family first, a different one of each family first every time."""
        self._turn += 1
        families: dict[int, list[Record]] = {}
        for record in self._records:
            families.setdefault(record[0], []).append(record)
        return [
            family[(self._turn + index) % len(family)] for family in families.values() for index in range(len(family))
        ]
