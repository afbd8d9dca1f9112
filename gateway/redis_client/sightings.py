"""When something was seen last by any gateway of the fleet, for `doorward check --online`: a moment under a name, for a week.

Names are of the configuration and never of a person. Nothing depends on a sighting, so one that cannot be written is left out.
"""

import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations

REMEMBERED: Final = timedelta(days=7)
_LONGEST: Final = 10  # digits: seconds since 1970


class Sightings:
    """Keys `seen:<name>` under the prefix."""

    def __init__(self, redis: Redis, prefix: str, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._prefix = f"{prefix}seen:"
        self._now = now
        self._operations = Operations(redis, "sighting")

    async def note(self, names: Iterable[str]) -> None:
        """Each of these was seen now."""
        moment = str(int(self._now().timestamp()))
        with contextlib.suppress(StoreUnavailable):
            for name in names:
                await self._operations.run(self._redis.set(self._prefix + name, moment, px=REMEMBERED))

    async def last(self, name: str) -> datetime | None:
        """When it was seen last; None: not within a week. Raises StoreUnavailable."""
        raw = await self._operations.run(self._redis.get(self._prefix + name))
        text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else ""
        return datetime.fromtimestamp(int(text), UTC) if text.isdecimal() and len(text) <= _LONGEST else None
