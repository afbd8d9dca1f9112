"""Idle timeouts on their way to Redis.

A request pushes its session's idle deadline ahead in memory; Redis learns of it a little later, at most once a minute a
session, and early enough that the record does not end before the message. The message carries the deadline of the last
request, so waiting loses nothing. A record that an old key sealed is sealed anew on this occasion.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.sessions.live import LiveSession
from gateway.sessions.store import SessionStore

_LONGEST_WAIT: Final = 60.0
_AGAIN: Final = 1.0


class Touches:
    """Sessions that were used, ordered by when Redis must hear of it."""

    def __init__(self) -> None:
        self._waiting: dict[str, LiveSession] = {}
        self._due: dict[int, list[str]] = {}  # by the quarter of a second, in which many are due together

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, live: LiveSession, now: float) -> None:
        """Have Redis told of this session's use."""
        wait = min(_LONGEST_WAIT, live.idle / 4, max(live.stored_deadline - now, 0.0) / 2)
        live.touch_due = now + _LONGEST_WAIT
        if live.key not in self._waiting:
            self._put(live.key, now + wait)
        self._waiting[live.key] = live  # after a reload the newer object speaks for the record

    async def flush(self, store: SessionStore, now: float, *, everything: bool = False) -> None:
        """Send what is due; what cannot be sent is tried again. Raises StoreUnavailable."""
        due: dict[str, LiveSession] = {}
        for quarter in [quarter for quarter in self._due if everything or quarter <= now * 4]:
            due.update((key, self._waiting.pop(key)) for key in self._due.pop(quarter))
        if not due:
            return
        deadlines = {key: live.idle_deadline for key, live in due.items()}
        for live in due.values():
            live.touch_due = now  # a use from here on is not in this message
        try:
            await store.touch(_ttls(deadlines, now))
        except StoreUnavailable:
            for key, live in due.items():
                if key not in self._waiting:
                    self._waiting[key] = live
                    self._put(key, now + _AGAIN)
            raise
        for key, live in due.items():
            live.stored_deadline = max(live.stored_deadline, deadlines[key])
        old = [key for key, live in due.items() if live.old_key]
        if old:
            await store.reseal(old)

    def _put(self, key: str, due: float) -> None:
        quarter = int(due * 4)
        keys = self._due.get(quarter)
        if keys is None:
            self._due[quarter] = [key]
        else:
            keys.append(key)


def _ttls(deadlines: Mapping[str, float], now: float) -> dict[str, timedelta]:
    return {key: timedelta(seconds=deadline - now) for key, deadline in deadlines.items() if deadline > now}
