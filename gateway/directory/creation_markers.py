"""Markers in Redis of an account that is being created: first that the creation begins, then the new id.

Lists of the directory may lag behind a creation; a marker bridges that. It has an id or none, never an address, and is a hint:
the id counts only after the directory confirmed it. A marker that cannot be read counts as one without an id, which forbids a
creation.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations

ATTEMPT_LIFE: Final = timedelta(minutes=2)  # how long a creation without a response may take to appear in a list
CREATED_LIFE: Final = timedelta(minutes=10)

_CREATED = re.compile(rb"created ([A-Za-z0-9._:-]{1,128})")


@dataclass(frozen=True, slots=True)
class CreationMarker:
    """`account_id` None: a creation was begun, and its result is not written yet."""

    account_id: str | None


class CreationMarkers:
    """Markers by name under `prefix`. Every method raises StoreUnavailable."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        attempt_life: timedelta = ATTEMPT_LIFE,
        created_life: timedelta = CREATED_LIFE,
    ) -> None:
        self._redis = redis
        self._prefix = f"{prefix}note:"
        self._attempt_life = attempt_life
        self._created_life = created_life
        self._operations = Operations(redis, "creation_marker")

    async def read(self, name: str) -> CreationMarker | None:
        """The marker of a name; None: there is none."""
        value = await self._operations.run(self._redis.get(self._prefix + name))
        if value is None:
            return None
        match = _CREATED.fullmatch(value) if isinstance(value, bytes) else None
        return CreationMarker(match[1].decode() if match else None)

    async def begin(self, name: str) -> bool:
        """Write that a creation begins. False: there is a marker already, so there must not be a second creation."""
        return bool(await self._write(name, "begun", self._attempt_life, nx=True))

    async def finish(self, name: str, account_id: str) -> None:
        """Write the id of the new account."""
        await self._write(name, f"created {account_id}", self._created_life, nx=False)

    async def withdraw(self, name: str) -> None:
        """Delete the marker: the creation certainly did not happen."""
        await self._operations.run(self._redis.delete(self._prefix + name))

    async def _write(self, name: str, text: str, life: timedelta, *, nx: bool) -> Any:
        milliseconds = max(int(life / timedelta(milliseconds=1)), 1)
        return await self._operations.run(self._redis.set(self._prefix + name, text, px=milliseconds, nx=nx))
