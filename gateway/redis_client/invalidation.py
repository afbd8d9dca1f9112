"""Client-side caching of all primaries: one `Tracking` for each server that holds records, and one answer whether the cache may be trusted.

The invariant: `trusted_until` lies ahead only while every server that may change a record is tracked, each within three pings,
and the list of these servers was read within three pings too. Whenever that breaks (a connection, another primary, a slot that
moved) nothing is trusted until it holds again. Before it does, everything cached is dropped, and the sessions that this worker
ended are ended again (`before_trust`), because a replica that was promoted may have missed it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from redis.asyncio.connection import AbstractConnection

from gateway.config.redis_url import Endpoint
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.background import repeat
from gateway.redis_client.tracking import Tracking

_log = logging.getLogger("doorward.sessions")
_NEVER = float("-inf")

Source = Endpoint | None  # None: the one server of a client that has one


class Sources(Protocol):
    """The servers that announce changes."""

    async def servers(self) -> Sequence[Source]:
        """The servers that hold keys at the moment. Raises StoreUnavailable."""

    def owner(self, name: str) -> Source:
        """The server that holds a key, as far as is known."""

    def connect(self, source: Source) -> AbstractConnection:
        """A connection that is not open yet."""

    async def disconnect(self) -> None:
        """A server became a replica: close all connections to it, so that none is read any more. Raises StoreUnavailable."""

    def watch_servers(self, on_change: Callable[[], None]) -> None:
        """Call `on_change()` when other servers than before hold keys, before any of them is read."""


class InvalidationListener:
    """Calls `on_change(key)`, `on_reset()` when any record may have changed, `on_trust_lost()` when trust ended.

    `before_trust` runs when all servers are tracked and before trust begins; when it raises StoreUnavailable it is tried again.
    `clock` is monotonic; `ping_every` as in Tracking.
    """

    def __init__(
        self,
        sources: Sources,
        prefix: str,
        *,
        on_change: Callable[[str], None],
        on_reset: Callable[[], None],
        on_trust_lost: Callable[[], None],
        before_trust: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        ping_every: float = 1.0,
    ) -> None:
        self.trusted_until = _NEVER
        self.trust_lost_at = _NEVER  # when trust ended last
        self._sources = sources
        self._prefix = prefix
        self._on_change = on_change
        self._on_reset = on_reset
        self._on_trust_lost = on_trust_lost
        self._before_trust = before_trust
        self._clock = clock
        self._ping_every = ping_every
        self._trackings: dict[Source, Tracking] = {}
        self._tasks: dict[Source, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._complete = False
        self._losses = 0
        self._demoted = False
        self._servers_until = _NEVER
        self._wake = asyncio.Event()
        sources.watch_servers(self.on_disconnect)

    def unreachable(self, key: str) -> bool:
        """Whether the server that holds a record does not reply at all."""
        tracking = self._trackings.get(self._sources.owner(self._prefix + key))
        return tracking is not None and tracking.unreachable

    @property
    def outage(self) -> bool:
        """Whether any server does not reply at all."""
        return any(tracking.unreachable for tracking in self._trackings.values())

    async def run(self) -> None:
        """Until cancelled: track the servers that hold keys. `close` follows."""
        await repeat("invalidation", self._step)

    async def _step(self) -> None:
        self._wake.clear()
        await self._update()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ping_every):
                await self._wake.wait()

    async def close(self) -> None:
        """End all connections."""
        self._track(())
        await self._end_untracked()

    # --- callbacks of a Tracking --------------------------------------------------------------------------------------

    def on_invalidate(self, key: str | None) -> None:
        if key is None:
            self._on_reset()
        else:
            self._on_change(key)

    def on_tracking(self) -> None:
        self._wake.set()

    def on_ping_reply(self) -> None:
        if self._complete:
            self._extend_trust()

    def on_disconnect(self) -> None:
        self._losses += 1
        self._wake.set()
        if self._complete:
            self._complete = False
            # A process that was stopped for an hour gets here an hour late: trust had ended by the clock.
            self.trust_lost_at = min(self._clock(), self.trusted_until)
            self.trusted_until = _NEVER
        self._on_trust_lost()

    def on_demotion(self) -> None:
        self._demoted = True
        self._wake.set()

    # --- in the background --------------------------------------------------------------------------------------------

    async def _update(self) -> None:
        read_at = self._clock()
        try:
            if self._demoted:
                # SECURITY: a connection that was opened to a primary would go on reading it as a replica, which lags (C-43, C-44).
                await self._sources.disconnect()
                self._demoted = False
            self._track(await self._sources.servers())
            await self._end_untracked()
            self._servers_until = read_at + 3 * self._ping_every
            if not self._complete and all(one.trusted_until > self._clock() for one in self._trackings.values()):
                await self._begin_trust()
        except StoreUnavailable as refusal:
            _log.debug("the servers that hold sessions cannot be read: %s", refusal.detail)
        if self._complete:
            self._extend_trust()

    def _track(self, wanted: Iterable[Source]) -> None:
        wanted = dict.fromkeys(wanted)
        if wanted.keys() != self._trackings.keys():
            self.on_disconnect()
        for source in self._trackings.keys() - wanted.keys():
            del self._trackings[source]
            self._ending.add(self._tasks.pop(source))
        for source in wanted.keys() - self._trackings.keys():
            tracking = self._trackings[source] = Tracking(
                lambda to=source: self._sources.connect(to),  # type: ignore[misc]
                self._prefix,
                self,
                clock=self._clock,
                ping_every=self._ping_every,
            )
            self._tasks[source] = asyncio.create_task(tracking.run())

    async def _end_untracked(self) -> None:
        for task in list(self._ending):
            await end_task(task)
            self._ending.discard(task)

    async def _begin_trust(self) -> None:
        losses = self._losses
        # No invalidation covers what was read before all servers were tracked.
        self._on_reset()
        await self._before_trust()
        if losses == self._losses:
            self._complete = True
            _log.info("changes of sessions are announced")

    def _extend_trust(self) -> None:
        self.trusted_until = min(self._servers_until, *(one.trusted_until for one in self._trackings.values()))


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel until it ends: asyncio.wait_for, inside the library, swallows a cancellation that comes together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.02)
