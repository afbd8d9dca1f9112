"""Links that are too long for a `state`, in Redis until their login attempt is over.

Any stranger can ask for a long link, so their number is bounded: a worker writes at most RATE a minute. Beyond that, and while Redis is
away, a sign-in lands on the page without its query. Keys `long_link:<key>` under the prefix, sealed for their host.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

log = logging.getLogger("doorward.sign_in")

RATE: Final = 300  # a minute; about ten megabytes while they live
_MINUTE: Final = 60.0


class LongLinks:
    """`life` is that of a login attempt; `clock` is monotonic."""

    def __init__(self, redis: Redis, prefix: str, ring: KeyRing, life: timedelta, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._prefix = f"{prefix}long_link:"
        self._ring = ring.purpose("long link")
        self._life = life
        self._clock = clock
        self._operations = Operations(redis, "long_link")
        self._written = 0
        self._since = clock()
        self._writing: set[asyncio.Task[None]] = set()

    def keep(self, return_to: str, step_up_for: str | None, host: str) -> str | None:
        """Begin to write where the person wants to go on this host. The key; None where there is no room."""
        now = self._clock()
        if now - self._since >= _MINUTE:
            self._since, self._written = now, 0
        # SECURITY: strangers who ask for long links must not fill Redis (C-49).
        if self._written >= RATE:
            return None
        self._written += 1
        key = secrets.token_urlsafe(16)
        # The browser is at the provider meanwhile: nothing waits for this.
        task = asyncio.get_running_loop().create_task(
            self._write(key, json.dumps([return_to, step_up_for]).encode(), host)
        )
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return key

    async def find(self, key: str, host: str) -> tuple[str, str | None] | None:
        """`return_to` and `step_up_for` of a key; None where there is none. Raises StoreUnavailable."""
        sealed: Any = await self._operations.run(self._redis.get(self._prefix + key))
        if not isinstance(sealed, bytes):
            return None
        try:
            return_to, step_up_for = json.loads(self._ring.open(sealed, _context(key, host)))
        except (ValueError, TypeError):
            return None
        return return_to, step_up_for

    async def _write(self, key: str, plain: bytes, host: str) -> None:
        sealed = self._ring.seal(plain, _context(key, host))
        try:
            await self._operations.run(self._redis.set(self._prefix + key, sealed, px=self._life))
        except StoreUnavailable as refusal:
            log.warning(
                "a long link was not kept: its sign-in lands on the page without its query (%s)", refusal.detail
            )


def _context(key: str, host: str) -> tuple[str, ...]:
    # SECURITY: a record that is copied to another key, or read under another host, does not open (C-09).
    return ("link", key, host)
