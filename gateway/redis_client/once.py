"""What is to be done once, and repeated until it was: a mark is begun, then the thing is done, then the mark is finished.

A mark that was only begun stops nobody: whoever died in between, or lost Redis, is followed by the next who tries. Whatever is done
under a mark must bear being done twice.
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
        self._operations = Operations()

    async def begin(self, name: str, ttl: timedelta) -> bool:
        """False when it was done before. Raises StoreUnavailable."""
        before = await self._operations.run(self._redis.set(self._key(name), _BEGUN, nx=True, get=True, px=ttl))
        return before is None or before == _BEGUN

    async def finish(self, name: str, ttl: timedelta) -> None:
        """From here on `begin` says False. Raises StoreUnavailable."""
        await self._operations.run(self._redis.set(self._key(name), _DONE, px=ttl))

    def _key(self, name: str) -> str:
        return self._prefix + hashlib.sha256(name.encode()).hexdigest()
