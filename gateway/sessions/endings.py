"""Sign-ins that the provider ended a moment ago: a login that was on its way meanwhile must not become a session.

The provider's logout token ends the sessions that are there. A code redeemed just before it arrives becomes a session just after: the
note that is left here ends it. Whoever writes a note looks for sessions afterwards, whoever stores a session looks for notes afterwards,
so one of the two sees the other.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.sessions.client import Operations
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session

KEPT: Final = timedelta(minutes=15)  # no login takes longer from the provider's answer to its session


class Endings:
    """`ended:<mark>` under the prefix, the mark of a person or of a session at the provider. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._indexes = Indexes(ring, prefix)
        self._operations = Operations()

    async def note(self, issuer: str, *, sid: str | None, sub: str | None, issued_at: datetime) -> None:
        """Sign-ins that a logout token names are over if their ID Token is not younger: of its `sid`; with `sub` alone, of that person;
        with both, also the person's that have no `sid`."""
        about = [] if sid is None else [("sid", sid)]
        about += [] if sub is None else [("sub" if sid is None else "bare", sub)]
        for name in self._names(issuer, about):
            await self._operations.run(self._redis.set(name, str(int(issued_at.timestamp())), px=KEPT))

    async def cover(self, session: Session, issued_at: int) -> bool:
        """Whether this session's sign-in is over; `issued_at` is the ID Token's `iat`."""
        who, sid = session.identity, session.provider_sid
        about = [("sub", who.subject), ("bare", who.subject) if sid is None else ("sid", sid)]
        notes = [await self._operations.run(self._read(name)) for name in self._names(who.issuer, about)]
        return any(note is not None and issued_at <= note for note in notes)

    def _names(self, issuer: str, about: Sequence[tuple[str, str]]) -> list[str]:
        return [name for kind, value in about for name in self._indexes.names("ended", issuer, kind, value)]

    async def _read(self, name: str) -> int | None:
        found: Any = await self._redis.get(name)
        return int(found) if isinstance(found, bytes) and found.isdigit() else None
