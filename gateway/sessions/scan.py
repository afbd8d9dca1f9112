"""All sessions in Redis, read in batches for whoever runs the fleet: a million of them in bounded memory.

Nothing is locked meanwhile. SCAN's promise holds: what is there from beginning to end is seen, what comes or goes meanwhile may be, and
one may be seen twice while Redis grows its table. On a cluster every primary is asked.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.config.schema import Network
from gateway.redis_client.client import unavailable, values_of
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.routed_client import RoutedClient
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.records import HEAD, Records
from gateway.sessions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """`sids` are public handles; `older_than` and `newer_than` count from the sign-in; e-mail addresses match in any case."""

    sids: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    issuer: str | None = None
    subject: str | None = None
    apps: frozenset[str] = frozenset()
    networks: Sequence[Network] = ()
    provider_sid: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self == SessionFilter()

    def holds(self, session: Session, now: datetime) -> bool:
        who = session.identity
        return (
            (not self.sids or session.sid in self.sids)
            and (not self.emails or (who.email or "").casefold() in self.emails)
            and (self.issuer is None or who.issuer == self.issuer)
            and (self.subject is None or who.subject == self.subject)
            and (not self.apps or session.app in self.apps)
            and (not self.networks or self._from_there(session.address))
            and (self.provider_sid is None or session.provider_sid == self.provider_sid)
            and self._as_old(now - session.created_at)
        )

    def _as_old(self, age: timedelta) -> bool:
        return (self.older_than is None or age > self.older_than) and (self.newer_than is None or age < self.newer_than)

    def _from_there(self, address: str | None) -> bool:
        try:
            where = ip_address(address or "")
        except ValueError:
            return False
        return any(where in network for network in self.networks)


_BATCH: Final = 500
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`session` is None for a record that no key of the ring opens; `idle_left`: until it ends unless it is used."""

    key: str
    session: Session | None
    idle_left: timedelta


class SessionScan:
    """`redis` is a client of one server or of a cluster. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}s:"
        self._records = Records(ring, self._prefix)
        self._indexes = Indexes(ring, prefix)

    async def size(self) -> int:
        """About how many keys there are to look at: for a bar that fills."""
        servers = await _asked(self._redis.nodes()) if isinstance(self._redis, RoutedClient) else [self._redis]
        return sum([int(await _asked(server.dbsize())) for server in servers])

    async def batches(self, selection: SessionFilter) -> AsyncIterator[list[Entry]]:
        """Every record that the selection may be about, a batch at a time; the caller judges each by `selection.holds`."""
        async for keys in self._indexed(selection) if selection.subject and selection.issuer else self._scanned():
            yield await self._read(keys)

    async def sealed_by(self) -> AsyncIterator[Counter[int | None]]:
        """How many records each key of the ring sealed, by its place; None: no key of the ring. A batch at a time."""
        async for keys in self._scanned():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.getrange(self._prefix + key, 0, HEAD)
            replies = values_of(await _asked(pipe.execute(raise_on_error=False)))
            yield Counter(self._records.place_of_key(reply) for reply in replies if reply != b"")

    async def _read(self, keys: Sequence[str]) -> list[Entry]:
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.getrange(self._prefix + key, 0, MAX_RECORD)
            pipe.pttl(self._prefix + key)
        replies = values_of(await _asked(pipe.execute(raise_on_error=False)))
        found = zip(keys, replies[::2], replies[1::2], strict=True)
        return [
            Entry(key=key, session=self._records.open(key, record), idle_left=timedelta(milliseconds=left or 0))
            for key, record, left in found
            if record != b""  # it ended between the two questions
        ]

    async def _scanned(self) -> AsyncIterator[list[str]]:
        names = self._redis.scan_iter(match=_literal(self._prefix) + "*", count=_BATCH)
        keys: dict[str, None] = {}  # SCAN may give one twice
        try:
            async for name in names:
                keys[name[len(self._prefix) :].decode("ascii", "replace")] = None
                if len(keys) >= _BATCH:
                    yield list(keys)
                    keys = {}
        except (OSError, ValueError, RedisError) as error:
            raise unavailable(error) from error
        if keys:
            yield list(keys)

    async def _indexed(self, selection: SessionFilter) -> AsyncIterator[list[str]]:
        """A person's own: no need to look at everybody's."""
        members: dict[str, None] = {}
        for name in self._indexes.of_person(selection.issuer or "", selection.subject or ""):
            found: Any = await _asked(self._redis.zrange(name, 0, -1))
            members |= dict.fromkeys(member.decode("ascii", "replace") for member in found)
        keys = list(members)
        for start in range(0, len(keys), _BATCH):
            yield keys[start : start + _BATCH]


async def _asked(question: Awaitable[_Result]) -> _Result:
    try:
        return await question
    except Exception as error:
        raise unavailable(error) from error


def _literal(prefix: str) -> str:
    """For MATCH, where some characters mean others."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in prefix)
