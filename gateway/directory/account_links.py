"""Links: the account of each person, by issuer and subject, and the time of their last sign-in.

The invariant: once a person is linked, the link decides, not the e-mail address; and an account has one person. A link is sealed with
the key ring: a client of Redis cannot give a person the account of another. A value that no key opens is no link.

Three independent keys a person: `link:` (person to account), `owner:` (account to person), and an entry in `seen` (account, time).
They expire `LIFE` after the last sign-in; the size of `seen` is bounded too.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

LIFE: Final = timedelta(days=400)
MOST_SEEN: Final = 500_000
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An account, and when its person signed in last."""

    account_id: str
    at: datetime


class AccountLinks:
    """`realm` names the directory: the account ids of one mean nothing in another. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, prefix: str, ring: KeyRing, realm: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}link:{realm}:"
        self._ring = ring.purpose("link")
        self._operations = Operations(redis, "account_link")

    async def read(self, link: str) -> str | None:
        """The id of the account that this person is linked to; None: there is no link."""
        name = _hashed(link)
        sealed = await self._operations.run(self._redis.get(self._prefix + name))
        if not isinstance(sealed, bytes):
            return None
        try:
            # SECURITY: a link that any client of Redis wrote would open any account (C-08).
            return self._ring.open(sealed, ("link", self._prefix, name)).decode()
        except ValueError:
            return None

    async def claim(self, link: str, account_id: str, *, shared: bool) -> bool:
        """Link person and account. False when the account is another person's, unless accounts may be `shared`."""
        name, owner = _hashed(link), f"{self._prefix}owner:{_hashed(account_id)}"
        # SECURITY: the person who has an address today must not get the account of the one who had it before.
        before = await self._operations.run(self._redis.set(owner, name, nx=True, get=True, px=LIFE))
        if before is not None and before != name.encode() and not shared:
            return False
        sealed = self._ring.seal(account_id.encode(), ("link", self._prefix, name))
        await self._operations.run(self._redis.set(self._prefix + name, sealed, px=LIFE))
        if before is not None:
            await self._operations.run(self._redis.pexpire(owner, LIFE))
        return True

    async def allows(self, link: str, account_id: str) -> bool:
        """Whether the account has no person yet, or is this person's."""
        owner = await self._operations.run(self._redis.get(f"{self._prefix}owner:{_hashed(account_id)}"))
        return owner is None or owner == _hashed(link).encode()

    async def mark_seen(self, account_id: str, now: datetime) -> None:
        """The account's person signed in now."""
        key = self._prefix + "seen"
        await self._operations.run(self._redis.zadd(key, {account_id: now.timestamp()}))
        await self._operations.run(self._redis.zremrangebyscore(key, "-inf", (now - LIFE).timestamp()))
        await self._operations.run(self._redis.zremrangebyrank(key, 0, -MOST_SEEN - 1))

    async def forget(self, link: str) -> None:
        """Delete a person's link: the account is gone."""
        await self._operations.run(self._redis.delete(self._prefix + _hashed(link)))

    async def release(self, account_id: str) -> bool:
        """Delete an account's link: the next person with its address may have it. False: it had none."""
        owner = f"{self._prefix}owner:{_hashed(account_id)}"
        before: Any = await self._operations.run(self._redis.getdel(owner))
        if isinstance(before, bytes):
            await self._operations.run(self._redis.delete(self._prefix + before.decode("ascii", "replace")))
        return before is not None

    async def seen(self) -> AsyncIterator[Seen]:
        """Every account with its person's last sign-in, the oldest first."""
        start = 0
        while True:
            reply: Any = await self._operations.run(
                self._redis.zrange(self._prefix + "seen", start, start + _BATCH - 1, withscores=True)
            )
            for member, score in reply:
                yield Seen(account_id=member.decode("utf-8", "replace"), at=datetime.fromtimestamp(score, UTC))
            if len(reply) < _BATCH:
                return
            start += _BATCH


def realm_of(kind: str, base_url: str) -> str:
    """A short name for one directory, used in keys."""
    return hashlib.sha256(f"{kind} {base_url}".encode()).hexdigest()[:16]


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
