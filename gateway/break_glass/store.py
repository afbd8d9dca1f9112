"""Break-glass openings in Redis: one sealed record for each app, and the addresses of peers that were seen to forward.

A write to Redis without a key of the ring opens nothing: a record that cannot be unsealed, or was sealed for another app, is
ignored. So is the record of an opening that ended: its ID is remembered for longer than any opening lasts. Keys under the prefix:
`glass:<app>` with a TTL until the opening's end; `glass-over:<hash of id>` for openings that ended; `forwarders`, a sorted set of
addresses scored by when they were last seen.
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
_FORWARDER_LIFETIME: Final = timedelta(days=30)
ENDED_LIFETIME: Final = LONGEST + timedelta(hours=1)  # from the end on; no clock of the fleet is an hour slow


class Openings:
    """Reads and writes openings: the commands write them, every worker reads them."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self.prefix: Final = f"{prefix}glass:"
        self._ended_prefix: Final = f"{prefix}glass-over:"
        self._forwarders: Final = f"{prefix}forwarders"
        self._redis = redis
        self._ring = ring.purpose("break-glass")
        self._operations = Operations(redis, "break_glass")

    async def write(self, opening: Opening, now: datetime) -> None:
        """Store an opening in place of the one that its app may have. Raises StoreUnavailable."""
        await self._operations.run(self._write(opening, now))

    async def _write(self, opening: Opening, now: datetime) -> None:
        await self._mark_current_ended(opening.app, unless=opening.id)
        sealed = self._ring.seal(encode(opening), self._context(opening.app))
        left = max(opening.ends_at - now, _MILLISECOND)
        await self._redis.set(self._key(opening.app), sealed, px=left)

    async def read(self, app: str, now: datetime) -> tuple[Opening, timedelta] | None:
        """The app's opening and how much longer it lasts; None when it has none. Raises StoreUnavailable."""
        return await self._operations.run(self._read(app, now))

    async def _read(self, app: str, now: datetime) -> tuple[Opening, timedelta] | None:
        opening, left = await self._read_record(app)
        # SECURITY: a record that was copied before it was closed, or comes from a backup, opens nothing (C-73).
        if opening is None or await self._redis.exists(self._ended_key(opening.id)):
            return None
        # SECURITY: `left` is negative without a TTL: a record that Redis would keep for ever is not ours (C-46).
        remaining = left_of(opening, left * _MILLISECOND, now)
        return (opening, remaining) if remaining > timedelta(0) else None

    async def _read_record(self, app: str) -> tuple[Opening | None, int]:
        """The opening in an app's record, ended or not, and the record's TTL in milliseconds."""
        key = self._key(app)
        pipe = self._redis.pipeline(transaction=False)
        pipe.getrange(key, 0, _LARGEST)  # bounded: a foreign value may be of any size
        pipe.pttl(key)
        sealed, left = await pipe.execute(raise_on_error=False)
        if isinstance(sealed, ResponseError) and str(sealed).startswith("WRONGTYPE"):
            return None, 0  # a foreign value
        for reply in (sealed, left):
            if isinstance(reply, Exception):
                raise reply
        return self._unseal(app, sealed), left

    async def close(self, app: str) -> bool:
        """End the app's opening; whether it had a record. Raises StoreUnavailable."""
        return await self._operations.run(self._close(app))

    async def _close(self, app: str) -> bool:
        await self._mark_current_ended(app)
        return bool(await self._redis.delete(self._key(app)))

    async def _mark_current_ended(self, app: str, unless: str = "") -> None:
        opening, _ = await self._read_record(app)
        if opening is not None and opening.id != unless:
            await self._redis.set(self._ended_key(opening.id), "over", px=ENDED_LIFETIME)

    async def mark_ended(self, ids: Iterable[str]) -> None:
        """Remember that these openings ended, so that a restored record opens nothing. Raises StoreUnavailable."""
        for opening_id in ids:
            await self._operations.run(self._redis.set(self._ended_key(opening_id), "over", px=ENDED_LIFETIME))

    async def write_forwarders(self, peers: Iterable[str], now: datetime) -> None:
        """Remember peers that forward without being trusted: the newest thousand, for 30 days. Raises StoreUnavailable."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(self._forwarders, dict.fromkeys(peers, now.timestamp()))
        pipe.zremrangebyrank(self._forwarders, 0, -_MOST_FORWARDERS - 1)
        pipe.pexpire(self._forwarders, _FORWARDER_LIFETIME)
        await self._operations.run(pipe.execute())

    async def forwarders(self, now: datetime) -> list[str]:
        """The addresses of these peers. Raises StoreUnavailable."""
        since = (now - _FORWARDER_LIFETIME).timestamp()
        found: Any = await self._operations.run(self._redis.zrangebyscore(self._forwarders, since, "+inf"))
        return [member.decode("ascii", "replace") for member in found]

    def _unseal(self, app: str, sealed: object) -> Opening | None:
        if not isinstance(sealed, bytes) or not sealed:
            return None
        try:
            opening = decode(self._ring.open(sealed, self._context(app)))
        except ValueError:
            return None
        return opening if opening.app == app else None

    def _ended_key(self, opening_id: str) -> str:
        return self._ended_prefix + hashlib.sha256(opening_id.encode()).hexdigest()

    def _key(self, app: str) -> str:
        return self.prefix + app

    def _context(self, app: str) -> tuple[str, ...]:
        # SECURITY: what was sealed for another app, or for another gateway's prefix, opens nothing here (C-08).
        return ("break-glass", self._key(app))
