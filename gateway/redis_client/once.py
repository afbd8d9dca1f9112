"""Work that is done once, and repeated until it succeeded: a key is marked as begun, then the work is done, then the key is marked as done.

A key that is only marked as begun holds up no other process: one that died in between, or lost Redis, is followed by the next that tries.
So the work must be idempotent.
"""

import hashlib
from datetime import timedelta
from typing import Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations

_BEGUN: Final = b"begun"
_DONE: Final = b"done"


class Once:
    """Keys `once:<hash>` under the prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}once:"
        self._operations = Operations(redis, "once")

    async def begin(self, name: str, ttl: timedelta) -> bool:
        """False when the work was done before. Raises StoreUnavailable."""
        before = await self._operations.run(self._redis.set(self._key(name), _BEGUN, nx=True, get=True, px=ttl))
        return before is None or before == _BEGUN

    async def finish(self, name: str, ttl: timedelta) -> None:
        """From here on `begin` returns False, for `ttl`. Raises StoreUnavailable."""
        await self._operations.run(self._redis.set(self._key(name), _DONE, px=ttl))

    def _key(self, name: str) -> str:
        return self._prefix + hashlib.sha256(name.encode()).hexdigest()
