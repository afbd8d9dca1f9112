"""Which login attempts are used: a mark in Redis for each whose code the provider has redeemed or refused.

While a code is on its way to the provider its attempt is taken, so that of two requests with one state one proceeds. When the provider did not
answer, the attempt is free again, and the person may try once more. Keys `used:<hash>` under the prefix, as `SessionStore.consume` writes them.
"""

import hashlib
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations

#: Longer than the calls to a provider take; the mark of a worker that died ends by itself.
_TAKEN: Final = timedelta(seconds=60)
_FREE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenAttempt:
    """An attempt that was taken; only its holder frees it."""

    name: str
    owner: bytes


class Redemptions:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}used:"
        self._operations = Operations(redis, "redemption")

    async def take(self, attempt_id: str) -> TakenAttempt | None:
        """Take an attempt; None when it is used, or taken by another request."""
        taken = TakenAttempt(
            name=self._prefix + hashlib.sha256(f"login:{attempt_id}".encode()).hexdigest(),
            owner=secrets.token_bytes(16),
        )
        return taken if await self._operations.take(taken.name, taken.owner, _TAKEN) else None

    async def settle(self, taken: TakenAttempt, remembered: timedelta) -> None:
        """The provider has redeemed or refused the code: the attempt is used, for as long as it is `remembered`."""
        await self._operations.run(self._redis.set(taken.name, taken.owner, px=remembered))

    async def free(self, taken: TakenAttempt) -> None:
        """The provider did not answer: the attempt may be tried again."""
        answer: Awaitable[Any] = self._redis.eval(_FREE, 1, taken.name, taken.owner)
        await self._operations.run(answer)
