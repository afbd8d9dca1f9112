"""What is open by break-glass, as one worker knows it: heard by push, confirmed every second, closed when in doubt.

The invariant: a glass counts only while changes are heard (`InvalidationListener`), and while its deadline on the monotonic clock
lies ahead. When Redis cannot be heard everything is closed within three seconds, and opens again only when Redis has confirmed
it: somebody may have closed it meanwhile. The same opening never gets a later deadline, and one that ended stays ended: noted in
Redis, known to this worker, and told to the others of its gateway (`ended`), those that a reload starts included. Nothing is
shown before its event is told.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.break_glass.store import REMEMBERED_OVER, Openings
from gateway.errors.dependencies import StoreUnavailable
from gateway.policy.break_glass import ActiveOpening, Opening
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task

_log = logging.getLogger("doorward.sessions")
CLOSED: Final = "closed"
EXPIRED: Final = "expired"
OPENED: Final = "opened"
_TOLD_ONCE: Final = timedelta(hours=12)
_NEARLY: Final = 1.0  # seconds: what vanishes so close to its end has ended by itself
_MOST_ENDED: Final = 4096
_LATE: Final = timedelta(
    minutes=1
)  # a gateway that comes upon an opening this late tells of it too: whoever did before may be gone
_MOST_FORWARDERS: Final = 256
_REMIND_EVERY: Final = 86_400.0  # seconds: Redis forgets after a month, and a peer is noticed once a process


class GlassWatch:
    """`show(app, glass)` puts what is open where requests are judged; `over(opening)` ends what it let in; `told(what, opening)`
    is called by one worker of the fleet. `ended(id)` is told of each opening that this worker saw end.

    `once(name, ttl)` says whether nobody else did it. `clock` is monotonic, `now` aware wall time. `gateway` is what the workers of one
    gateway have in common, from its start to its end; nobody else knows it.
    """

    def __init__(
        self,
        openings: Openings,
        apps: Iterable[str],
        sources: Sources,
        *,
        show: Callable[[str, ActiveOpening | None], None],
        over: Callable[[Opening], None],
        told: Callable[[str, Opening], None],
        once: Callable[[str, timedelta], Awaitable[bool]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        tick: float = 1.0,
        ended: Callable[[str], None] = lambda opening_id: None,
        gateway: str = "",
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
        self._known: dict[str, ActiveOpening] = {}  # what was open when Redis was last heard, confirmed or not
        self._shown: set[str] = set()
        self._ended: dict[str, float] = {}  # ids, and until when; nothing brings one of them back
        self._tell_ended = ended
        self._gateway = gateway or secrets.token_hex(16)
        self._unnoted: set[str] = set()  # ended ids that Redis has not been told of
        self._dirty = asyncio.Event()
        self._forwarders: set[str] = set()
        self._forwarders_told: set[str] = set()
        self._forwarders_told_at = clock()
        self._tasks: list[asyncio.Task[None]] = []
        self._ears = InvalidationListener(
            sources, openings.prefix, changed=self._changed, reset=self._reset, lost=self._reset,
            before_trust=self._note_again,
            clock=clock, ping_every=tick,
        )  # fmt: skip

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        self._tasks = [asyncio.create_task(step()) for step in (self._ears.run, self._follow)]

    async def close(self) -> None:
        await asyncio.gather(*map(end_task, self._tasks))
        await self._ears.close()

    def is_open(self, glass: ActiveOpening) -> bool:
        """Whether it still counts, now."""
        now = self._clock()
        # SECURITY: by the clock: a worker that was stopped for an hour must not go on where it left off (C-46).
        return now < glass.deadline and now < self._ears.trusted_until

    @property
    def open_now(self) -> list[Opening]:
        """What this worker lets in, for /ready and metrics."""
        return [self._known[app].opening for app in sorted(self._shown) if self.is_open(self._known[app])]

    def learn_ended(self, ids: Iterable[str]) -> None:
        """These openings ended, as somebody else saw."""
        for opening_id in ids:
            self._remember(opening_id)
        self._dirty.set()

    def _remember(self, opening_id: str) -> None:
        now = self._clock()
        self._ended.pop(opening_id, None)
        self._ended[opening_id] = now + REMEMBERED_OVER.total_seconds()
        while len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) <= now:
            del self._ended[next(iter(self._ended))]

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
        if self._unnoted:
            noted = sorted(self._unnoted)
            await self._openings.note_over(noted)
            self._unnoted.difference_update(noted)

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
        if known is not None and (
            found is None
            or found[0].id != known.opening.id
            or known.opening.id in self._ended
            or self._clock() >= known.deadline
        ):
            await self._end(app, known)
            known = None
        if found is None:
            return
        opening, left = found
        # SECURITY: a record copied back by somebody who can write to Redis opens nothing that was closed (C-08, C-73).
        if opening.id in self._ended:
            if opening.id not in self._unnoted:
                _log.warning("break-glass of %s: what was closed is in Redis again, and stays closed", app)
            self._unnoted.add(opening.id)
            return
        if known is None:
            deadline = self._clock() + left.total_seconds()
            # SECURITY: nobody is let in by an opening of which no event tells (C-73).
            await self._tell_opened(opening)
            known = self._known[app] = ActiveOpening(opening=opening, deadline=deadline)
        # SECURITY: an opening read again never lasts longer than it did before, whatever clocks say meanwhile (C-46).
        known.deadline = min(known.deadline, self._clock() + left.total_seconds())
        if not self._dirty.is_set() and self.is_open(known):
            self._shown.add(app)
            self._show(app, known)

    async def _end(self, app: str, glass: ActiveOpening) -> None:
        self._hide(app)
        del self._known[app]
        opening = glass.opening
        self._remember(opening.id)
        self._tell_ended(opening.id)
        self._unnoted.add(opening.id)
        expired = self._clock() >= glass.deadline - _NEARLY
        self._over(opening)
        what = EXPIRED if expired else CLOSED
        if await self._first(f"glass:{opening.id}:{what}"):
            self._told(what, opening)

    async def _tell_opened(self, opening: Opening) -> None:
        """Once for the fleet at first; a gateway that finds it later says so too."""
        here = await self._first(f"glass:{opening.id}:{OPENED}:{self._gateway}")
        first = await self._first(f"glass:{opening.id}:{OPENED}")
        if first or (here and self._now() - opening.opened_at >= _LATE):
            self._told(OPENED, opening)

    async def _first(self, name: str) -> bool:
        """Whether nobody did it before. Where Redis cannot say, it is told: rather twice than never."""
        try:
            return await self._once(name, _TOLD_ONCE)
        except StoreUnavailable:
            return True

    async def _note_again(self) -> None:
        """Another server answers, or the same one as it was some time ago: it may have forgotten."""
        self._unnoted.update(self._ended)


def facts_of(openings: Iterable[Opening]) -> list[dict[str, Any]]:
    """For reports: JSON-able."""
    return [{"app": opening.app, **opening.facts()} for opening in openings]
