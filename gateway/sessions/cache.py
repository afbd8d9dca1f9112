"""The sessions this worker knows, kept true by push: `peek` answers without waiting, `load` asks Redis.

The invariant: a session that was deleted does not stay cached. What is announced while its record is read (`SessionLoader`) is read
again, not kept. When Redis cannot be heard (`InvalidationListener`), nothing is served from here, unless the operator said that sessions outlast
an outage (`outage`): then those that were known when trust ended, while the server that has their record does not answer at
all. Only sessions that exist are kept: strangers' cookies cannot fill it.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task
from gateway.sessions.inflight import Hear, SessionLoader
from gateway.sessions.live import LiveSession
from gateway.sessions.open_exchanges import Closer, Streams
from gateway.sessions.records import SessionRef
from gateway.sessions.renewal_hook import NoRenewal, RenewalHook
from gateway.sessions.store import SessionStore
from gateway.sessions.touch_queue import Touches

__all__ = ["SESSION_ENDED", "SESSION_EXPIRED", "LiveSession", "SessionCache"]
SESSION_ENDED: Final = "session ended"
SESSION_EXPIRED: Final = "session expired"

_log = logging.getLogger("doorward.sessions")
_SECOND_CHANCES: Final = 8
_RECHECKS_AT_ONCE: Final = 16
_CLOCKS_DIFFER: Final = 0.1  # seconds: Redis measures the same time a little differently


class SessionCache:
    """`sources` announce changes, `clock` is monotonic, `limit` bounds the number of sessions kept.

    `outage` is how long, in seconds, sessions that are known outlast a Redis that does not answer; none: they do not.
    `tick` is how often, in seconds, expired streams are looked for and idle timeouts sent; `ping_every` as in Tracking.
    `expired(live, why)` is told of each session that this worker saw end by itself; why is "idle" or "lifetime".
    `attendant` is asked when a session's `attention_due` is past.
    """

    def __init__(
        self,
        store: SessionStore,
        sources: Sources,
        clock: Callable[[], float],
        *,
        limit: int = 100_000,
        tick: float = 1.0,
        ping_every: float = 1.0,
        outage: float = 0.0,
        expired: Callable[[LiveSession, str], None] = lambda live, why: None,
        attendant: RenewalHook | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limit = limit
        self._tick = tick
        self._outage = outage
        self._expired = expired
        self._attendant: RenewalHook = attendant or NoRenewal()
        self._entries: OrderedDict[str, LiveSession] = OrderedDict()
        self._loading = SessionLoader(store, self._attendant, clock, self._is_trusted, self._arrived)
        self._touches = Touches()
        self._streams = Streams()
        self._doubtful: set[str] = set()  # keys with streams whose record may be gone
        self._doubt = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ears = InvalidationListener(
            sources,
            store.record_prefix,
            on_change=self.forget,
            on_reset=self._reset,
            on_trust_lost=self._lost,
            before_trust=store.end_again,
            clock=clock,
            ping_every=ping_every,
        )

    @property
    def size(self) -> int:
        return len(self._entries)

    @property
    def trusted(self) -> bool:
        """Whether changes are heard, and so whether `peek` answers."""
        return self._is_trusted()

    def _is_trusted(self) -> bool:
        return self._clock() < self._ears.trusted_until

    @property
    def silent(self) -> bool:
        """Whether a server that announces changes does not answer at all."""
        return self._ears.outage

    @property
    def outlasting(self) -> bool:
        """Whether an outage is being outlasted: `peek` answers with what was known before it."""
        return self._ears.outage and self._clock() < self._ears.trust_lost_at + self._outage

    def start(self) -> None:
        """Begin to listen, in the running loop."""
        work = (self._ears.run, self._sweep, self._recheck_on)
        self._tasks = [asyncio.create_task(self._again_and_again(step)) for step in work]

    async def close(self) -> None:
        """Stop, and tell Redis of the last requests."""
        await asyncio.gather(*map(end_task, self._tasks))
        await self._ears.close()
        self._entries.clear()
        try:
            await self._touches.flush(self._store, self._clock(), everything=True)
        except StoreUnavailable:
            _log.warning("the last idle timeouts could not be stored")

    # --- a request's side: the hot path -------------------------------------------------------------------------------

    def peek(self, key: str, host: str) -> LiveSession | None:
        """The session if it can be answered for without asking; None says nothing about it: `load` knows."""
        live = self._entries.get(key)
        if live is None:
            return None
        now = self._clock()
        # SECURITY: trust ends by the clock: a worker that was stopped for an hour must not serve what it knew (C-44).
        if now >= live.idle_deadline or live.host != host:
            return None
        if now >= self._ears.trusted_until:
            return live if self._outlasts(key, now) else None  # nobody could write down what an attendant brought
        if now >= live.attention_due and self._attendant.attend(live, now) is not None:
            return None
        return live

    def _outlasts(self, key: str, now: float) -> bool:
        """Whether a session may be served that cannot be confirmed, for as long as the operator allowed."""
        # SECURITY: only while its server is silent: what answers is asked, and a sign-out there counts at once (C-44).
        return now < self._ears.trust_lost_at + self._outage and self._ears.unreachable(key)

    def touch(self, live: LiveSession) -> None:
        """The session was used: its idle timeout starts anew. Nothing wakes a session that is over."""
        now = self._clock()
        if now >= live.idle_deadline:
            return
        deadline = now + live.idle
        # SECURITY: constant traffic does not carry a session past its lifetime (C-46).
        live.idle_deadline = deadline if deadline < live.expires_deadline else live.expires_deadline
        if now >= live.touch_due:
            self._touches.add(live, now)

    def ask(self, key: str, host: str, app: str, hear: Hear) -> None:
        """Have the session as Redis has it now told to `hear`, later; None when there is none for this host and app.

        Where the attendant has begun something worth waiting for, as it is afterwards.
        """
        self._loading.ask((key, host, app), hear)

    async def load(self, key: str, host: str, app: str) -> LiveSession | None:
        """The same, waited for. Raises StoreUnavailable."""
        return await _heard(partial(self.ask, key, host, app))

    def attach(self, live: LiveSession, closer: Closer) -> None:
        """Have `closer(reason)` called when the session ends; every attach needs its detach."""
        self._streams.attach(live, closer)
        if self._entries.get(live.key) is not live:
            # The session may have ended while this exchange was being admitted: nobody would announce it again.
            self._question([live.key])

    def detach(self, live: LiveSession, closer: Closer) -> None:
        self._streams.detach(live, closer)

    # --- what Redis says ----------------------------------------------------------------------------------------------

    def forget(self, key: str) -> None:
        """The record changed or is gone: drop it, keep no reading that is under way, look after its streams."""
        live = self._entries.pop(key, None)
        if live is not None:
            self._tell_expiry(live)
        self._loading.spoil(key)
        if self._streams.live(key) is not None:
            self._question([key])

    def _tell_expiry(self, live: LiveSession) -> None:
        """Redis announces a record that timed out as it announces one that was deleted: our own clock knows which it was."""
        now = self._clock() + _CLOCKS_DIFFER
        if now >= live.expires_deadline:
            self._expired(live, "lifetime")
        elif now >= live.idle_deadline:
            self._expired(live, "idle")

    def _reset(self) -> None:
        """Anything may have changed."""
        self._entries.clear()
        self._doubt_all()

    def _lost(self) -> None:
        """Changes are not heard: what is known counts no more, or for the length of an outage."""
        if not self._outage:
            self._entries.clear()
        self._doubt_all()

    def _doubt_all(self) -> None:
        self._loading.spoil_all()
        self._question(self._streams.keys())

    # --- reading ------------------------------------------------------------------------------------------------------

    def _arrived(self, which: SessionRef, live: LiveSession | None, spoiled: bool) -> None:
        if self._is_trusted():
            if live is not None and not spoiled:
                self._keep(live)
        elif self._outage:
            self._note(*which[:2], live)

    def _note(self, key: str, host: str, live: LiveSession | None) -> None:
        """What is known for an outage; trust begins by forgetting it."""
        if live is not None:
            self._keep(live)
        elif (known := self._entries.get(key)) is not None and known.host == host:
            del self._entries[key]

    def _keep(self, live: LiveSession) -> None:
        entries = self._entries
        entries[live.key] = live
        self._streams.renew(live)
        if len(entries) <= self._limit:
            return
        now = self._clock()
        for _ in range(_SECOND_CHANCES):
            oldest = next(iter(entries))
            if entries[oldest].touch_due <= now:  # not used within the last minute
                break
            entries.move_to_end(oldest)
        entries.popitem(last=False)

    # --- in the background --------------------------------------------------------------------------------------------

    def _question(self, keys: Iterable[str]) -> None:
        self._doubtful.update(keys)
        self._doubt.set()

    async def _again_and_again(self, step: Callable[[], Awaitable[None]]) -> None:
        """What keeps the cache true must not end with a surprise."""
        while True:
            try:
                await step()
            except Exception:
                _log.exception("the session cache met an error that it does not know")
            await asyncio.sleep(self._tick)

    async def _recheck_on(self) -> None:
        """Read again what streams depend on, as soon as it is in doubt."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            while self._doubtful:
                some = [self._doubtful.pop() for _ in range(min(len(self._doubtful), _RECHECKS_AT_ONCE))]
                answers = await asyncio.gather(*map(self._recheck, some), return_exceptions=True)
                unknown = [key for key, answer in zip(some, answers, strict=True) if answer is not None]
                if unknown:
                    self._question(unknown)
                    await asyncio.sleep(self._tick)

    async def _recheck(self, key: str) -> None:
        """End the streams of a session that is gone. Raises StoreUnavailable when Redis cannot say."""
        live = self._streams.live(key)
        if live is None:
            return
        found = await _heard(partial(self._loading.ask, (key, live.host, live.session.app), attended=False))
        if found is None:
            self._streams.end(key, SESSION_ENDED)
        else:
            self._streams.renew(found)

    async def _sweep(self) -> None:
        now = self._clock()
        expired, idle = self._streams.past(now)
        for key in expired:
            self._entries.pop(key, None)
            self._streams.end(key, SESSION_EXPIRED)
        self._question(idle)
        for live in self._streams.due(now):
            self._attendant.attend(live, now)  # nobody asks for what is open anyway: it must not outlive its welcome
        try:
            await self._touches.flush(self._store, now)
        except StoreUnavailable:
            _log.debug("idle timeouts wait for Redis")


async def _heard(ask: Callable[[Hear], None]) -> LiveSession | None:
    """What is told of a session. Raises a Refusal."""
    future: asyncio.Future[LiveSession | None] = asyncio.get_running_loop().create_future()

    def hear(live: LiveSession | None, error: Refusal | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(live)

    ask(hear)
    return await future
