"""Who refreshes a session's tokens, and who waits: one attempt at a time for each session, over every worker and replica.

The holder of the lease in Redis makes the attempt; everybody else waits for the lease, finds the record changed, and is
done. A worker has at most one Task for each session, however many requests ask. Refreshes begin with requests and with what
is open under a session, never by themselves: nobody's tokens are renewed who is not there.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.refresh import RefreshClient
from gateway.redis_client.leases import Lease, LeaseBusy, Leases
from gateway.sessions.live import LiveSession
from gateway.sessions.records import Stored
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.token_refresh.attempts import Attempts, Past
from gateway.token_refresh.renewal import Overtaken, Renewal, SessionOver, ends_the_session, failure_of
from gateway.token_refresh.schedule import pause_after, time_left

_log = logging.getLogger("doorward.refresh")

_OTHERS_WORK: Final = timedelta(seconds=15)  # longer than a provider takes, with userinfo and keys
_LOOK_AGAIN: Final = 1.0
_STORE_PAUSE: Final = 5.0
_MOST_PAUSES: Final = 10_000


@dataclass(slots=True, eq=False)
class _Running:
    """`settled`: nothing more is worth waiting for, though the attempt itself may go on."""

    settled: asyncio.Future[None]
    task: asyncio.Task[None] | None = None

    def settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


class Refresher:
    """`client_of` gives the provider of a session, None when it has none any more; `changed(key)` is told of each record
    that was rewritten or ended; `clock` is monotonic, `now` the wall clock."""

    def __init__(
        self,
        *,
        store: SessionStore,
        leases: Leases,
        attempts: Attempts,
        renewal: Renewal,
        client_of: Callable[[Session], RefreshClient | None],
        changed: Callable[[str], None],
        audit: Audit,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        lease: timedelta = timedelta(seconds=5),
    ) -> None:
        self._store = store
        self._leases = leases
        self._attempts = attempts
        self._renewal = renewal
        self._client_of = client_of
        self._changed = changed
        self._audit = audit
        self._clock = clock
        self._now = now
        self._lease = lease
        self._running: dict[str, _Running] = {}
        self._paused: dict[str, float] = {}  # until when this worker need not even ask Redis

    async def close(self, seconds: float = 15.0) -> None:
        """Let attempts come to their end: a provider's answer that is not stored is lost."""
        tasks = {running.task for running in self._running.values() if running.task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- Attendant ----------------------------------------------------------------------------------------------------

    def schedule(self, live: LiveSession, now: float) -> None:
        if live.session.access_expires_at is None:
            return
        client = self._client_of(live.session)
        left = time_left(live.session, client.settings, self._now()) if client is not None else None
        if left is None:
            return
        due, ends = left
        live.tokens_end = now + ends.total_seconds()
        live.attention_due = max(now + due.total_seconds(), self._paused.get(live.key, 0.0))

    def attend(self, live: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        running = self._running.get(live.key)
        if running is None:
            paused = self._paused.get(live.key, 0.0)
            if now < paused:
                live.attention_due = paused
                return None
            running = self._begin(live)
        if now < live.tokens_end or running.settled.done():
            live.attention_due = (
                now + _LOOK_AGAIN if running.settled.done() else min(now + _LOOK_AGAIN, live.tokens_end)
            )
            return None
        return running.settled

    # --- one attempt --------------------------------------------------------------------------------------------------

    def _begin(self, live: LiveSession) -> _Running:
        loop = asyncio.get_running_loop()
        running = self._running[live.key] = _Running(loop.create_future())
        running.task = loop.create_task(self._run(live, running))
        return running

    async def _run(self, live: LiveSession, running: _Running) -> None:
        pause = _STORE_PAUSE
        try:
            pause = await self._once(live, running)
        except StoreUnavailable as error:
            _log.warning("a session's tokens wait for Redis: %s", error.detail)
        except Exception:
            _log.exception("a session's tokens could not be refreshed")
        finally:
            if pause:
                self._pause(live, pause)
            else:
                self._paused.pop(live.key, None)
                self._changed(live.key)
            del self._running[live.key]
            running.settle()

    def _pause(self, live: LiveSession, seconds: float) -> None:
        now = self._clock()
        if len(self._paused) >= _MOST_PAUSES:
            self._paused = {key: until for key, until in self._paused.items() if until > now}
        if len(self._paused) < _MOST_PAUSES:
            self._paused[live.key] = now + seconds
        live.attention_due = now + seconds

    async def _once(self, live: LiveSession, running: _Running) -> float:
        """0 when the record is another one now, or gone; else how many seconds to leave it alone. Raises StoreUnavailable."""
        try:
            async with self._leases.hold(f"refresh:{live.key}", wait=_OTHERS_WORK, lease=self._lease) as lease:
                return await self._alone(live, lease, running)
        except LeaseBusy:
            return _LOOK_AGAIN

    async def _alone(self, live: LiveSession, lease: Lease, running: _Running) -> float:
        stored = await self._store.fetch(live.key, live.host, live.session.app)
        if stored is None:
            return 0.0
        client = self._client_of(stored.session)
        left = time_left(stored.session, client.settings, self._now()) if client is not None else None
        if client is None or left is None or left[0] > timedelta(0):
            return 0.0  # somebody was quicker
        past = await self._attempts.read(live.key)
        if past.pause:
            return past.pause.total_seconds()
        if past.failures:
            running.settle()  # nobody waits for a provider that failed the last time
        await self._attempts.begin(live.key, past.failures)
        # SECURITY: whoever lost the lease may not be alone any more, and one token sent twice ends its family.
        if lease.lost.is_set():
            return _LOOK_AGAIN
        return await self._attempt(live.key, stored, client, past)

    async def _attempt(self, key: str, stored: Stored, client: RefreshClient, past: Past) -> float:
        try:
            renewed = await self._renewal.attempt(key, stored, client)
        except (SessionOver, Overtaken):
            return 0.0
        except Exception as error:
            reason = ends_the_session(error)
            if reason is not None:
                return await self._end(key, stored, client, reason, past)
            return await self._fail(key, stored.session, error, past)
        await self._attempts.clear(key)
        rotated = renewed.session.refresh_token != renewed.before.refresh_token
        changed = renewed.session.identity != renewed.before.identity
        self._tell(audit.TOKEN_REFRESHED, stored.session, rotated=rotated, claims_changed=changed)
        return 0.0

    async def _fail(self, key: str, session: Session, error: Exception, past: Past) -> float:
        failures = past.failures + 1
        pause = pause_after(failures) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads sessions that failed together
        reason = failure_of(error)
        if reason == "defect":
            _log.error("a session's tokens could not be refreshed", exc_info=error)
        self._tell(audit.TOKEN_REFRESH_FAILED, session, reason=reason, failures=failures, ended=False)
        await self._attempts.fail(key, failures, pause)
        return pause.total_seconds()

    async def _end(self, key: str, stored: Stored, client: RefreshClient, reason: str, past: Past) -> float:
        """The provider, or the directory, wants no more of this person here: a new sign-in decides."""
        session = stored.session
        found = await self._store.fetch(key, session.key_host, session.app)
        if found is None:
            return 0.0
        if reason == "invalid_grant" and found.session.refresh_token != session.refresh_token:
            return 0.0  # it was refused because somebody else had used it, and theirs is stored
        # An attempt that never told its end may have spent the token: the provider's answer died with its worker.
        reason = "answer_lost" if reason == "invalid_grant" and past.unfinished else reason
        await self._store.revoke(key)
        await self._attempts.clear(key)
        self._tell(audit.TOKEN_REFRESH_FAILED, session, reason=reason, failures=past.failures + 1, ended=True)
        self._tell(audit.SESSION_REVOKED, session, by="refresh")
        self._changed(key)
        if found.session.refresh_token is not None and reason not in ("invalid_grant", "answer_lost"):
            await client.revoke(found.session.refresh_token, found.session.access_token)
        return 0.0

    def _tell(self, event: str, session: Session, **facts: Any) -> None:
        self._audit.event(event, app=session.app, session=session.sid, email=session.identity.email, **facts)
