"""The queue of idle timeouts for Redis.

A request extends its session's idle deadline in memory; it is written to Redis a little later, at most once a minute for a
session, and before the record ends. The deadline that is written is that of the last request, so waiting loses nothing. A
record that an old key sealed is sealed with the first key at the same time.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.sessions.live import LiveSession
from gateway.sessions.store import SessionStore

_LONGEST_WAIT: Final = 60.0
_AGAIN: Final = 1.0


class TouchQueue:
    """Sessions that were used, by the time when their deadline must be written."""

    def __init__(self) -> None:
        self._waiting: dict[str, LiveSession] = {}
        self._due: dict[int, list[str]] = {}  # by quarters of a second on the monotonic clock: many are due together

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, session: LiveSession, now: float) -> None:
        """This session was used: queue its deadline."""
        wait = min(_LONGEST_WAIT, session.idle / 4, max(session.stored_deadline - now, 0.0) / 2)
        session.touch_due = now + _LONGEST_WAIT
        if session.key not in self._waiting:
            self._schedule(session.key, now + wait)
        self._waiting[session.key] = session  # after a reload, the newer object stands for the record

    async def flush(self, store: SessionStore, now: float, *, everything: bool = False) -> None:
        """Write the deadlines that are due; those that cannot be written are tried again. Raises StoreUnavailable."""
        due: dict[str, LiveSession] = {}
        for quarter in [quarter for quarter in self._due if everything or quarter <= now * 4]:
            due.update((key, self._waiting.pop(key)) for key in self._due.pop(quarter))
        if not due:
            return
        deadlines = {key: session.idle_deadline for key, session in due.items()}
        for session in due.values():
            session.touch_due = now  # a use from here on is not written with this one
        try:
            await store.touch(_ttls(deadlines, now))
        except StoreUnavailable:
            for key, session in due.items():
                if key not in self._waiting:
                    self._waiting[key] = session
                    self._schedule(key, now + _AGAIN)
            raise
        for key, session in due.items():
            session.stored_deadline = max(session.stored_deadline, deadlines[key])
        old = [key for key, session in due.items() if session.old_key]
        if old:
            await store.reseal(old)

    def _schedule(self, key: str, due: float) -> None:
        quarter = int(due * 4)
        keys = self._due.get(quarter)
        if keys is None:
            self._due[quarter] = [key]
        else:
            keys.append(key)


def _ttls(deadlines: Mapping[str, float], now: float) -> dict[str, timedelta]:
    return {key: timedelta(seconds=deadline - now) for key, deadline in deadlines.items() if deadline > now}
