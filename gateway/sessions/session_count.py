"""How many sessions Redis holds, at a cost that does not grow with them.

A server with few keys is scanned; of one with many, a thousand keys that it picks at random are looked at. The estimate is off by a few
percent.
"""

from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations
from gateway.redis_client.routed_client import RoutedClient

_SCANNED: Final = 5000  # keys of one server
_BATCH: Final = 1000


class SessionCount:
    """`prefix` as for SessionStore. `scanned`: how many keys a server may have to be scanned."""

    def __init__(self, redis: Redis, prefix: str, *, scanned: int = _SCANNED) -> None:
        self._redis = redis
        self._begin = f"{prefix}s:".encode()
        self._scanned = scanned
        self._operations = Operations(redis, "session_count")

    async def read(self) -> int:
        """The number, of all servers together. Raises StoreUnavailable."""
        return await self._operations.run(self._read())

    async def _read(self) -> int:
        servers = await self._redis.nodes() if isinstance(self._redis, RoutedClient) else [self._redis]
        return sum([await self._of_server(server) for server in servers])

    async def _of_server(self, server: Redis) -> int:
        size = int(await server.dbsize())
        if size <= self._scanned:
            found: set[Any] = set()  # SCAN may give one twice
            cursor: Any = 0
            while True:
                cursor, scanned = await server.scan(cursor, count=_BATCH)
                found.update(name for name in scanned if self._is_session(name))
                if not cursor:
                    return len(found)
        pipe = server.pipeline(transaction=False)
        for _ in range(_BATCH):
            pipe.randomkey()
        picked = [name for name in await pipe.execute() if name is not None]
        return round(size * sum(map(self._is_session, picked)) / max(len(picked), 1))

    def _is_session(self, name: Any) -> bool:
        return bytes(name).startswith(self._begin)
