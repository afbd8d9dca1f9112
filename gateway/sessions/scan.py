"""All sessions in Redis, read in batches for operators: a million of them in bounded memory.

Nothing is locked. As SCAN does, a scan sees every session that exists from its beginning to its end; one that comes or goes meanwhile it may
miss, and one may be seen twice while Redis grows its table. On a cluster every primary is scanned.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.config.schema import Network
from gateway.redis_client.client import values_of
from gateway.redis_client.failures import unavailable
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.routed_client import RoutedClient
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.records import HEAD, Records
from gateway.sessions.session import Session
from gateway.sessions.user_agent import device_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """`sids` are public handles; `older_than` and `newer_than` count from the sign-in; e-mail addresses match in any case.

    `person` is what a person is called: a whole e-mail address, subject or preferred_username, or a part of the name, in any case;
    `user_agent` a part of the browser's User-Agent or of its name for people.
    """

    sids: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    issuer: str | None = None
    subject: str | None = None
    apps: frozenset[str] = frozenset()
    networks: Sequence[Network] = ()
    provider_sid: str | None = None
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    person: str | None = None
    user_agent: str | None = None

    @property
    def everything(self) -> bool:
        """Whether every session matches."""
        return self == SessionFilter()

    def matches(self, session: Session, now: datetime) -> bool:
        """Whether a session has all that is given here. `now` is aware."""
        person = session.identity
        return (
            (not self.sids or session.sid in self.sids)
            and (not self.emails or (person.email or "").casefold() in self.emails)
            and (self.issuer is None or person.issuer == self.issuer)
            and (self.subject is None or person.subject == self.subject)
            and (not self.apps or session.app in self.apps)
            and (not self.networks or self._from_networks(session.address))
            and (self.provider_sid is None or session.provider_sid == self.provider_sid)
            and self._of_age(now - session.created_at)
            and (self.person is None or self._is_called(session, self.person.casefold()))
            and (self.user_agent is None or self._has_browser(session, self.user_agent.casefold()))
        )

    def _is_called(self, session: Session, wanted: str) -> bool:
        who = session.identity
        names = (name.casefold() for name in (who.email, who.subject, who.preferred_username) if name)
        return wanted in names or wanted in (who.name or "").casefold()

    def _has_browser(self, session: Session, wanted: str) -> bool:
        given = f"{session.user_agent or ''}\n{device_of(session.user_agent)}"
        return wanted in given.casefold()

    def _of_age(self, age: timedelta) -> bool:
        return (self.older_than is None or age > self.older_than) and (self.newer_than is None or age < self.newer_than)

    def _from_networks(self, address: str | None) -> bool:
        try:
            where = ip_address(address or "")
        except ValueError:
            return False
        return any(where in network for network in self.networks)


_BATCH: Final = 500
_PAGED: Final = 100  # keys of one step of a search that is shown page by page
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
        """About how many keys there are to scan, for a progress bar."""
        servers = await self._servers()
        return sum([int(await _translated(server.dbsize())) for server in servers])

    async def batches(self, selection: SessionFilter) -> AsyncGenerator[list[Entry], None]:
        """The records that may match, a batch at a time; the caller checks each with `selection.matches`."""
        async for keys in (
            self._keys_of_person(selection) if selection.subject and selection.issuer else self._all_keys()
        ):
            yield await self._read(keys)

    async def from_cursor(self, selection: SessionFilter, cursor: str) -> AsyncGenerator[tuple[list[Entry], str], None]:
        """As `batches`, from where an earlier search stopped: each with the cursor that continues behind it, "" at the end.

        `cursor` is "" at first, then `PLACE OF THE SERVER.CURSOR OF SCAN`.
        """
        if selection.subject and selection.issuer:
            async for keys in self._keys_of_person(selection):
                yield await self._read(keys), ""
            return
        servers = await self._servers()
        place, _, inside = cursor.partition(".")
        position: Any = int(inside or 0)
        for index in range(int(place or 0), len(servers)):
            while True:
                scanned: Any = await _translated(
                    servers[index].scan(position, match=_literal(self._prefix) + "*", count=_PAGED)
                )
                position, names = scanned
                keys = [self._key(name) for name in names]
                last = not position and index + 1 == len(servers)
                following = "" if last else f"{index}.{position}" if position else f"{index + 1}.0"
                yield await self._read(list(dict.fromkeys(keys))), following
                if not position:
                    break

    async def sealed_by(self) -> AsyncIterator[Counter[int | None]]:
        """The number of records by the place of the key that sealed them, None for a key outside the ring; a batch at a time."""
        async for keys in self._all_keys():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.getrange(self._prefix + key, 0, HEAD)
            replies = values_of(await _translated(pipe.execute(raise_on_error=False)))
            yield Counter(self._records.place_of_key(reply) for reply in replies if reply != b"")

    async def _servers(self) -> Sequence[Redis]:
        """The one server, or every primary of a cluster."""
        return await _translated(self._redis.nodes()) if isinstance(self._redis, RoutedClient) else [self._redis]

    def _key(self, name: bytes) -> str:
        """The key of the record with this name in Redis."""
        return name[len(self._prefix) :].decode("ascii", "replace")

    async def _read(self, keys: Sequence[str]) -> list[Entry]:
        pipe = self._redis.pipeline(transaction=False)
        for key in keys:
            pipe.getrange(self._prefix + key, 0, MAX_RECORD)
            pipe.pttl(self._prefix + key)
        replies = values_of(await _translated(pipe.execute(raise_on_error=False)))
        found = zip(keys, replies[::2], replies[1::2], strict=True)
        return [
            Entry(key=key, session=self._records.open(key, record), idle_left=timedelta(milliseconds=left or 0))
            for key, record, left in found
            if record != b""  # it ended between the scan and this read
        ]

    async def _all_keys(self) -> AsyncIterator[list[str]]:
        names = self._redis.scan_iter(match=_literal(self._prefix) + "*", count=_BATCH)
        keys: dict[str, None] = {}  # SCAN may give one twice
        try:
            async for name in names:
                keys[self._key(name)] = None
                if len(keys) >= _BATCH:
                    yield list(keys)
                    keys = {}
        except (OSError, ValueError, RedisError) as error:
            raise unavailable(error) from error
        if keys:
            yield list(keys)

    async def _keys_of_person(self, selection: SessionFilter) -> AsyncIterator[list[str]]:
        """The keys of one person's sessions, from the index instead of a scan."""
        members: dict[str, None] = {}
        for name in self._indexes.of_person(selection.issuer or "", selection.subject or ""):
            found: Any = await _translated(self._redis.zrange(name, 0, -1))
            members |= dict.fromkeys(member.decode("ascii", "replace") for member in found)
        keys = list(members)
        for start in range(0, len(keys), _BATCH):
            yield keys[start : start + _BATCH]


async def _translated(operation: Awaitable[_Result]) -> _Result:
    try:
        return await operation
    except Exception as error:
        raise unavailable(error) from error


def _literal(prefix: str) -> str:
    """A pattern for MATCH that matches only this text."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in prefix)
