"""The sessions that a worker knows, kept true by client-side caching: `peek` answers without waiting, `load` reads Redis.

The invariant: a session that was deleted does not stay cached. A record that is invalidated while it is read (`SessionLoader`) is read
again, not kept. While invalidations do not arrive (`InvalidationListener`), nothing is served from here, unless the operator lets sessions
outlast an outage (`outage`): then the ones that were known when trust ended, while the server that holds their record does not reply at
all. Only sessions that exist are kept: cookies of strangers cannot fill the cache.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.observability.background import repeat
from gateway.redis_client.invalidation import InvalidationListener, Sources, end_task
from gateway.sessions.inflight import OnResult, SessionLoader
from gateway.sessions.live import TOKEN_KEY, LiveSession
from gateway.sessions.open_exchanges import Closer, ExchangeRechecks, OpenExchanges
from gateway.sessions.records import SessionRef
from gateway.sessions.renewal_hook import NoRenewal, RenewalHook
from gateway.sessions.store import SessionStore
from gateway.sessions.touch_queue import TouchQueue

__all__ = ["SESSION_ENDED", "SESSION_EXPIRED", "LiveSession", "SessionCache"]
SESSION_ENDED: Final = "session ended"
SESSION_EXPIRED: Final = "session expired"

_log = logging.getLogger("doorward.sessions")
_SECOND_CHANCES: Final = 8
_CLOCKS_DIFFER: Final = 0.1  # seconds: Redis measures the same time a little differently


class SessionCache:
    """`sources` announce changes, `clock` is monotonic, `limit` bounds the number of sessions kept.

    `outage` is how long, in seconds, known sessions outlast a Redis that does not reply; 0: they do not.
    `tick` is how often, in seconds, expired exchanges are closed and idle timeouts sent; `ping_every` as in Tracking.
    `on_expired(session, reason)` is called for each session that this worker saw expire; the reason is "idle" or "lifetime".
    `renewal` is called when a session's `renewal_due` is past. `token_again` gives the session of an access token with open exchanges as it is
    now, as `load` does for a session.
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
        on_expired: Callable[[LiveSession, str], None] = lambda session, reason: None,
        renewal: RenewalHook | None = None,
        token_again: Callable[[LiveSession], Awaitable[LiveSession | None]] | None = None,
    ) -> None:
        self._token_again = token_again
        self._store = store
        self._clock = clock
        self._limit = limit
        self._tick = tick
        self._outage = outage
        self._on_expired = on_expired
        self._renewal: RenewalHook = renewal or NoRenewal()
        self._entries: OrderedDict[str, LiveSession] = OrderedDict()
        self._loader = SessionLoader(store, self._renewal, clock, self._is_trusted, self._on_loaded)
        self._touches = TouchQueue()
        self._exchanges = OpenExchanges()
        self._rechecks = ExchangeRechecks(self._exchanges, self._read_again, SESSION_ENDED, tick)
        self._tasks: list[asyncio.Task[None]] = []
        self._invalidation = InvalidationListener(
            sources,
            store.record_prefix,
            on_change=self.forget,
            on_reset=self._on_reset,
            on_trust_lost=self._on_trust_lost,
            before_trust=store.revoke_again,
            clock=clock,
            ping_every=ping_every,
        )

    @property
    def size(self) -> int:
        return len(self._entries)

    @property
    def trusted(self) -> bool:
        """Whether invalidations arrive, and so whether `peek` answers."""
        return self._is_trusted()

    def _is_trusted(self) -> bool:
        return self._clock() < self._invalidation.trusted_until

    @property
    def silent(self) -> bool:
        """Whether a server that announces changes does not reply at all."""
        return self._invalidation.outage

    @property
    def outlasting(self) -> bool:
        """Whether `peek` answers in an outage, with what was known before it."""
        return self._invalidation.outage and self._clock() < self._invalidation.trust_lost_at + self._outage

    def start(self) -> None:
        """Begin client-side caching, in the running loop."""
        work = (self._invalidation.run(), self._rechecks.run(), repeat("session_sweep", self._sweep, self._tick))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Stop, and write the last idle timeouts to Redis."""
        await asyncio.gather(*map(end_task, self._tasks))
        await self._invalidation.close()
        self._entries.clear()
        try:
            await self._touches.flush(self._store, self._clock(), everything=True)
        except StoreUnavailable:
            _log.warning("the last idle timeouts could not be stored")

    # --- for requests: the hot path -----------------------------------------------------------------------------------

    def peek(self, key: str, host: str) -> LiveSession | None:
        """The session if it is certain without Redis; None: `load` decides."""
        session = self._entries.get(key)
        if session is None:
            return None
        now = self._clock()
        # SECURITY: trust ends by the clock: a worker that was stopped for an hour must not serve what it knew (C-44).
        if now >= session.idle_deadline or session.host != host:
            return None
        if now >= self._invalidation.trusted_until:
            return session if self._served_in_outage(key, now) else None  # no renewal: its result could not be stored
        if now >= session.renewal_due and self._renewal.renew(session, now) is not None:
            return None
        return session

    def _served_in_outage(self, key: str, now: float) -> bool:
        """Whether a session may be served that cannot be confirmed, for as long as the operator allowed."""
        # SECURITY: only while its server does not reply: one that replies is read, and a sign-out there counts at once (C-44).
        return now < self._invalidation.trust_lost_at + self._outage and self._invalidation.unreachable(key)

    def touch(self, session: LiveSession) -> None:
        """The session was used: its idle timeout starts anew. A session that is over stays over."""
        now = self._clock()
        if now >= session.idle_deadline:
            return
        deadline = now + session.idle
        # SECURITY: constant traffic does not carry a session past its lifetime (C-46).
        session.idle_deadline = deadline if deadline < session.expires_deadline else session.expires_deadline
        if now >= session.touch_due:
            self._touches.add(session, now)

    def read(self, key: str, host: str, app: str, on_result: OnResult) -> None:
        """Read the session from Redis; `on_result` is called later, with None when there is none for this host and app.

        Where its renewal must be waited for, `on_result` gets the session as it is afterwards.
        """
        self._loader.read((key, host, app), on_result)

    async def load(self, key: str, host: str, app: str) -> LiveSession | None:
        """As `read`. Raises StoreUnavailable."""
        return await _result_of(partial(self.read, key, host, app))

    def attach(self, session: LiveSession, closer: Closer) -> None:
        """Call `closer(reason)` when the session ends; every attach needs its detach."""
        self._exchanges.attach(session, closer)
        if self._entries.get(session.key) is not session:
            # The session may have ended while this exchange was admitted: that is not announced again.
            self._rechecks.add([session.key])

    def recheck_tokens(self) -> None:
        """Access tokens may be over: look at those with open exchanges again."""
        self._rechecks.add(filter(_is_of_token, self._exchanges.keys()))

    def detach(self, session: LiveSession, closer: Closer) -> None:
        self._exchanges.detach(session, closer)

    # --- invalidation -------------------------------------------------------------------------------------------------

    def forget(self, key: str) -> None:
        """The record changed or is gone: drop the session, keep no read that is under way, recheck its open exchanges."""
        session = self._entries.pop(key, None)
        if session is not None:
            self._report_expiry(session)
        self._loader.invalidate(key)
        if self._exchanges.session_of(key) is not None:
            self._rechecks.add([key])

    def _report_expiry(self, session: LiveSession) -> None:
        """Redis announces a record that timed out like one that was deleted: our own clock tells them apart."""
        now = self._clock() + _CLOCKS_DIFFER
        if now >= session.expires_deadline:
            self._on_expired(session, "lifetime")
        elif now >= session.idle_deadline:
            self._on_expired(session, "idle")

    def _on_reset(self) -> None:
        """Any record may have changed."""
        self._entries.clear()
        self._recheck_all()

    def _on_trust_lost(self) -> None:
        """Invalidations do not arrive: what is known counts no more, or for the length of an outage."""
        if not self._outage:
            self._entries.clear()
        self._recheck_all()

    def _recheck_all(self) -> None:
        self._loader.invalidate_all()
        self._rechecks.add(self._exchanges.keys())

    # --- results of reads ---------------------------------------------------------------------------------------------

    def _on_loaded(self, session_ref: SessionRef, session: LiveSession | None, invalidated: bool) -> None:
        if self._is_trusted():
            if session is not None and not invalidated:
                self._keep(session)
        elif self._outage:
            self._keep_in_outage(*session_ref[:2], session)

    def _keep_in_outage(self, key: str, host: str, session: LiveSession | None) -> None:
        """Keep a session for an outage; when trust begins, all of them are dropped."""
        if session is not None:
            self._keep(session)
        elif (known := self._entries.get(key)) is not None and known.host == host:
            del self._entries[key]

    def _keep(self, session: LiveSession) -> None:
        entries = self._entries
        entries[session.key] = session
        self._exchanges.replace(session)
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

    async def _read_again(self, session: LiveSession) -> LiveSession | None:
        """The session of open exchanges, not renewed. Raises a Refusal when Redis cannot be read."""
        if self._token_again is not None and _is_of_token(session.key):
            return await self._token_again(session)
        session_ref = (session.key, session.host, session.session.app)
        return await _result_of(partial(self._loader.read, session_ref, renew=False))

    async def _sweep(self) -> None:
        now = self._clock()
        expired, idle = self._exchanges.expired(now)
        for key in expired:
            self._entries.pop(key, None)
            self._exchanges.close(key, SESSION_EXPIRED)
        self._rechecks.add(idle)
        for session in self._exchanges.renewal_due(now):
            self._renewal.renew(session, now)  # no request does it while an exchange stays open
        try:
            await self._touches.flush(self._store, now)
        except StoreUnavailable:
            _log.debug("idle timeouts wait for Redis")


async def _result_of(read: Callable[[OnResult], None]) -> LiveSession | None:
    """The result of one read. Raises a Refusal."""
    future: asyncio.Future[LiveSession | None] = asyncio.get_running_loop().create_future()

    def on_result(session: LiveSession | None, error: Refusal | None) -> None:
        if future.done():
            return  # the caller was cancelled
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(session)

    read(on_result)
    return await future


def _is_of_token(key: str) -> bool:
    return key.startswith(TOKEN_KEY)
