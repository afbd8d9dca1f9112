"""The record in Redis of the attempts to refresh one session: one was begun, or so many failed in a row.

It limits requests to a provider that fails, and shows the next attempt that the one before it did not finish. The clock is that
of Redis: while the key's TTL is longer than `MEMORY`, no attempt may be made; afterwards only the count is kept.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.redis_client.client import Operations, RedisClient

MEMORY: Final = timedelta(minutes=30)

_MILLISECOND: Final = timedelta(milliseconds=1)
_WRITTEN = re.compile(rb"(begun|failed) ([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """`failures` in a row; `pause`: no attempt may be made for so long; `unfinished`: an attempt began and its end is unknown."""

    failures: int = 0
    pause: timedelta = timedelta(0)
    unfinished: bool = False


class Attempts:
    """By session key under `prefix`. Every method raises StoreUnavailable."""

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}refresh:"
        self._operations = Operations(redis, "refresh_attempt")

    async def read(self, key: str) -> Past:
        """The attempts at a session so far."""
        value = await self._operations.run(self._redis.get(self._prefix + key))
        match = _WRITTEN.fullmatch(value) if isinstance(value, bytes) else None
        if match is None:
            return Past()
        left = int(await self._operations.run(self._redis.pttl(self._prefix + key))) * _MILLISECOND
        pause = max(left - MEMORY, timedelta(0))
        return Past(failures=int(match[2]), pause=pause, unfinished=match[1] == b"begun")

    async def begin(self, key: str, failures: int) -> None:
        """Write that an attempt begins, before the request to the provider: until `fail` or `clear` it is unfinished."""
        await self._write(key, f"begun {failures}", MEMORY)

    async def fail(self, key: str, failures: int, pause: timedelta) -> None:
        """Write that an attempt failed, the last of `failures` in a row; none is made for `pause`."""
        await self._write(key, f"failed {failures}", MEMORY + pause)

    async def clear(self, key: str) -> None:
        """Delete the record: the last attempt succeeded."""
        await self._operations.run(self._redis.delete(self._prefix + key))

    async def _write(self, key: str, text: str, life: timedelta) -> None:
        await self._operations.run(self._redis.set(self._prefix + key, text, px=life))
