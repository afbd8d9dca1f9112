"""Session records in Redis: issue, fetch, touch, revoke.

The browser has a random token; Redis has only its hash and a sealed record, so neither a dump nor a log gives a session
away (C-48). An error of Redis is a StoreUnavailable; a record that is missing, foreign or does not open is no session
(C-43, C-51).

Keys under the prefix: `s:<hash of token>` the record, its TTL the idle timeout; `sub:<mark>` and `psid:<mark>` the
record keys of a person and of a session at the provider, scored by when they end; `owner:<hash of token>` whose a session was;
`used:<hash>` what was consumed (`redemptions` has login attempts there); `a:<hash of token>` the fields of `shared_headers`. Needs Redis 7
or any Valkey (PEXPIRE GT).

On a cluster each key may be on another server: no command names two of them, and a pipeline whose keys differ has no order and
may be done in part. So a step that must happen first (a session's index before the session, its record's end before that of its
index) is sent by itself.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.signing_in import SignInFailed
from gateway.redis_client.client import Operations, raise_refused, timer, values_of
from gateway.redis_client.limits import MAX_RECORD
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.owners import Owner, SessionOwners
from gateway.sessions.records import Records, SessionReader, Stored, reseal, swap
from gateway.sessions.session import Session
from gateway.sessions.shared_headers import shared_prefix
from gateway.sessions.tombstones import Tombstones

_KEY: Final = re.compile(rb"[0-9a-f]{64}")
_BATCH: Final = 200
_MILLISECOND: Final = timedelta(milliseconds=1)


def _any_session(session: Session) -> bool:
    return True


def _has_no_sid(session: Session) -> bool:
    return session.provider_sid is None


class SessionStore:
    """`now` gives the wall clock, aware UTC; `accepts` decides whether a stored session is valid under the configuration of now;
    `reader` is the pipelined reader, where there is one.
    """

    def __init__(
        self,
        redis: Redis,
        ring: KeyRing,
        prefix: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        accepts: Callable[[Session], bool] = _any_session,
        reader: RecordReader | None = None,
    ) -> None:
        self.record_prefix: Final = f"{prefix}s:"
        self._redis = redis
        self._records = Records(ring, self.record_prefix)
        self._indexes = Indexes(ring, prefix)
        self._owners = SessionOwners(ring, prefix)
        self._prefix = prefix
        self._now = now
        self.durations: Final = timer(redis, "session_read")
        self._operations = Operations(redis, "session_store")
        self._reader = SessionReader(
            redis, self._records, self.record_prefix, shared_prefix(prefix), self.durations, now, accepts, reader
        )
        self.read = self._reader.read
        self._tombstones = Tombstones()

    @staticmethod
    def new_token() -> str:
        """A value for the session cookie: 256 random bits, base64url, 43 characters (C-40)."""
        return secrets.token_urlsafe(32)

    @staticmethod
    def new_sid() -> str:
        """A session's public handle, for logs, assertions and commands; it never begins with a hyphen, as an option does."""
        return secrets.token_urlsafe(12).replace("-", "_")

    @staticmethod
    def key_of(token: str) -> str:
        """The record's key: 64 hexadecimal digits for any text, so no byte of the client's gets into a key (C-50)."""
        return hashlib.sha256(token.encode()).hexdigest()

    async def issue(self, session: Session, *, replaces: str | None = None, at_first: timedelta | None = None) -> str:
        """Store a session under a new token and return the token; the record `replaces` (a key) dies in the same step.

        `at_first`: the TTL until the first touch, where it is shorter than the idle timeout.

        Raises StoreUnavailable; SignInFailed when the provider's tokens and claims make the record too large.
        """
        token = self.new_token()
        key = self.key_of(token)
        record, ttl = self._seal(key, session), session.ttl(self._now())
        life = ttl if at_first is None else min(ttl, at_first)
        await self._operations.run(self._issue(key, record, session, replaces, life))
        return token

    async def _issue(self, key: str, record: bytes, session: Session, replaces: str | None, life: timedelta) -> None:
        # The index first: a session that an interruption left behind can still be found and ended.
        await self._indexes.enter(self._redis, [(key, session)])
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._name(key), record, px=max(life, _MILLISECOND))
        pipe.set(self._owners.name(key), self._owners.seal(key, session), px=self._owners.life(session, self._now()))
        if replaces is not None:
            # SECURITY: a planted or old token must be dead before the new one is handed out (C-40).
            pipe.delete(self._name(replaces))
        raise_refused(await pipe.execute(raise_on_error=False))
        if replaces is not None:
            self._tombstones.add((replaces,))

    async def rewrite(self, key: str, before: Stored, session: Session) -> bool:
        """Put `session` in the place of the record that `before` was read from; its TTL stays.

        False: that record is not there any more, and nothing was written. Raises as `issue`.
        """
        record = self._seal(key, session)
        return await self._operations.run(self._rewrite(key, before, record, session))

    async def _rewrite(self, key: str, before: Stored, record: bytes, session: Session) -> bool:
        if session.provider_sid != before.session.provider_sid or before.old_key:
            await self._indexes.enter(self._redis, [(key, session)])
        # SECURITY: a session that was ended meanwhile stays ended, and of two writers neither undoes the other's work (C-44).
        return await swap(self._redis, self._name(key), before.record, record)

    async def fetch(self, key: str, host: str, app: str, *, tokens: bool = True) -> Stored | None:
        """The session under `key` if it was issued for this host and app; one round trip. Raises StoreUnavailable."""
        return await self._reader.fetch(key, host, app, tokens=tokens)

    async def owner_of(self, key: str, host: str, app: str) -> Owner | None:
        """Whose the session under `key` is or was, until a day after its lifetime. Raises StoreUnavailable."""
        record = await self._operations.run(self._redis.get(self._owners.name(key)))
        return self._owners.open(record, key, host, app)

    async def touch(self, ttls: Mapping[str, timedelta]) -> None:
        """Let these records live `ttl` from now where they exist and would end sooner. Raises StoreUnavailable."""
        await self._operations.run(self._touch(list(ttls.items())))

    async def _touch(self, waiting: Sequence[tuple[str, timedelta]]) -> None:
        for start in range(0, len(waiting), _BATCH):
            pipe = self._redis.pipeline(transaction=False)
            for key, ttl in waiting[start : start + _BATCH]:
                # Only an existing key has a TTL: a session that was ended stays ended. And only ahead (GT): another
                # worker may have had a later request.
                pipe.pexpire(self._name(key), max(ttl, _MILLISECOND), gt=True)
            values_of(await pipe.execute(raise_on_error=False))

    async def reseal(self, keys: Sequence[str]) -> int:
        """Seal records with the ring's first key where another one sealed them; how many. Raises StoreUnavailable."""
        work = reseal(self._redis, self.record_prefix, self._records, self._indexes, keys)
        return await self._operations.run(work)

    async def revoke(self, key: str) -> Session | None:
        """End one session now, in every process. The session, if there was one. Raises StoreUnavailable."""
        ended = await self._operations.run(self._revoke([key]))
        return ended[0] if ended else None

    async def revoke_many(self, keys: Sequence[str]) -> list[Session]:
        """End several sessions; records that no key opens are deleted too. Raises StoreUnavailable."""
        return await self._operations.run(self._revoke(keys))

    async def revoke_again(self) -> None:
        """Delete the records of sessions that this worker ended recently, on the present primary. Raises StoreUnavailable."""
        # SECURITY: a replica that lagged and was promoted brings back sessions whose end was confirmed to a client (C-44).
        if keys := self._tombstones.recent():
            await self._operations.run(self._delete(keys))

    async def revoke_person(self, issuer: str, subject: str, *, only_without_sid: bool = False) -> list[Session]:
        """End all sessions of a person on every app, or those without a provider `sid`. Raises StoreUnavailable."""
        names = self._indexes.of_person(issuer, subject)
        matches = _has_no_sid if only_without_sid else _any_session
        return await self._operations.run(self._revoke_indexed(names, matches))

    async def revoke_provider_session(self, issuer: str, provider_sid: str) -> list[Session]:
        """End all sessions that began in one session at the provider (its `sid`). Raises StoreUnavailable."""
        return await self._operations.run(self._revoke_indexed(self._indexes.of_provider_session(issuer, provider_sid)))

    async def consume(self, attempt_id: str, ttl: timedelta) -> bool:
        """Consume what may be used once. False when it was consumed before (A-54). Raises StoreUnavailable."""
        name = f"{self._prefix}used:{hashlib.sha256(attempt_id.encode()).hexdigest()}"
        return await self._operations.take(name, secrets.token_bytes(16), ttl)

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        await self._operations.run(self._redis.ping())

    async def _revoke_indexed(
        self, names: Sequence[str], matches: Callable[[Session], bool] = _any_session
    ) -> list[Session]:
        keys: list[str] = []
        for name in names:
            members: Any = await self._redis.zrange(name, 0, -1)
            keys += [member.decode() for member in members if _KEY.fullmatch(member)]
        return await self._revoke(list(dict.fromkeys(keys)), matches)

    async def _revoke(self, keys: Sequence[str], matches: Callable[[Session], bool] = _any_session) -> list[Session]:
        ended: list[Session] = []
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            pipe = self._redis.pipeline(transaction=False)
            for key in batch:
                pipe.getrange(self._name(key), 0, MAX_RECORD)
            records = values_of(await pipe.execute(raise_on_error=False))
            opened = [(key, self._records.open(key, record)) for key, record in zip(batch, records, strict=True)]
            sessions = [(key, session) for key, session in opened if session is not None and matches(session)]
            pipe = self._redis.pipeline(transaction=False)
            for key in [key for key, _ in sessions] + [key for key, session in opened if session is None]:
                pipe.delete(self._name(key))
            values_of(await pipe.execute(raise_on_error=False))
            self._tombstones.add(key for key, _ in sessions)
            # The indexes last: a session that could not be ended can still be found.
            pipe = self._redis.pipeline(transaction=False)
            for key, session in sessions:
                self._indexes.remove(pipe, key, session)
            values_of(await pipe.execute(raise_on_error=False))
            ended += [session for _, session in sessions]
        return ended

    def _seal(self, key: str, session: Session) -> bytes:
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
