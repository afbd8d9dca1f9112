"""Hearing every primary: one `Tracking` for each server that answers for keys, and one answer to whether the cache may be trusted.

The invariant: `trusted_until` lies ahead only while all servers that may change a record are listened to, each within three
pings, and who they are was asked within three pings too. Whenever that breaks (a connection, another primary, a slot that
moved) nothing is trusted until it is whole again; then everything known is forgotten first, and what this worker knows to
have ended is ended again (`before_trust`), because a replica that was promoted may have missed it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from gateway.config.redis_url import Endpoint
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.tracking import PushConnection, Tracking

_log = logging.getLogger("doorward.sessions")
_NEVER = float("-inf")

Source = Endpoint | None  # None: the one server that there is


class Sources(Protocol):
    """Who announces changes."""

    async def who(self) -> Sequence[Source]:
        """The servers that answer for keys at the moment. Raises StoreUnavailable."""

    def owner(self, name: str) -> Source:
        """The server that answers for a key, as far as is known."""

    def connect(self, source: Source) -> PushConnection: ...

    async def hang_up(self) -> None:
        """A server turned out to be a replica: no connection that is open may be read any more."""

    def on_change(self, hear: Callable[[], None]) -> None:
        """Have `hear()` called when other servers than before answer for keys, before any of them is read."""


class InvalidationListener:
    """Tells `changed(key)`, `reset()` when anything may have changed, `lost()` when trust ended.

    `before_trust` runs when all is heard and before it counts; when it raises StoreUnavailable it is tried again.
    `clock` is monotonic; `ping_every` as in Tracking.
    """

    def __init__(
        self,
        sources: Sources,
        prefix: str,
        *,
        changed: Callable[[str], None],
        reset: Callable[[], None],
        lost: Callable[[], None],
        before_trust: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        ping_every: float = 1.0,
    ) -> None:
        self.trusted_until = _NEVER
        self.lost_at = _NEVER  # when trust ended last
        self._sources = sources
        self._prefix = prefix
        self._tell_changed = changed
        self._tell_reset = reset
        self._tell_lost = lost
        self._before_trust = before_trust
        self._clock = clock
        self._ping_every = ping_every
        self._trackings: dict[Source, Tracking] = {}
        self._tasks: dict[Source, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._whole = False
        self._turn = 0
        self._demoted = False
        self._known_until = _NEVER
        self._news = asyncio.Event()
        sources.on_change(self.lost)

    def unreachable(self, key: str) -> bool:
        """Whether the server that answers for a record does not answer at all."""
        tracking = self._trackings.get(self._sources.owner(self._prefix + key))
        return tracking is not None and tracking.unreachable

    @property
    def outage(self) -> bool:
        """Whether any server does not answer at all."""
        return any(tracking.unreachable for tracking in self._trackings.values())

    async def run(self) -> None:
        """Until cancelled: keep an ear on whoever answers for keys. `close` follows."""
        while True:
            self._news.clear()
            await self._look_around()
            try:
                async with asyncio.timeout(self._ping_every):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Listen to nobody any more."""
        self._arrange(())
        await self._end_leaving()

    # --- what a Tracking says -----------------------------------------------------------------------------------------

    def changed(self, key: str | None) -> None:
        if key is None:
            self._tell_reset()
        else:
            self._tell_changed(key)

    def began(self) -> None:
        self._news.set()

    def answered(self) -> None:
        if self._whole:
            self._renew()

    def lost(self) -> None:
        self._turn += 1
        self._news.set()
        if self._whole:
            self._whole = False
            # A process that was stopped for an hour learns of it an hour late: trust had ended by the clock.
            self.lost_at = min(self._clock(), self.trusted_until)
            self.trusted_until = _NEVER
        self._tell_lost()

    def demoted(self) -> None:
        self._demoted = True
        self._news.set()

    # --- in the background --------------------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        asked_at = self._clock()
        try:
            if self._demoted:
                # SECURITY: what was connected to a primary goes on reading it as a replica, which lags (C-43, C-44).
                await self._sources.hang_up()
                self._demoted = False
            self._arrange(await self._sources.who())
            await self._end_leaving()
            self._known_until = asked_at + 3 * self._ping_every
            if not self._whole and all(one.trusted_until > self._clock() for one in self._trackings.values()):
                await self._trust()
        except StoreUnavailable as refusal:
            _log.debug("who answers for sessions cannot be asked: %s", refusal.detail)
        if self._whole:
            self._renew()

    def _arrange(self, wanted: Iterable[Source]) -> None:
        wanted = dict.fromkeys(wanted)
        if wanted.keys() != self._trackings.keys():
            self.lost()
        for source in self._trackings.keys() - wanted.keys():
            del self._trackings[source]
            self._leaving.add(self._tasks.pop(source))
        for source in wanted.keys() - self._trackings.keys():
            tracking = self._trackings[source] = Tracking(
                lambda to=source: self._sources.connect(to),  # type: ignore[misc]
                self._prefix,
                self,
                clock=self._clock,
                ping_every=self._ping_every,
            )
            self._tasks[source] = asyncio.create_task(tracking.run())

    async def _end_leaving(self) -> None:
        for task in list(self._leaving):
            await end_task(task)
            self._leaving.discard(task)

    async def _trust(self) -> None:
        turn = self._turn
        # What was read before all of them were listened to is covered by none.
        self._tell_reset()
        await self._before_trust()
        if turn == self._turn:
            self._whole = True
            _log.info("changes of sessions are heard")

    def _renew(self) -> None:
        self.trusted_until = min(self._known_until, *(one.trusted_until for one in self._trackings.values()))


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel until it is over: asyncio.wait_for, inside the library, swallows a cancellation that comes together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.02)
