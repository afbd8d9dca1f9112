"""The break-glass openings that one worker applies: pushed by Redis, confirmed every second, closed when in doubt.

The invariant: an opening counts only while the worker receives invalidations (`InvalidationListener`), and only before its
deadline on the monotonic clock. Within three seconds of losing Redis the worker closes everything, and opens it again only after
Redis has confirmed it, because an operator may have closed it meanwhile. A later read of the same opening never gives it a later
deadline. An opening that ended stays ended: its ID is kept in Redis, in this worker, and in the other workers of the gateway
(`on_ended`), those that a reload starts included. An opening counts only after its event was emitted.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.break_glass.store import ENDED_LIFETIME, Openings
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.background import repeat
from gateway.policy.break_glass import ActiveOpening, Opening
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task

_log = logging.getLogger("doorward.sessions")
CLOSED: Final = "closed"
EXPIRED: Final = "expired"
OPENED: Final = "opened"
_EMITTED_LIFETIME: Final = timedelta(hours=12)
_ABOUT_TO_EXPIRE: Final = 1.0  # seconds: a record that vanishes so close to its end has expired
_MOST_ENDED: Final = 4096
# A gateway that first sees an opening this late emits its event again: the event of the first may be lost with its fleet.
_LATE: Final = timedelta(minutes=1)
_MOST_FORWARDERS: Final = 256
_REWRITE_EVERY: Final = 86_400.0  # seconds: Redis forgets a forwarder after 30 days, and a process sees it once only


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherParts:
    """What a worker gives to the watch on its openings.

    `once(name, ttl)` is True for the first caller in the fleet. `on_ended(id)` is called when this worker saw an opening end for good.
    `clock` is monotonic, `now` gives aware UTC, `tick` is in seconds. `gateway` is a random string that only the workers of one gateway
    have in common.
    """

    openings: Openings
    sources: Sources
    once: Callable[[str, timedelta], Awaitable[bool]]
    clock: Callable[[], float]
    now: Callable[[], datetime]
    tick: float = 1.0
    on_ended: Callable[[str], None] = lambda opening_id: None
    gateway: str = ""


class OpeningWatcher:
    """Watches the openings of `apps`. Its callbacks, all of them synchronous:

    `on_change(app, opening)`   what is open for an app now, or None
    `on_close(opening)`         its requests must end: it ended, or Redis cannot confirm it
    `emit(event, opening)`      OPENED, CLOSED or EXPIRED; one worker of the fleet calls it
    """

    def __init__(
        self,
        parts: WatcherParts,
        apps: Iterable[str],
        *,
        on_change: Callable[[str, ActiveOpening | None], None],
        on_close: Callable[[Opening], None],
        emit: Callable[[str, Opening], None],
    ) -> None:
        self._openings = parts.openings
        self._apps = tuple(apps)
        self._on_change = on_change
        self._on_close = on_close
        self._on_ended = parts.on_ended
        self._emit = emit
        self._once = parts.once
        self._clock = parts.clock
        self._now = parts.now
        self._tick = parts.tick
        self._gateway = parts.gateway or secrets.token_hex(16)
        self._last_read: dict[str, ActiveOpening] = {}  # by app, confirmed since or not
        self._published: set[str] = set()  # apps whose opening counts
        self._ended: dict[str, float] = {}  # IDs, and until when each is remembered
        self._unmarked: set[str] = set()  # ended IDs that are not written to Redis yet
        self._dirty = asyncio.Event()
        self._forwarders: set[str] = set()
        self._forwarders_written: set[str] = set()
        self._forwarders_written_at = parts.clock()
        self._tasks: list[asyncio.Task[None]] = []
        self._invalidation = InvalidationListener(
            parts.sources, parts.openings.prefix,
            on_change=self._on_record_changed, on_reset=self._on_reset, on_trust_lost=self._on_reset,
            before_trust=self._mark_all_again,
            clock=parts.clock, ping_every=parts.tick,
        )  # fmt: skip

    def start(self) -> None:
        """Start the background tasks in the running loop."""
        work = (self._invalidation.run(), repeat("break_glass", self._follow))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Stop the background tasks and close the connections."""
        await asyncio.gather(*map(end_task, self._tasks))
        await self._invalidation.close()

    def is_open(self, opening: ActiveOpening) -> bool:
        """Whether it counts now."""
        now = self._clock()
        # SECURITY: by the clock: a worker that was stopped for an hour must not go on where it left off (C-46).
        return now < opening.deadline and now < self._invalidation.trusted_until

    @property
    def open_now(self) -> list[Opening]:
        """The openings that this worker applies, by app."""
        return [self._last_read[app].opening for app in sorted(self._published) if self.is_open(self._last_read[app])]

    def mark_ended(self, ids: Iterable[str]) -> None:
        """These openings ended, as another worker of the gateway saw."""
        for opening_id in ids:
            self._remember_ended(opening_id)
        self._dirty.set()

    def _remember_ended(self, opening_id: str) -> None:
        now = self._clock()
        self._ended.pop(opening_id, None)
        self._ended[opening_id] = now + ENDED_LIFETIME.total_seconds()
        while len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) <= now:
            del self._ended[next(iter(self._ended))]

    def on_forwarding(self, peer: str) -> None:
        """An untrusted peer forwarded a request: no range may contain its address."""
        if peer not in self._forwarders_written and len(self._forwarders) < _MOST_FORWARDERS:
            self._forwarders.add(peer)

    # --- invalidation -------------------------------------------------------------------------------------------------

    def _on_record_changed(self, app: str) -> None:
        """The record was written or deleted: closed until it has been read again."""
        self._withdraw(app)
        self._dirty.set()

    def _on_reset(self) -> None:
        """Any record may have changed."""
        for app in list(self._published):
            self._withdraw(app)
        self._dirty.set()

    def _withdraw(self, app: str) -> None:
        if app in self._published:
            self._published.discard(app)
            self._on_change(app, None)

    # --- background ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Read the records that may have changed, and end the openings that are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._tick):
                await self._dirty.wait()
        try:
            await self._step()
        except StoreUnavailable:
            self._dirty.set()
            await asyncio.sleep(self._tick)

    async def _step(self) -> None:
        self._withdraw_expired()
        if self._clock() < self._invalidation.trusted_until and self._last_read.keys() - self._published:
            self._dirty.set()  # it could not be confirmed before
        if self._dirty.is_set():
            self._dirty.clear()
            for app in self._apps:
                await self._refresh(app)
        day = self._clock() - self._forwarders_written_at >= _REWRITE_EVERY
        if self._forwarders - self._forwarders_written or (day and self._forwarders):
            await self._openings.write_forwarders(self._forwarders, self._now())
            self._forwarders_written, self._forwarders_written_at = set(self._forwarders), self._clock()
        if self._unmarked:
            marked = sorted(self._unmarked)
            await self._openings.mark_ended(marked)
            self._unmarked.difference_update(marked)

    def _withdraw_expired(self) -> None:
        for app, active in list(self._last_read.items()):
            if self._clock() >= active.deadline:
                self._withdraw(app)
                self._dirty.set()
            elif app in self._published and not self.is_open(active):
                _log.warning("break-glass of %s cannot be confirmed: closed until Redis answers", app)
                self._withdraw(app)
                self._on_close(active.opening)

    async def _refresh(self, app: str) -> None:
        found = await self._openings.read(app, self._now())
        if self._dirty.is_set():
            return  # it changed while it was read: the next step reads it again
        active = self._last_read.get(app)
        if active is not None and self._has_ended(active, None if found is None else found[0]):
            await self._end(app, active)
            active = None
        if found is None:
            return
        opening, left = found
        # SECURITY: a record copied back by an attacker who can write to Redis opens nothing that was closed (C-08, C-73).
        if opening.id in self._ended:
            if opening.id not in self._unmarked:
                _log.warning("break-glass of %s: a closed opening is in Redis again, and stays closed", app)
            self._unmarked.add(opening.id)
            return
        if active is None:
            deadline = self._clock() + left.total_seconds()
            # SECURITY: an opening admits no request before its event is emitted (C-73).
            await self._emit_opened(opening)
            active = self._last_read[app] = ActiveOpening(opening=opening, deadline=deadline)
        # SECURITY: an opening read again never lasts longer than it did before, however the wall clock is set (C-46).
        active.deadline = min(active.deadline, self._clock() + left.total_seconds())
        if not self._dirty.is_set() and self.is_open(active):
            self._published.add(app)
            self._on_change(app, active)

    def _has_ended(self, active: ActiveOpening, found: Opening | None) -> bool:
        """Whether an opening is over, when `found` is what Redis holds for its app now."""
        opening = active.opening
        replaced = found is None or found.id != opening.id
        return replaced or opening.id in self._ended or self._clock() >= active.deadline

    async def _end(self, app: str, active: ActiveOpening) -> None:
        self._withdraw(app)
        del self._last_read[app]
        opening = active.opening
        self._remember_ended(opening.id)
        self._on_ended(opening.id)
        self._unmarked.add(opening.id)
        expired = self._clock() >= active.deadline - _ABOUT_TO_EXPIRE
        self._on_close(opening)
        event = EXPIRED if expired else CLOSED
        if await self._is_first(f"glass:{opening.id}:{event}"):
            self._emit(event, opening)

    async def _emit_opened(self, opening: Opening) -> None:
        """Once for the fleet; once more for each gateway that sees the opening late."""
        first_here = await self._is_first(f"glass:{opening.id}:{OPENED}:{self._gateway}")
        first = await self._is_first(f"glass:{opening.id}:{OPENED}")
        if first or (first_here and self._now() - opening.opened_at >= _LATE):
            self._emit(OPENED, opening)

    async def _is_first(self, name: str) -> bool:
        """Whether no other worker did it. True when Redis cannot tell: an event twice is better than none."""
        try:
            return await self._once(name, _EMITTED_LIFETIME)
        except StoreUnavailable:
            return True

    async def _mark_all_again(self) -> None:
        """Another server answers, or the same one with older data: it may have lost the IDs that ended."""
        self._unmarked.update(self._ended)
