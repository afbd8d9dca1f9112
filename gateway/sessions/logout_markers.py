"""Markers of logout tokens: a sign-in that was under way when the provider ended it must not become a session.

A logout token ends the sessions that exist. A code that is redeemed just before it arrives becomes a session just after: the marker
that is left here ends it. The logout writes its marker and then looks for sessions; the sign-in stores its session and then looks for
markers; so one of the two finds the other.

ID Tokens and logout tokens carry the provider's time in whole seconds. So a marker also has the moment when the logout token was
received, and a sign-in that began after that is not affected.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session

KEPT: Final = timedelta(minutes=15)  # no login takes longer from the provider's answer to its session
_MICROSECONDS: Final = 1_000_000


class LogoutMarkers:
    """By the keyed hash of a person or of a session at the provider, under the prefix: `ended:<mark>` is the newest logout token's `iat`,
    `ended-at:<mark>` the `iat` of each with the moment when it was received. Older releases write only the former.

    `moment` gives seconds since 1970, by one clock for all workers. Other methods raise StoreUnavailable.
    """

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, moment: Callable[[], float] = time.time) -> None:
        self.moment = moment
        self._redis = redis
        self._indexes = Indexes(ring, prefix)
        self._operations = Operations(redis, "logout_marker")

    async def write(
        self, issuer: str, *, sid: str | None, sub: str | None, issued_at: datetime, received: float | None = None
    ) -> None:
        """Mark the sign-ins that a logout token names as over, where they began before it was `received` and their ID Token is not younger.

        These are the ones with its `sid`; with `sub` alone, those of that person; with both, also the person's without a `sid`.
        """
        about = [] if sid is None else [("sid", sid)]
        about += [] if sub is None else [("sub" if sid is None else "bare", sub)]
        issued = str(int(issued_at.timestamp()))
        at = int((self.moment() if received is None else received) * _MICROSECONDS)
        for kind, value in about:
            for name, moments in zip(
                self._names("ended", issuer, kind, value), self._names("ended-at", issuer, kind, value), strict=True
            ):
                await self._operations.run(self._write_one(name, moments, issued, at))

    async def _write_one(self, name: str, moments: str, issued: str, at: int) -> None:
        # The moment first: an `ended` without a moment is taken for one of an older release.
        await self._redis.zadd(moments, {issued: at}, gt=True)
        await self._redis.pexpire(moments, KEPT)
        await self._redis.set(name, issued, px=KEPT)

    async def covers(self, session: Session, issued_at: int, begun: float | None = None) -> bool:
        """Whether a logout token ended this session's sign-in.

        `issued_at` is the ID Token's `iat`; `begun` the moment when the sign-in began, None where it is not known.
        """
        person, sid = session.identity, session.provider_sid
        about = [("sub", person.subject), ("bare", person.subject) if sid is None else ("sid", sid)]
        for kind, value in about:
            for name, moments in zip(
                self._names("ended", person.issuer, kind, value),
                self._names("ended-at", person.issuer, kind, value),
                strict=True,
            ):
                # SECURITY: a sign-in that began before and is not younger is over; one that began afterwards is not affected (C-74).
                for issued, at in await self._operations.run(self._read(name, moments)):
                    if issued_at <= issued and (begun is None or at is None or int(begun * _MICROSECONDS) < at):
                        return True
        return False

    def _names(self, kind: str, issuer: str, what: str, value: str) -> Sequence[str]:
        return self._indexes.names(kind, issuer, what, value)

    async def _read(self, name: str, moments: str) -> list[tuple[int, int | None]]:
        """The `iat` of each logout token, and when it was received, in microseconds since 1970."""
        found: Any = await self._redis.get(name)
        entries: Any = await self._redis.zrange(moments, 0, -1, withscores=True)
        markers: list[tuple[int, int | None]] = [(int(issued), int(at)) for issued, at in entries]
        if isinstance(found, bytes) and found.isdigit() and int(found) not in dict(markers):
            markers.append((int(found), None))
        return markers
