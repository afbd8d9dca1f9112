"""What time it is for all workers of all gateways: the clock of Redis, which each of them carries on by its own monotonic clock.

Workers on two machines compare moments by it that lie milliseconds apart; their own wall clocks differ by more. It is asked for now and then in
the background, so that nobody waits for it. Until Redis has said anything it is the wall clock.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations

_ASK: Final = (
    "return redis.call('TIME')"  # as a script, because that has a key: in a cluster all ask the one server that has it
)
_EVERY: Final = 10.0
_SOON: Final = 1.0
_SLOW: Final = 0.1  # seconds: an answer that took so long says little, and is taken for want of a better one only


class FleetTime:
    """`clock` is monotonic, `wall` seconds since 1970."""

    def __init__(self, redis: Redis, prefix: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._redis = redis
        self._key = f"{prefix}time"
        self._clock = clock
        self._wall = wall
        self._ahead: float | None = None  # of the monotonic clock
        self._operations = Operations()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._wall() if self._ahead is None else self._clock() + self._ahead

    async def run(self) -> None:
        """Until cancelled: ask Redis."""
        while True:
            known = False
            with contextlib.suppress(StoreUnavailable):
                known = await self.ask()
            await asyncio.sleep(_EVERY if known else _SOON)

    async def ask(self) -> bool:
        """Whether the answer was quick enough to say much. Raises StoreUnavailable."""
        begun = self._clock()
        question: Awaitable[Any] = self._redis.eval(_ASK, 1, self._key)
        seconds, microseconds = map(int, await self._operations.run(question))
        took = self._clock() - begun
        if took < _SLOW or self._ahead is None:
            self._ahead = seconds + microseconds / 1_000_000 - (begun + took / 2)
        return took < _SLOW
