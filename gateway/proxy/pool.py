"""An app's endpoints, and the idle connections to them.

Requests go round the endpoints in turn. One that refuses or does not answer is ejected (outlier ejection) and probed in the background, at
growing intervals, until it accepts a connection; when all are ejected, all are tried. Taking and giving back is synchronous; only connecting
waits.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from gateway.config.schema import App
from gateway.errors.dependencies import UpstreamTimeout, UpstreamTlsFault, UpstreamUnreachable
from gateway.errors.network import network_failure
from gateway.errors.refusal import Refusal
from gateway.proxy.endpoint import Address, Resolve, resolve
from gateway.proxy.upstream import UpstreamConnection

_log = logging.getLogger("doorward.proxy")
_IDLE_SECONDS: Final = 55.0
_IDLE_LIMIT: Final = 256
_FRESH_SECONDS: Final = 1.0  # a request that must not be sent twice takes no connection idle for longer
_FIRST_EJECTION: Final = 1.0
_LONGEST_EJECTION: Final = 30.0


class Endpoint:
    """One address with its connections. `ejected` is the reason why it is left out until `ejected_until`, empty where it is not; `answered` is
    when its last response came. Times are monotonic seconds."""

    __slots__ = ("_all", "address", "answered", "ejected", "ejected_until", "failures", "idle", "probing")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self.answered = 0.0
        self.ejected = ""
        self.failures = 0
        self.ejected_until = 0.0
        self.probing = False

    def opened(self, connection: UpstreamConnection) -> None:
        self._all.add(connection)
        connection.epoch = self.address.epoch

    def lost(self, connection: UpstreamConnection) -> None:
        self._all.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    @property
    def open(self) -> int:
        return len(self._all)

    def still_leads_here(self, connection: UpstreamConnection) -> bool:
        """Whether the address's name still stands for the other end."""
        if connection.epoch == self.address.epoch:
            return True
        connection.epoch = self.address.epoch
        peer = connection.transport.get_extra_info("peername")
        return not isinstance(peer, tuple) or self.address.stands_for(peer[0])

    def drop(self, since: float) -> None:
        """Close what has been idle since before `since`, or leads elsewhere by now."""
        for connection in self.idle[:]:
            if connection.idle_since < since or not self.still_leads_here(connection):
                self.idle.remove(connection)
                connection.abort()


class Pool:
    """The connections to one app: of each endpoint the newest first.

    `connect_timeout` is seconds, for each endpoint; `timeouts` are the app's, and `clock` gives monotonic seconds.
    """

    __slots__ = ("_in", "_only", "_tasks", "_turn", "clock", "connect_timeout", "endpoints", "name", "timeouts")

    def __init__(
        self, name: str, app: App, *, resolve: Resolve = resolve, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.endpoints = [Endpoint(Address(url, app.upstream_tls, resolve, clock)) for url in app.upstream]
        self.timeouts = app.timeouts
        self.connect_timeout = app.timeouts.connect.total_seconds()
        self._turn = 0
        self.clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._choose()

    @property
    def idle(self) -> list[UpstreamConnection]:
        return [connection for endpoint in self.endpoints for connection in endpoint.idle]

    @property
    def open(self) -> int:
        return sum(endpoint.open for endpoint in self.endpoints)

    def take(self, repeatable: bool) -> UpstreamConnection | None:
        """An idle connection of the endpoint whose turn it is, or None. A request that must not be sent twice gets a fresh one."""
        idle = self._only
        if idle is None:
            idle = self._in[self._turn % len(self._in)].idle
            self._turn += bool(idle)
        while idle:
            connection = idle.pop()
            if not repeatable and self.clock() - connection.idle_since > _FRESH_SECONDS:
                idle.append(connection)
                return None
            if connection.alive and not connection.transport.is_closing():
                connection.used = True
                return connection
        return None

    def give_back(self, connection: UpstreamConnection) -> None:
        """After a clean exchange."""
        connection.listener = None
        home = connection.home
        idle = home.idle
        if not connection.alive or len(idle) >= _IDLE_LIMIT or connection.paused:
            connection.abort()
            return
        connection.idle_since = home.answered = self.clock()
        idle.append(connection)

    async def connect(self) -> UpstreamConnection:
        """A new connection to the next endpoint that accepts one. Raises UpstreamUnreachable, UpstreamTimeout or UpstreamTlsFault."""
        refusal: Refusal | None = None
        for endpoint in self._round():
            try:
                connection = await self._open_connection(endpoint)
            except Refusal as error:
                refusal = error
                self._failed(endpoint, error.detail)
            else:
                self._readmit(endpoint)
                return connection
        assert refusal is not None
        raise refusal

    async def probe(self) -> list[Refusal]:
        """What `connect` raises, for each endpoint that accepts no connection."""
        refusals: list[Refusal] = []
        for endpoint in self.endpoints:
            try:
                (await self._open_connection(endpoint)).abort()
            except Refusal as refusal:
                refusals.append(refusal)
        return refusals

    def report_timeout(self, connection: UpstreamConnection, since: float) -> None:
        """No response came in time: the endpoint is ejected if no other request got one `since` then either.

        Connections that have been idle since before may be dead too, as when a firewall forgot its table: they are closed.
        """
        for endpoint in self.endpoints:
            if endpoint is connection.home:
                endpoint.drop(since)
                if endpoint.answered < since:
                    self._failed(endpoint, "no answer in time")

    def sweep(self) -> None:
        """Close what has been idle for long: upstreams do so too, and theirs would race with a request. Probe ejected endpoints."""
        now = self.clock()
        for endpoint in self.endpoints:
            endpoint.drop(now - _IDLE_SECONDS)
            if endpoint.open and endpoint.address.stale:
                endpoint.address.refresh()
            if endpoint.ejected and now >= endpoint.ejected_until and not endpoint.probing:
                endpoint.probing = True
                self._in_background(self._reconnect(endpoint))

    def close(self) -> None:
        for connection in self.idle:
            connection.abort()
        for task in self._tasks:
            task.cancel()

    # --- which address ---

    def _round(self) -> list[Endpoint]:
        """All endpoints in the order to try them, ejected ones last."""
        endpoints = self._in
        start = self._turn % len(endpoints)
        self._turn += 1
        order = [*endpoints[start:], *endpoints[:start]]
        return order + [endpoint for endpoint in self.endpoints if endpoint not in order]

    def _failed(self, endpoint: Endpoint, reason: str) -> None:
        if len(self.endpoints) == 1:
            return
        if not endpoint.ejected:
            _log.warning("%s: %s is ejected: %s", self.name, endpoint.address.url, reason)
        elif self.clock() < endpoint.ejected_until:
            return  # it was tried because all are ejected
        endpoint.ejected = reason
        seconds = min(_FIRST_EJECTION * 2**endpoint.failures, _LONGEST_EJECTION)
        endpoint.failures = min(endpoint.failures + 1, 10)
        endpoint.ejected_until = self.clock() + seconds
        self._choose()

    def _readmit(self, endpoint: Endpoint) -> None:
        if endpoint.ejected:
            _log.info("%s: %s is back", self.name, endpoint.address.url)
            endpoint.ejected, endpoint.failures = "", 0
            self._choose()

    def _choose(self) -> None:
        """Which endpoints take part: those that are not ejected, or all when all are."""
        self._in = [endpoint for endpoint in self.endpoints if not endpoint.ejected] or self.endpoints
        self._only = self._in[0].idle if len(self._in) == 1 else None

    # --- connecting ---

    async def _open_connection(self, endpoint: Endpoint) -> UpstreamConnection:
        where = f"{self.name} at {endpoint.address.url}"
        connection = UpstreamConnection(endpoint)
        try:
            async with asyncio.timeout(self.connect_timeout):
                try:
                    return await endpoint.address.connect(lambda: connection)
                except BaseException:
                    endpoint.lost(connection)  # one that stands already is closed, and `connection_lost` is not called
                    raise
        except TimeoutError as error:
            raise UpstreamTimeout(f"no connection to {where} in {self.connect_timeout} s") from error
        except ssl.SSLError as error:
            raise UpstreamTlsFault(network_failure(where, error)) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is too long for DNS
            raise UpstreamUnreachable(f"cannot connect to {network_failure(where, error)}") from error

    async def _reconnect(self, endpoint: Endpoint) -> None:
        """Readmit an ejected endpoint if it accepts a connection, which is the first of its new ones."""
        try:
            connection = await self._open_connection(endpoint)
        except Refusal as refusal:
            self._failed(endpoint, refusal.detail)
        else:
            self._readmit(endpoint)
            self.give_back(connection)
        finally:
            endpoint.probing = False

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
