"""What is open by break-glass, as one worker knows it: heard by push, confirmed every second, closed when in doubt.

The invariant: a glass counts only while changes are heard (`Ears`), and while its deadline on the monotonic clock lies ahead. When Redis
cannot be heard everything is closed within three seconds, and opens again only when Redis has confirmed it: somebody may have closed it
meanwhile. The same opening never gets a later deadline, and one that ended stays ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.errors import StoreUnavailable
from gateway.policy.break_glass import Glass, Opening
from gateway.sessions.ears import Ears, Sources, end_task
from gateway.sessions.openings import Openings

_log = logging.getLogger("doorward.sessions")
CLOSED: Final = "closed"
EXPIRED: Final = "expired"
OPENED: Final = "opened"
_TOLD_ONCE: Final = timedelta(hours=12)
_NEARLY: Final = 1.0  # seconds: what vanishes so close to its end has ended by itself
_MOST_ENDED: Final = 256
_MOST_FORWARDERS: Final = 256
_REMIND_EVERY: Final = 86_400.0  # seconds: Redis forgets after a month, and a peer is noticed once a process


class GlassWatch:
    """`show(app, glass)` puts what is open where requests are judged; `over(opening)` ends what it let in; `told(what, opening)`
    is called by one worker of the fleet.

    `once(name, ttl)` says whether nobody else did it. `clock` is monotonic, `now` aware wall time.
    """

    def __init__(
        self,
        openings: Openings,
        apps: Iterable[str],
        sources: Sources,
        *,
        show: Callable[[str, Glass | None], None],
        over: Callable[[Opening], None],
        told: Callable[[str, Opening], None],
        once: Callable[[str, timedelta], Awaitable[bool]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        tick: float = 1.0,
    ) -> None:
        self._openings = openings
        self._apps = tuple(apps)
        self._show = show
        self._over = over
        self._told = told
        self._once = once
        self._clock = clock
        self._now = now
        self._tick = tick
        self._known: dict[str, Glass] = {}  # what was open when Redis was last heard, confirmed or not
        self._shown: set[str] = set()
        self._ended: dict[str, None] = {}  # ids; nothing brings one of them back
        self._dirty = asyncio.Event()
        self._forwarders: set[str] = set()
        self._forwarders_told: set[str] = set()
        self._forwarders_told_at = clock()
        self._tasks: list[asyncio.Task[None]] = []
        self._ears = Ears(
            sources, openings.prefix, changed=self._changed, reset=self._reset, lost=self._reset, before_trust=_nothing,
            clock=clock, ping_every=tick,
        )  # fmt: skip

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        self._tasks = [asyncio.create_task(step()) for step in (self._ears.run, self._follow)]

    async def close(self) -> None:
        await asyncio.gather(*map(end_task, self._tasks))
        await self._ears.close()

    def is_open(self, glass: Glass) -> bool:
        """Whether it still counts, now."""
        now = self._clock()
        # SECURITY: by the clock: a worker that was stopped for an hour must not go on where it left off (C-46).
        return now < glass.deadline and now < self._ears.trusted_until

    @property
    def open_now(self) -> list[Opening]:
        """What this worker lets in, for /ready and metrics."""
        return [self._known[app].opening for app in sorted(self._shown) if self.is_open(self._known[app])]

    def saw_forwarding(self, peer: str) -> None:
        """A peer that nobody trusts forwards: no range may contain it."""
        if peer not in self._forwarders_told and len(self._forwarders) < _MOST_FORWARDERS:
            self._forwarders.add(peer)

    # --- what Redis says ----------------------------------------------------------------------------------------------

    def _changed(self, app: str) -> None:
        """The record was written or is gone: closed until it has been read again."""
        self._hide(app)
        self._dirty.set()

    def _reset(self) -> None:
        """Anything may have changed."""
        for app in list(self._shown):
            self._hide(app)
        self._dirty.set()

    def _hide(self, app: str) -> None:
        if app in self._shown:
            self._shown.discard(app)
            self._show(app, None)

    async def _follow(self) -> None:
        """Until cancelled: read what is in doubt, end what is over, tell of both."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._dirty.wait()
            try:
                await self._step()
            except StoreUnavailable:
                self._dirty.set()
                await asyncio.sleep(self._tick)
            except Exception:
                _log.exception("break-glass met an error that it does not know")
                await asyncio.sleep(self._tick)

    async def _step(self) -> None:
        self._end_what_is_over()
        if self._clock() < self._ears.trusted_until and self._known.keys() - self._shown:
            self._dirty.set()  # it could not be confirmed before
        if self._dirty.is_set():
            self._dirty.clear()
            for app in self._apps:
                await self._refresh(app)
        day = self._clock() - self._forwarders_told_at >= _REMIND_EVERY
        if self._forwarders - self._forwarders_told or (day and self._forwarders):
            await self._openings.saw_forwarding(self._forwarders, self._now())
            self._forwarders_told, self._forwarders_told_at = set(self._forwarders), self._clock()

    def _end_what_is_over(self) -> None:
        for app, glass in list(self._known.items()):
            if self._clock() >= glass.deadline:
                self._hide(app)
                self._dirty.set()
            elif app in self._shown and not self.is_open(glass):
                _log.warning("break-glass of %s cannot be confirmed: closed until Redis answers", app)
                self._hide(app)
                self._over(glass.opening)

    async def _refresh(self, app: str) -> None:
        found = await self._openings.read(app, self._now())
        if self._dirty.is_set():
            return  # it changed while it was read: once more
        known = self._known.get(app)
        if known is not None and (found is None or found[0].id != known.opening.id or self._clock() >= known.deadline):
            await self._end(app, known)
            known = None
        if found is None or found[0].id in self._ended:
            return
        opening, left = found
        if known is None:
            known = self._known[app] = Glass(opening=opening, deadline=self._clock() + left.total_seconds())
            await self._tell(OPENED, opening)
        # SECURITY: an opening read again never lasts longer than it did before, whatever clocks say meanwhile (C-46).
        known.deadline = min(known.deadline, self._clock() + left.total_seconds())
        if not self._dirty.is_set() and self.is_open(known):
            self._shown.add(app)
            self._show(app, known)

    async def _end(self, app: str, glass: Glass) -> None:
        self._hide(app)
        del self._known[app]
        # SECURITY: a record copied back by somebody who can write to Redis opens nothing that was closed (C-08).
        self._ended[glass.opening.id] = None
        while len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        expired = self._clock() >= glass.deadline - _NEARLY
        self._over(glass.opening)
        await self._tell(EXPIRED if expired else CLOSED, glass.opening)

    async def _tell(self, what: str, opening: Opening) -> None:
        if await self._once(f"glass:{opening.id}:{what}", _TOLD_ONCE):
            self._told(what, opening)


async def _nothing() -> None:
    """What is to be done before what is heard counts."""


def facts_of(openings: Iterable[Opening]) -> list[dict[str, Any]]:
    """For reports: JSON-able."""
    return [{"app": opening.app, **opening.facts()} for opening in openings]
