"""Reads of session records that are in flight: one read for all requests that need the session, and none that is kept when the record was
invalidated meanwhile.

Nothing here waits: the result goes to a callback, so a request's session is usually read without a Task.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.sessions.live import LiveSession, live_from
from gateway.sessions.records import Found, SessionRef, Stored, Unanswered
from gateway.sessions.renewal_hook import RenewalHook
from gateway.sessions.store import SessionStore

#: Takes the session, None where there is none; or the refusal when it could not be read.
OnResult = Callable[[LiveSession | None, Refusal | None], None]


class InflightRead:
    """One read of a record. `waiters` are the callbacks, each with whether the session may be renewed first.

    `shared`: another request may wait for it too. `invalidated`: the record was invalidated since the read began. `started` is on the
    worker's monotonic clock, `attempts` counts the reads from Redis.
    """

    __slots__ = ("attempts", "invalidated", "session_ref", "shared", "started", "waiters")

    def __init__(self, session_ref: SessionRef, on_result: OnResult, *, renew: bool, shared: bool) -> None:
        self.session_ref = session_ref
        self.waiters = [(on_result, renew)]
        self.shared = shared
        self.invalidated = False
        self.started = 0.0
        self.attempts = 0


class InflightReads:
    """The reads in flight, by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[InflightRead]] = {}

    def shared(self, session_ref: SessionRef) -> InflightRead | None:
        """The read in flight that another request may wait for."""
        for read in self._by_key.get(session_ref[0], ()):
            if read.shared and read.session_ref == session_ref:
                return read
        return None

    def add(self, read: InflightRead) -> None:
        """The read begins."""
        key = read.session_ref[0]
        others = self._by_key.get(key)
        if others is None:
            self._by_key[key] = [read]
        else:
            others.append(read)

    def remove(self, read: InflightRead) -> None:
        """The read has ended."""
        key = read.session_ref[0]
        reads = self._by_key[key]
        reads.remove(read)
        if not reads:
            del self._by_key[key]

    def invalidate(self, key: str) -> None:
        """The record changed: its reads are not shared from here on."""
        _mark_invalidated(self._by_key.get(key, ()))

    def invalidate_all(self) -> None:
        """Any record may have changed."""
        for reads in self._by_key.values():
            _mark_invalidated(reads)


def _mark_invalidated(reads: Iterable[InflightRead]) -> None:
    for read in reads:
        read.invalidated = True
        read.shared = False


_log = logging.getLogger("doorward.sessions")
_ATTEMPTS: Final = 3
_RENEWAL_SECONDS: Final = 5.0  # how long a request waits for a renewal


class SessionLoader:
    """`clock` is monotonic; `trusted` says whether invalidations arrive.

    `on_loaded(session_ref, session, invalidated)` is called for each session that was read, with None where there is none, before the
    callbacks of the requests.
    """

    def __init__(
        self,
        store: SessionStore,
        renewal: RenewalHook,
        clock: Callable[[], float],
        trusted: Callable[[], bool],
        on_loaded: Callable[[SessionRef, LiveSession | None, bool], None],
    ) -> None:
        self._store = store
        self._renewal = renewal
        self._clock = clock
        self._trusted = trusted
        self._on_loaded = on_loaded
        self._reads = InflightReads()
        self._tasks: set[asyncio.Task[None]] = set()
        self.invalidate = self._reads.invalidate
        self.invalidate_all = self._reads.invalidate_all

    def read(self, session_ref: SessionRef, on_result: OnResult, *, renew: bool = True) -> None:
        """Read the session; `on_result` is called later.

        `renew`: where a renewal must be waited for, `on_result` gets the session as it is afterwards.
        """
        trusted = self._trusted()
        # SECURITY: while no invalidations arrive, a read that began before a sign-out must not be shared (C-44).
        shared = self._reads.shared(session_ref) if trusted else None
        if shared is not None:
            shared.waiters.append((on_result, renew))
            return
        read = InflightRead(session_ref, on_result, renew=renew, shared=trusted)
        # SECURITY: the read is listed before Redis is read: an invalidation may overtake the reply (C-44).
        self._reads.add(read)
        self._begin_read(read)

    def _begin_read(self, read: InflightRead) -> None:
        read.invalidated = False
        read.attempts += 1
        read.started = self._clock()
        self._store.read(read.session_ref, partial(self._on_reply, read))

    async def _read_by_library(self, read: InflightRead) -> None:
        try:
            found: Found = await self._store.fetch(*read.session_ref, tokens=False)
        except StoreUnavailable as error:
            found = error
        except asyncio.CancelledError:
            self._finish(read, None, StoreUnavailable("the worker ends"))
            raise
        except Exception:
            _log.exception("a session could not be read")
            self._finish(read, None, Refusal("defect"))
            return
        self._on_reply(read, found)

    def _on_reply(self, read: InflightRead, found: Found) -> None:
        if isinstance(found, Unanswered):
            self._in_background(self._read_by_library(read))
        elif isinstance(found, StoreUnavailable):
            self._finish(read, None, found)
        else:
            self._on_record(read, found)

    def _on_record(self, read: InflightRead, found: Stored | None) -> None:
        session, error = None, None
        try:
            if found is not None:
                session = live_from(read.session_ref[0], found, read.started)
                self._renewal.schedule(session, read.started)
            if read.invalidated and read.attempts < _ATTEMPTS:
                self._begin_read(read)
                return
            self._on_loaded(read.session_ref, session, read.invalidated)
        except Exception:
            _log.exception("a session could not be kept")
            session, error = None, Refusal("defect")
        self._finish(read, session, error)

    def _finish(self, read: InflightRead, session: LiveSession | None, error: Refusal | None) -> None:
        self._reads.remove(read)
        due = session is not None and self._clock() >= session.renewal_due
        for on_result, renew in read.waiters:
            try:
                if due and renew and session is not None:
                    self._renew_first(read.session_ref, session, on_result)
                else:
                    on_result(session, error)
            except Exception:
                _log.exception("the callback for a session failed")  # the other requests wait for the session too

    def _renew_first(self, session_ref: SessionRef, session: LiveSession, on_result: OnResult) -> None:
        try:
            pending = self._renewal.renew(session, self._clock())
        except Exception:
            _log.exception("a session could not be renewed")
            on_result(None, Refusal("defect"))
            return
        if pending is None:
            on_result(session, None)
        else:
            self._in_background(self._read_after(pending, session_ref, on_result))

    async def _read_after(self, pending: "asyncio.Future[Any]", session_ref: SessionRef, on_result: OnResult) -> None:
        await asyncio.wait((pending,), timeout=_RENEWAL_SECONDS)
        self.read(session_ref, on_result, renew=False)

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
