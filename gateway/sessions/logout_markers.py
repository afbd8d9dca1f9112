"""Sign-ins that the provider ended a moment ago: a login that was on its way meanwhile must not become a session.

The provider's logout token ends the sessions that are there. A code redeemed just before it arrives becomes a session just after: the
note that is left here ends it. Whoever writes a note looks for sessions afterwards, whoever stores a session looks for notes afterwards,
so one of the two sees the other.

Which of two was first, an ID Token or a logout token, the provider says in whole seconds. So a note says as well when it was received, and a
sign-in that began here after that is none of its.
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


class Endings:
    """By the mark of a person or of a session at the provider, under the prefix: `ended:<mark>` is the newest logout token's `iat`,
    `ended-at:<mark>` each one's `iat` with the moment when it was received. Releases that know only the former write only that.

    `moment` gives seconds since 1970, the same for all who note and all who begin sign-ins. Other methods raise StoreUnavailable.
    """

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, moment: Callable[[], float] = time.time) -> None:
        self.moment = moment
        self._redis = redis
        self._indexes = Indexes(ring, prefix)
        self._operations = Operations()

    async def note(
        self, issuer: str, *, sid: str | None, sub: str | None, issued_at: datetime, received: float | None = None
    ) -> None:
        """Sign-ins that a logout token names are over if they began before it was `received` and their ID Token is not younger: of its `sid`;
        with `sub` alone, of that person; with both, also the person's that have no `sid`."""
        about = [] if sid is None else [("sid", sid)]
        about += [] if sub is None else [("sub" if sid is None else "bare", sub)]
        issued = str(int(issued_at.timestamp()))
        at = int((self.moment() if received is None else received) * _MICROSECONDS)
        for kind, value in about:
            for name, moments in zip(
                self._names("ended", issuer, kind, value), self._names("ended-at", issuer, kind, value), strict=True
            ):
                await self._operations.run(self._note(name, moments, issued, at))

    async def _note(self, name: str, moments: str, issued: str, at: int) -> None:
        # The moment first: who finds a time alone takes it for an earlier release's.
        await self._redis.zadd(moments, {issued: at}, gt=True)
        await self._redis.pexpire(moments, KEPT)
        await self._redis.set(name, issued, px=KEPT)

    async def cover(self, session: Session, issued_at: int, begun: float | None = None) -> bool:
        """Whether this session's sign-in is over; `issued_at` is the ID Token's `iat`, `begun` when it began; None: nobody knows."""
        who, sid = session.identity, session.provider_sid
        about = [("sub", who.subject), ("bare", who.subject) if sid is None else ("sid", sid)]
        for kind, value in about:
            for name, moments in zip(
                self._names("ended", who.issuer, kind, value),
                self._names("ended-at", who.issuer, kind, value),
                strict=True,
            ):
                # SECURITY: begun before and not younger: on its way, and over. Begun afterwards: it is nothing of that token's (C-74).
                for issued, at in await self._operations.run(self._read(name, moments)):
                    if issued_at <= issued and (begun is None or at is None or int(begun * _MICROSECONDS) < at):
                        return True
        return False

    def _names(self, kind: str, issuer: str, what: str, value: str) -> Sequence[str]:
        return self._indexes.names(kind, issuer, what, value)

    async def _read(self, name: str, moments: str) -> list[tuple[int, int | None]]:
        """Each note's `iat`, and when it was received in microseconds."""
        found: Any = await self._redis.get(name)
        entries: Any = await self._redis.zrange(moments, 0, -1, withscores=True)
        notes: list[tuple[int, int | None]] = [(int(issued), int(at)) for issued, at in entries]
        if isinstance(found, bytes) and found.isdigit() and int(found) not in dict(notes):
            notes.append((int(found), None))
        return notes
