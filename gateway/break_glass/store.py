"""Break-glass openings in Redis: one sealed record an app, gone by itself; and the peers that were seen to forward.

Whoever can write to Redis but has no key of the ring opens nothing: a record that does not open, or was sealed for another app, is no opening.
Nor is one that was closed: its id is noted for longer than any opening lasts.
Keys under the prefix: `glass:<app>`, its TTL what is left; `glass-over:<hash of id>` for what ended; `forwarders`, addresses scored by when
they were last seen.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.policy.break_glass import LONGEST, Opening, decode, encode, left_of
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

_LARGEST: Final = 16 * 1024
_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_FORWARDERS: Final = 1000
_REMEMBERED: Final = timedelta(days=30)
REMEMBERED_OVER: Final = LONGEST + timedelta(hours=1)  # from its end on: no clock of a fleet is so far behind


class Openings:
    """What a command writes and every worker reads."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self.prefix: Final = f"{prefix}glass:"
        self._over: Final = f"{prefix}glass-over:"
        self._forwarders: Final = f"{prefix}forwarders"
        self._redis = redis
        self._ring = ring.purpose("break-glass")
        self._operations = Operations()

    async def write(self, opening: Opening, now: datetime) -> None:
        """Open it, in place of what may be open for this app. Raises StoreUnavailable."""
        await self._operations.run(self._write(opening, now))

    async def _write(self, opening: Opening, now: datetime) -> None:
        await self._note_what_ends(opening.app, but=opening.id)
        sealed = self._ring.seal(encode(opening), self._context(opening.app))
        left = max(opening.ends_at - now, _MILLISECOND)
        await self._redis.set(self._name(opening.app), sealed, px=left)

    async def read(self, app: str, now: datetime) -> tuple[Opening, timedelta] | None:
        """What is open for an app, and for how much longer. Raises StoreUnavailable."""
        return await self._operations.run(self._read(app, now))

    async def _read(self, app: str, now: datetime) -> tuple[Opening, timedelta] | None:
        opening, left = await self._there(app)
        # SECURITY: a record that was copied before it was closed, or comes from a backup, opens nothing (C-73).
        if opening is None or await self._redis.exists(self._note(opening.id)):
            return None
        # SECURITY: `left` is negative without a TTL: a record that Redis would keep for ever is not ours (C-46).
        remaining = left_of(opening, left * _MILLISECOND, now)
        return (opening, remaining) if remaining > timedelta(0) else None

    async def _there(self, app: str) -> tuple[Opening | None, int]:
        """The opening in an app's record, whether it counts or not, and the record's TTL in milliseconds."""
        name = self._name(app)
        pipe = self._redis.pipeline(transaction=False)
        pipe.getrange(name, 0, _LARGEST)  # bounded: a foreign value may be of any size
        pipe.pttl(name)
        sealed, left = await pipe.execute(raise_on_error=False)
        if isinstance(sealed, ResponseError) and str(sealed).startswith("WRONGTYPE"):
            return None, 0  # somebody put something else there
        for reply in (sealed, left):
            if isinstance(reply, Exception):
                raise reply
        return self._opened(app, sealed), left

    async def close(self, app: str) -> bool:
        """Whether there was something to close. Raises StoreUnavailable."""
        return await self._operations.run(self._close(app))

    async def _close(self, app: str) -> bool:
        await self._note_what_ends(app)
        return bool(await self._redis.delete(self._name(app)))

    async def _note_what_ends(self, app: str, but: str = "") -> None:
        opening, _ = await self._there(app)
        if opening is not None and opening.id != but:
            await self._redis.set(self._note(opening.id), "over", px=REMEMBERED_OVER)

    async def note_over(self, ids: Iterable[str]) -> None:
        """These openings are over, whoever puts their records back. Raises StoreUnavailable."""
        for opening_id in ids:
            await self._operations.run(self._redis.set(self._note(opening_id), "over", px=REMEMBERED_OVER))

    async def saw_forwarding(self, peers: Iterable[str], now: datetime) -> None:
        """Remember peers that forward without being trusted, the newest thousand, for a month. Raises StoreUnavailable."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(self._forwarders, dict.fromkeys(peers, now.timestamp()))
        pipe.zremrangebyrank(self._forwarders, 0, -_MOST_FORWARDERS - 1)
        pipe.pexpire(self._forwarders, _REMEMBERED)
        await self._operations.run(pipe.execute())

    async def forwarders(self, now: datetime) -> list[str]:
        """Those peers. Raises StoreUnavailable."""
        since = (now - _REMEMBERED).timestamp()
        found: Any = await self._operations.run(self._redis.zrangebyscore(self._forwarders, since, "+inf"))
        return [member.decode("ascii", "replace") for member in found]

    def _opened(self, app: str, sealed: object) -> Opening | None:
        if not isinstance(sealed, bytes) or not sealed:
            return None
        try:
            opening = decode(self._ring.open(sealed, self._context(app)))
        except ValueError:
            return None
        return opening if opening.app == app else None

    def _note(self, opening_id: str) -> str:
        return self._over + hashlib.sha256(opening_id.encode()).hexdigest()

    def _name(self, app: str) -> str:
        return self.prefix + app

    def _context(self, app: str) -> tuple[str, ...]:
        # SECURITY: what was sealed for one app, or for another gateway's prefix, opens no door here (C-08).
        return ("break-glass", self._name(app))
