"""Which sessions a person has, and which began in one session at the provider: sorted sets of record keys, scored by when they end.

A set's name is a keyed hash of the person or the provider's session: a dump of Redis names no person (C-48). It is written under the
ring's first key and read under all of them, so that a set outlives a change of keys. An entry proves nothing: only the record shows whether
the session is over.

The invariant: a session that is not over is in its sets. The clock is that of Redis, for all workers; an entry that is over by it is removed
only when its record is gone too.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import raise_refused, values_of
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session

_MILLISECOND: Final = timedelta(milliseconds=1)
_MARGIN: Final = (
    timedelta(hours=1) // _MILLISECOND
)  # a set, and each entry, is kept this much longer: the clocks of workers differ
_MOST_LOOKED_AT: Final = 200  # entries that are over, each time another one comes

# KEYS: the set. ARGV: the record's key, the session's lifetime (ms), its end by the clock of the worker that began it (ms since 1970). A set is
# kept until the later of the two ends: a session that began by a clock that is ahead lives as long. Returns entries that seem to be over.
# SECURITY: by the clock of a worker that is ahead, all sessions would be over, and out of reach of any sign-out (C-72).
_ENTER: Final = f"""
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ends = tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], string.format('%.3f', math.max(now, ends) / 1000), ARGV[1])
local kept = string.format('%.0f', math.max(tonumber(ARGV[2]), ends - now) + {_MARGIN})
redis.call('PEXPIRE', KEYS[1], kept, 'NX')
redis.call('PEXPIRE', KEYS[1], kept, 'GT')
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.3f', (now - {_MARGIN}) / 1000), 'LIMIT', 0, {_MOST_LOOKED_AT})
"""


class Indexes:
    """The sets `sub:<mark>` and `psid:<mark>` under the prefix; a mark is a keyed hash."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("index")
        self._prefix = prefix
        self._records = f"{prefix}s:"

    def of_person(self, issuer: str, subject: str) -> list[str]:
        """The set's name under each key of the ring, the one to write first."""
        return self.names("sub", issuer, subject)

    def of_provider_session(self, issuer: str, provider_sid: str) -> list[str]:
        """As `of_person`, for a session at the provider (its `sid`)."""
        return self.names("psid", issuer, provider_sid)

    def names(self, kind: str, *about: str) -> list[str]:
        """The names of `kind` for these texts, one under each key of the ring."""
        return [f"{self._prefix}{kind}:{mark}" for mark in self._ring.marks((kind, *about))]

    async def enter(self, redis: Redis, sessions: Iterable[tuple[str, Session]]) -> None:
        """Enter sessions, by record key; remove entries whose sessions are certainly over. Raises StoreUnavailable, RedisError."""
        entered = [(name, key, session) for key, session in sessions for name, *_ in self._sets(session)]
        if not entered:
            return
        pipe = redis.pipeline(transaction=False)
        for name, key, session in entered:
            life, ends = session.lifetime // _MILLISECOND, int(session.expires_at.timestamp() * 1000)
            pipe.eval(_ENTER, 1, name, key, str(life), str(ends))
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        raise_refused(replies)
        over = {(name, member) for (name, _, _), members in zip(entered, replies, strict=True) for member in members}
        if over:
            await self._drop_the_gone(redis, sorted(over))

    async def _drop_the_gone(self, redis: Redis, over: list[tuple[str, bytes]]) -> None:
        """Remove entries without a record. A key is never used twice, so a record that is gone stays gone."""
        pipe = redis.pipeline(transaction=False)
        for _, member in over:
            pipe.exists(self._records + member.decode("ascii", "replace"))
        there = values_of(await pipe.execute(raise_on_error=False))
        pipe = redis.pipeline(transaction=False)
        for (name, member), lives in zip(over, there, strict=True):
            if not lives:
                pipe.zrem(name, member)
        values_of(await pipe.execute(raise_on_error=False))

    def remove(self, pipe: Any, key: str, session: Session) -> None:
        """Add the removal of a session to `pipe`, a pipeline of redis-py that the caller executes."""
        for names in self._sets(session):
            for name in names:
                pipe.zrem(name, key)

    def _sets(self, session: Session) -> list[list[str]]:
        issuer = session.identity.issuer
        sets = [self.of_person(issuer, session.identity.subject)]
        if session.provider_sid is not None:
            sets.append(self.of_provider_session(issuer, session.provider_sid))
        return sets
