"""The last check-up of this fleet, which Redis keeps sealed, as the console shows it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.operations.doctor.line import Line, worst
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

_KEPT: Final = timedelta(days=90)


def document(lines: Sequence[Line]) -> dict[str, Any]:
    """The lines and the worst state, JSON-able."""
    return {"state": str(worst(lines)), "lines": [asdict(line) for line in lines]}


class CheckUpReports:
    """The last one, for 90 days. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._ring = ring.purpose("check-up report")
        self._key = f"{prefix}check-up"
        self._operations = Operations(redis, "check_up_report")

    async def write(self, lines: Sequence[Line], facts: dict[str, str]) -> None:
        """Keep the lines, with when and by whom."""
        plain = json.dumps({**facts, **document(lines)}).encode()
        await self._operations.run(self._redis.set(self._key, self._ring.seal(plain, (self._key,)), px=_KEPT))

    async def read(self) -> dict[str, Any] | None:
        """The last one; None where there is none that this ring opens."""
        sealed: Any = await self._operations.run(self._redis.get(self._key))
        try:
            found = json.loads(self._ring.open(sealed, (self._key,))) if isinstance(sealed, bytes) else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None
