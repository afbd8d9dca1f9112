"""One clock for all workers of all gateways: that of Redis, continued in each worker by its monotonic clock.

Workers on two machines compare moments by it that lie milliseconds apart; their own wall clocks differ by more. It is read in the
background, so that no request waits for it. Until the first reply it is the wall clock.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.background import repeat
from gateway.redis_client.client import Operations

_READ: Final = "return redis.call('TIME')"  # a script has a key: in a cluster, all workers read the clock of the server that holds it
_EVERY: Final = 10.0
_SOON: Final = 1.0
_SLOW: Final = 0.1  # seconds: a reply that took so long is inexact, and counts only until there is a better one


class FleetTime:
    """`clock` is monotonic, `wall` seconds since 1970."""

    def __init__(self, redis: Redis, prefix: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._redis = redis
        self._key = f"{prefix}time"
        self._clock = clock
        self._wall = wall
        self._ahead: float | None = None  # of the monotonic clock
        self._operations = Operations(redis, "fleet_time")

    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall() if self._ahead is None else self._clock() + self._ahead

    async def run(self) -> None:
        """Until cancelled: read the clock of Redis, again and again."""
        await repeat("fleet_time", self._step)

    async def _step(self) -> float:
        with contextlib.suppress(StoreUnavailable):
            if await self.read():
                return _EVERY
        return _SOON

    async def read(self) -> bool:
        """Read the clock of Redis; whether the reply was quick enough to be exact. Raises StoreUnavailable."""
        sent_at = self._clock()
        reading: Awaitable[Any] = self._redis.eval(_READ, 1, self._key)
        seconds, microseconds = map(int, await self._operations.run(reading))
        took = self._clock() - sent_at
        if took < _SLOW or self._ahead is None:
            self._ahead = seconds + microseconds / 1_000_000 - (sent_at + took / 2)
        return took < _SLOW
