"""The refresh of sessions' tokens: one attempt at a time for each session, over every worker and gateway, and the requests that wait for it.

The holder of the lease in Redis makes the attempt; the others wait for the lease and find that the record has changed. A worker has at
most one Task for each session, however many requests need it. Refreshes begin with requests and with open exchanges, never by
themselves: the tokens of a person who is not there are not renewed.
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

_LEASE_WAIT: Final = timedelta(seconds=15)  # longer than a provider takes, with userinfo and keys
_RETRY_SECONDS: Final = 1.0
_STORE_PAUSE: Final = 5.0
_MOST_PAUSES: Final = 10_000


@dataclass(slots=True, eq=False)
class _Running:
    """One attempt. `settled`: requests wait no longer, though the attempt itself may go on."""

    settled: asyncio.Future[None]
    task: asyncio.Task[None] | None = None

    def settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


class Refresher:
    """`client_of` gives the client of a session's provider, None when the configuration has that provider no more; `on_change(key)` is
    called for each record that was rewritten or ended; `clock` is monotonic, `now` the wall clock.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        leases: Leases,
        attempts: Attempts,
        renewal: Renewal,
        client_of: Callable[[Session], RefreshClient | None],
        on_change: Callable[[str], None],
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
        self._on_change = on_change
        self._audit = audit
        self._clock = clock
        self._now = now
        self._lease = lease
        self._running: dict[str, _Running] = {}
        self._paused: dict[str, float] = {}  # by key, until when this worker makes no attempt

    async def close(self, seconds: float = 15.0) -> None:
        """Wait for running attempts, at most `seconds`: new tokens that are not stored are lost."""
        tasks = {running.task for running in self._running.values() if running.task is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- RenewalHook --------------------------------------------------------------------------------------------------

    def schedule(self, session: LiveSession, now: float) -> None:
        if session.session.access_expires_at is None:
            return
        client = self._client_of(session.session)
        left = time_left(session.session, client.settings, self._now()) if client is not None else None
        if left is None:
            return
        due, ends = left
        session.tokens_end = now + ends.total_seconds()
        session.renewal_due = max(now + due.total_seconds(), self._paused.get(session.key, 0.0))

    def renew(self, session: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        running = self._running.get(session.key)
        if running is None:
            paused = self._paused.get(session.key, 0.0)
            if now < paused:
                session.renewal_due = paused
                return None
            running = self._start_attempt(session)
        if now < session.tokens_end or running.settled.done():
            session.renewal_due = (
                now + _RETRY_SECONDS if running.settled.done() else min(now + _RETRY_SECONDS, session.tokens_end)
            )
            return None
        return running.settled

    # --- one attempt --------------------------------------------------------------------------------------------------

    def _start_attempt(self, session: LiveSession) -> _Running:
        loop = asyncio.get_running_loop()
        running = self._running[session.key] = _Running(loop.create_future())
        running.task = loop.create_task(self._run_attempt(session, running))
        return running

    async def _run_attempt(self, session: LiveSession, running: _Running) -> None:
        pause = _STORE_PAUSE
        try:
            pause = await self._attempt_leased(session, running)
        except StoreUnavailable as error:
            _log.warning("a session's tokens wait for Redis: %s", error.detail)
        except Exception:
            _log.exception("a session's tokens could not be refreshed")
        finally:
            if pause:
                self._pause_session(session, pause)
            else:
                self._paused.pop(session.key, None)
                self._on_change(session.key)
            del self._running[session.key]
            running.settle()

    def _pause_session(self, session: LiveSession, seconds: float) -> None:
        now = self._clock()
        if len(self._paused) >= _MOST_PAUSES:
            self._paused = {key: until for key, until in self._paused.items() if until > now}
        if len(self._paused) < _MOST_PAUSES:
            self._paused[session.key] = now + seconds
        session.renewal_due = now + seconds

    async def _attempt_leased(self, session: LiveSession, running: _Running) -> float:
        """0 when the record changed or is gone; else the seconds until the next attempt. Raises StoreUnavailable."""
        try:
            async with self._leases.hold(f"refresh:{session.key}", wait=_LEASE_WAIT, lease=self._lease) as lease:
                return await self._attempt_under_lease(session, lease, running)
        except LeaseBusy:
            return _RETRY_SECONDS

    async def _attempt_under_lease(self, session: LiveSession, lease: Lease, running: _Running) -> float:
        stored = await self._store.fetch(session.key, session.host, session.session.app)
        if stored is None:
            return 0.0
        client = self._client_of(stored.session)
        left = time_left(stored.session, client.settings, self._now()) if client is not None else None
        if client is None or left is None or left[0] > timedelta(0):
            return 0.0  # another worker was quicker
        past = await self._attempts.read(session.key)
        if past.pause:
            return past.pause.total_seconds()
        if past.failures:
            running.settle()  # no request waits for a provider that failed the last time
        await self._attempts.begin(session.key, past.failures)
        # SECURITY: a holder that lost the lease may not be the only one, and a token that is sent twice ends its family.
        if lease.lost.is_set():
            return _RETRY_SECONDS
        return await self._make_attempt(session.key, stored, client, past)

    async def _make_attempt(self, key: str, stored: Stored, client: RefreshClient, past: Past) -> float:
        try:
            renewed = await self._renewal.attempt(key, stored, client)
        except (SessionOver, Overtaken):
            return 0.0
        except Exception as error:
            reason = ends_the_session(error)
            if reason is not None:
                return await self._end_session(key, stored, client, reason, past)
            return await self._record_failure(key, stored.session, error, past)
        await self._attempts.clear(key)
        rotated = renewed.session.refresh_token != renewed.before.refresh_token
        claims_changed = renewed.session.identity != renewed.before.identity
        self._emit(audit.TOKEN_REFRESHED, stored.session, rotated=rotated, claims_changed=claims_changed)
        return 0.0

    async def _record_failure(self, key: str, session: Session, error: Exception, past: Past) -> float:
        failures = past.failures + 1
        pause = pause_after(failures) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads sessions that failed together
        reason = failure_of(error)
        if reason == "defect":
            _log.error("a session's tokens could not be refreshed", exc_info=error)
        self._emit(audit.TOKEN_REFRESH_FAILED, session, reason=reason, failures=failures, ended=False)
        await self._attempts.fail(key, failures, pause)
        return pause.total_seconds()

    async def _end_session(self, key: str, stored: Stored, client: RefreshClient, reason: str, past: Past) -> float:
        """The provider or the directory refused the person: end the session; a new sign-in decides."""
        session = stored.session
        found = await self._store.fetch(key, session.key_host, session.app)
        if found is None:
            return 0.0
        if reason == "invalid_grant" and found.session.refresh_token != session.refresh_token:
            return 0.0  # another attempt had used the token, and stored the new one
        # An unfinished attempt may have used the token: the provider's response was lost with its worker.
        reason = "answer_lost" if reason == "invalid_grant" and past.unfinished else reason
        await self._store.revoke(key)
        await self._attempts.clear(key)
        self._emit(audit.TOKEN_REFRESH_FAILED, session, reason=reason, failures=past.failures + 1, ended=True)
        self._emit(audit.SESSION_REVOKED, session, by="refresh")
        self._on_change(key)
        if found.session.refresh_token is not None and reason not in ("invalid_grant", "answer_lost"):
            await client.revoke(found.session.refresh_token, found.session.access_token)
        return 0.0

    def _emit(self, event: str, session: Session, **facts: Any) -> None:
        self._audit.emit(event, app=session.app, session=session.sid, email=session.identity.email, **facts)
