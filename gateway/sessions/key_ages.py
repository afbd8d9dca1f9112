"""Since when each key of the ring is in use: each worker notes a key that is new, and the first note stays.

Keys `key:<mark>` under the prefix; a mark is a keyed hash, and no key follows from it. Nothing is decided by these notes.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

_KEPT: Final = timedelta(days=5 * 365)  # after the last start of a worker that has the key
_NOTED_EVERY: Final = timedelta(days=1)
_AFTER_FAILURE: Final = timedelta(minutes=1)


class KeyAges:
    """`now` gives aware UTC."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._names = [f"{prefix}key:{mark}" for mark in ring.purpose("key age").marks(("key",))]
        self._now = now
        self._operations = Operations(redis, "key_ages")

    async def note(self) -> float:
        """Note each key that has no note, and keep the notes; the seconds until the next time."""
        try:
            for name in self._names:
                moment = str(int(self._now().timestamp()))
                await self._operations.run(self._redis.set(name, moment, nx=True, px=_KEPT))
                await self._operations.run(self._redis.pexpire(name, _KEPT))
        except StoreUnavailable:
            return _AFTER_FAILURE.total_seconds()
        return _NOTED_EVERY.total_seconds()

    async def read(self) -> list[datetime | None]:
        """Since when each key of the ring is in use, in its order; None: no worker has had it. Raises StoreUnavailable."""
        found: list[Any] = [await self._operations.run(self._redis.get(name)) for name in self._names]
        return [_moment(value) for value in found]


def _moment(value: Any) -> datetime | None:
    try:
        return None if value is None else datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
