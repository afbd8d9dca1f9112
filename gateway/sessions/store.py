"""Session records in Redis: issue, fetch, touch, revoke.

The browser holds a random token; Redis knows only its hash and a sealed record, so neither a dump nor a log is worth
anything (C-48). An error from Redis is a StoreUnavailable; a record that is missing, foreign or does not open is no
session (C-43, C-51).

Keys under the prefix: `s:<hash of token>` the record, its TTL the idle timeout; `sub:<mark>` and `psid:<mark>` the
record keys of a person and of a session at the provider, scored by when they end; `used:<hash>` login attempts that
were consumed; `a:<hash of token>` what `shared_lines` leaves for other workers. Needs Redis 7 or any Valkey (PEXPIRE GT).

On a cluster each key is somewhere else: no command names two of them, and a pipeline whose keys differ has no order and
may be done in part. So whatever must happen first (a session's index before the session, its record's end before that of its
index) is a step of its own.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.signing_in import SignInFailed
from gateway.observability.counters import Histogram
from gateway.redis_client.client import Operations, raise_refused, values_of
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.records import Fetching, Records, Stored, reseal, swap
from gateway.sessions.session import Session
from gateway.sessions.shared_headers import shared_prefix
from gateway.sessions.tombstones import Ended

_KEY: Final = re.compile(rb"[0-9a-f]{64}")
_BATCH: Final = 200
_MILLISECOND: Final = timedelta(milliseconds=1)


def _whichever(session: Session) -> bool:
    return True


def _has_no_sid(session: Session) -> bool:
    return session.provider_sid is None


class SessionStore:
    """`now` gives the wall clock, aware UTC; `believed` says of a stored session whether it still counts at all; `reader` is a
    shorter way to a record than the library's, where there is one.
    """

    def __init__(
        self,
        redis: Redis,
        ring: KeyRing,
        prefix: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        believed: Callable[[Session], bool] = _whichever,
        reader: RecordReader | None = None,
    ) -> None:
        self.record_prefix: Final = f"{prefix}s:"
        self._redis = redis
        self._records = Records(ring, self.record_prefix)
        self._indexes = Indexes(ring, prefix)
        self._prefix = prefix
        self._now = now
        self.durations: Final = Histogram()  # how long Redis took to reply
        self._operations = Operations(self.durations)
        self._fetching = Fetching(
            redis, self._records, self.record_prefix, shared_prefix(prefix), self.durations, now, believed, reader
        )
        self.ask = self._fetching.ask
        self._ended = Ended()

    @staticmethod
    def new_token() -> str:
        """What the cookie holds: 256 random bits, base64url, 43 characters (C-40)."""
        return secrets.token_urlsafe(32)

    @staticmethod
    def new_sid() -> str:
        """A session's public handle, for logs, assertions and commands: never taken for an option there."""
        return secrets.token_urlsafe(12).replace("-", "_")

    @staticmethod
    def key_of(token: str) -> str:
        """The record's key: 64 hexadecimal digits whatever the token holds; Redis reads nothing of it (C-50)."""
        return hashlib.sha256(token.encode()).hexdigest()

    async def issue(self, session: Session, *, replaces: str | None = None, at_first: timedelta | None = None) -> str:
        """Store a session under a new token and return the token; the record `replaces` (a key) dies in the same step.

        `at_first`: how long it lives unless it is touched, where that is shorter than its idle timeout.

        Raises StoreUnavailable; SignInFailed when the provider's tokens and claims make the record too large.
        """
        token = self.new_token()
        key = self.key_of(token)
        record, ttl = self._sealed(key, session), session.ttl(self._now())
        life = ttl if at_first is None else min(ttl, at_first)
        await self._operations.run(self._issue(key, record, session, replaces, life))
        return token

    async def _issue(self, key: str, record: bytes, session: Session, replaces: str | None, life: timedelta) -> None:
        # The index first: a session that an interruption left behind can still be found and ended.
        await self._indexes.enter(self._redis, [(key, session)])
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._name(key), record, px=max(life, _MILLISECOND))
        if replaces is not None:
            # SECURITY: a planted or old token must be dead before the new one is handed out (C-40).
            pipe.delete(self._name(replaces))
        raise_refused(await pipe.execute(raise_on_error=False))
        if replaces is not None:
            self._ended.add((replaces,))

    async def rewrite(self, key: str, before: Stored, session: Session) -> bool:
        """Put `session` in the place of the record that `before` was read from; its TTL stays.

        False: that record is not there any more, and nothing was written. Raises as `issue`.
        """
        record = self._sealed(key, session)
        return await self._operations.run(self._rewrite(key, before, record, session))

    async def _rewrite(self, key: str, before: Stored, record: bytes, session: Session) -> bool:
        if session.provider_sid != before.session.provider_sid or before.old_key:
            await self._indexes.enter(self._redis, [(key, session)])
        # SECURITY: what was ended meanwhile stays ended, and of two writers none undoes the other's work (C-44).
        return await swap(self._redis, self._name(key), before.record, record)

    async def fetch(self, key: str, host: str, app: str, *, tokens: bool = True) -> Stored | None:
        """The session under `key` if it was issued for this host and app; one round trip. Raises StoreUnavailable."""
        return await self._fetching.fetch(key, host, app, tokens=tokens)

    async def touch(self, ttls: Mapping[str, timedelta]) -> None:
        """Let these records live `ttl` from now where they exist and would end sooner. Raises StoreUnavailable."""
        await self._operations.run(self._touch(list(ttls.items())))

    async def _touch(self, waiting: Sequence[tuple[str, timedelta]]) -> None:
        for start in range(0, len(waiting), _BATCH):
            pipe = self._redis.pipeline(transaction=False)
            for key, ttl in waiting[start : start + _BATCH]:
                # Only an existing key has a TTL to push: what was ended stays ended. And only ahead (GT): another
                # worker may have seen a later request.
                pipe.pexpire(self._name(key), max(ttl, _MILLISECOND), gt=True)
            values_of(await pipe.execute(raise_on_error=False))

    async def reseal(self, keys: Sequence[str]) -> int:
        """Seal these with the ring's first key where another one sealed them; how many. Raises StoreUnavailable."""
        work = reseal(self._redis, self.record_prefix, self._records, self._indexes, keys)
        return await self._operations.run(work)

    async def revoke(self, key: str) -> Session | None:
        """End one session now, in every process. The session, if there was one. Raises StoreUnavailable."""
        ended = await self._operations.run(self._revoke([key]))
        return ended[0] if ended else None

    async def revoke_many(self, keys: Sequence[str]) -> list[Session]:
        """The same for several, by key; what no key opens is deleted too. Raises StoreUnavailable."""
        return await self._operations.run(self._revoke(keys))

    async def end_again(self) -> None:
        """Whatever this worker ended lately stays ended, whoever is primary now. Raises StoreUnavailable."""
        # SECURITY: a replica that lagged and was promoted brings back sessions whose end was answered for (C-44).
        if keys := self._ended.lately():
            await self._operations.run(self._delete(keys))

    async def revoke_person(self, issuer: str, subject: str, *, only_without_sid: bool = False) -> list[Session]:
        """End all sessions of a person on every app, or those without a provider `sid`. Raises StoreUnavailable."""
        names = self._indexes.of_person(issuer, subject)
        meant = _has_no_sid if only_without_sid else _whichever
        return await self._operations.run(self._revoke_indexed(names, meant))

    async def revoke_provider_session(self, issuer: str, provider_sid: str) -> list[Session]:
        """End all sessions that began in one session at the provider (its `sid`). Raises StoreUnavailable."""
        return await self._operations.run(self._revoke_indexed(self._indexes.of_provider_session(issuer, provider_sid)))

    async def consume(self, attempt_id: str, ttl: timedelta) -> bool:
        """Use a login attempt up. False when that was done before (A-54). Raises StoreUnavailable."""
        name = f"{self._prefix}used:{hashlib.sha256(attempt_id.encode()).hexdigest()}"
        owner = secrets.token_bytes(16)
        if await self._operations.run(self._redis.set(name, owner, nx=True, px=ttl)):
            return True
        # The library may have sent SET twice when the first reply was lost; then the mark is ours all the same.
        return bool(await self._operations.run(self._redis.get(name)) == owner)

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        await self._operations.run(self._redis.ping())

    async def _revoke_indexed(
        self, names: Sequence[str], meant: Callable[[Session], bool] = _whichever
    ) -> list[Session]:
        keys: list[str] = []
        for name in names:
            members: Any = await self._redis.zrange(name, 0, -1)
            keys += [member.decode() for member in members if _KEY.fullmatch(member)]
        return await self._revoke(list(dict.fromkeys(keys)), meant)

    async def _revoke(self, keys: Sequence[str], meant: Callable[[Session], bool] = _whichever) -> list[Session]:
        ended: list[Session] = []
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            pipe = self._redis.pipeline(transaction=False)
            for key in batch:
                pipe.getrange(self._name(key), 0, MAX_RECORD)
            records = values_of(await pipe.execute(raise_on_error=False))
            opened = [(key, self._records.open(key, record)) for key, record in zip(batch, records, strict=True)]
            sessions = [(key, session) for key, session in opened if session is not None and meant(session)]
            pipe = self._redis.pipeline(transaction=False)
            for key in [key for key, _ in sessions] + [key for key, session in opened if session is None]:
                pipe.delete(self._name(key))
            values_of(await pipe.execute(raise_on_error=False))
            self._ended.add(key for key, _ in sessions)
            # The indexes last: what could not be ended can still be found.
            pipe = self._redis.pipeline(transaction=False)
            for key, session in sessions:
                self._indexes.remove(pipe, key, session)
            values_of(await pipe.execute(raise_on_error=False))
            ended += [session for _, session in sessions]
        return ended

    def _sealed(self, key: str, session: Session) -> bytes:
        try:
            return self._records.seal(key, session)
        except ValueError as error:
            raise SignInFailed("session_too_large", str(error)) from error

    async def _delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _BATCH):
            pipe = self._redis.pipeline(transaction=False)
            for key in keys[start : start + _BATCH]:
                pipe.delete(self._name(key))
            raise_refused(await pipe.execute(raise_on_error=False))

    def _name(self, key: str) -> str:
        return self.record_prefix + key
