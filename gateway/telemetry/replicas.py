"""The state of each replica: what its parent process says of itself every few seconds, sealed, in Redis.

Keys under the prefix: `replica:ID` the state, for half a minute; `replicas` a sorted set of IDs by the second of their last state.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.redis_client.client import Operations, RedisClient, values_of
from gateway.sessions.keyring import KeyRing

EVERY: Final = timedelta(seconds=5)
LIFE: Final = timedelta(seconds=30)
MOST: Final = 200  # replicas that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """One parent process. `at` in seconds since 1970; `state` is what `runtime.telemetry` gives."""

    identifier: str
    at: float
    state: Mapping[str, Any]


class ReplicaStates:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: RedisClient, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._ring = ring.purpose("replica")
        self._prefix = f"{prefix}replica:"
        self._index = f"{prefix}replicas"
        self._operations = Operations(redis, "replicas")

    async def keep(self, identifier: str, at: float, state: Mapping[str, Any]) -> None:
        """The state of this replica at this moment, in seconds since 1970."""
        name = self._prefix + identifier
        sealed = self._ring.seal(json.dumps([at, state]).encode(), self._context(identifier))
        await self._operations.run(self._redis.set(name, sealed, px=LIFE))
        await self._operations.run(self._redis.zadd(self._index, {identifier: at}))
        await self._operations.run(self._redis.zremrangebyscore(self._index, "-inf", at - 2 * LIFE.total_seconds()))

    async def remove(self, identifier: str) -> None:
        """This replica ends."""
        await self._operations.run(self._redis.delete(self._prefix + identifier))
        await self._operations.run(self._redis.zrem(self._index, identifier))

    async def all(self) -> Sequence[ReplicaState]:
        """Those that live, by ID."""
        listed: Any = await self._operations.run(self._redis.zrange(self._index, 0, MOST - 1))
        identifiers = sorted(each.decode(errors="replace") for each in listed)
        if not identifiers:
            return ()
        pipeline = self._redis.pipeline(transaction=False)
        for identifier in identifiers:
            pipeline.get(self._prefix + identifier)
        replies = values_of(await self._operations.run(pipeline.execute(raise_on_error=False)))
        return [
            state
            for identifier, sealed in zip(identifiers, replies, strict=True)
            if sealed and (state := self._opened(identifier, sealed)) is not None
        ]

    def _opened(self, identifier: str, sealed: bytes) -> ReplicaState | None:
        try:
            at, state = json.loads(self._ring.open(sealed, self._context(identifier)))
        except ValueError:
            return None
        return ReplicaState(identifier=identifier, at=at, state=state)

    def _context(self, identifier: str) -> tuple[str, ...]:
        # SECURITY: what another writer to Redis says of a replica, or says of another, is not shown (C-83).
        return ("replica", identifier)
