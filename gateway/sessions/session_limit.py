"""At most so many sessions of one person in one app, exactly, however many logins run at once in however many processes.

A person's places in an app are one sorted set of record keys in the order of taking; one script on that one key decides. The order of
steps makes it exact: a session's record is stored, for a moment only, before its place is taken; sessions over the limit are ended before
the new session's token is handed out. A process that dies in between leaves a record whose token no browser has.

A set's name is a keyed hash under each key of the ring, and a place is taken in all of them: processes whose rings share a key share
a set. Entries prove nothing: sessions that ended are removed before counting, those from before the limit are entered.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations, raise_refused
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.session import Session

PROVISIONAL: Final = timedelta(seconds=30)  # how long a record lives before its place is taken
_UNPLACED: Final = timedelta(minutes=2)  # a session as old as this without a place began before there was a limit
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FULL: Final = b"full"

# KEYS: the set. ARGV: the new key, its score or "", the limit, "refuse" or not, how long the set is kept (ms), the key that ends in any
# case or "", the number of sessions to enter first, their (score, key) pairs, the keys that are over. Returns the new key's score and the
# keys that must end, or _FULL. Scores are microseconds, later ones greater even when the server's clock is set back.
_TAKE: Final = """
local last_pair = 7 + 2 * tonumber(ARGV[7])
for i = 8, last_pair, 2 do redis.call('ZADD', KEYS[1], 'NX', ARGV[i], ARGV[i + 1]) end
for i = last_pair + 1, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
local limit = tonumber(ARGV[3])
if ARGV[4] == 'refuse' then
  local taken = redis.call('ZCARD', KEYS[1])
  if redis.call('ZSCORE', KEYS[1], ARGV[6]) then taken = taken - 1 end
  if taken >= limit then return {'full'} end
end
redis.call('ZREM', KEYS[1], ARGV[6])
local score = ARGV[2]
if score == '' then
  local time = redis.call('TIME')
  local number = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  if last[2] and tonumber(last[2]) >= number then number = tonumber(last[2]) + 1 end
  score = string.format('%.0f', number)
end
redis.call('ZADD', KEYS[1], score, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[5], 'NX')
redis.call('PEXPIRE', KEYS[1], ARGV[5], 'GT')
local result = {score}
local over = redis.call('ZCARD', KEYS[1]) - limit
if over > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do result[#result + 1] = key end
end
return result
"""


class SessionLimit:
    """The sets `places:<mark>` under the prefix; a mark is a keyed hash."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._now = now
        self._records = f"{prefix}s:"
        self._indexes = Indexes(ring, prefix)
        self._scan = SessionScan(redis, ring, prefix)
        self._operations = Operations(redis, "session_limit")

    async def take(
        self, key: str, session: Session, limit: int, *, refuse: bool, instead_of: str | None = None
    ) -> list[str] | None:
        """Take a place for the session that is stored under `key`: the keys of sessions that must end for it; None when all places are taken.

        `refuse`: take no place where there are `limit` sessions. `instead_of` is the key of a session that ends in any case.

        Raises StoreUnavailable.
        """
        return await self._operations.run(self._take(key, session, limit, refuse, instead_of))

    async def _take(
        self, key: str, session: Session, limit: int, refuse: bool, instead_of: str | None
    ) -> list[str] | None:
        person = session.identity
        # Sorted: two processes with the same keys in another order meet at the same set first.
        names = sorted(self._indexes.names("places", person.issuer, person.subject, session.app))
        ending: dict[str, None] = {}
        mode, keep = "refuse" if refuse else "newest_wins", str((session.lifetime + _CLOCKS_DIFFER) // _MILLISECOND)
        score = ""  # from the first set: with another order in each set, each would end other sessions
        for place, name in enumerate(names):
            members: Any = await self._redis.zrange(name, 0, -1)
            alive = await self._alive(session)
            gone = await self._gone({member.decode() for member in members} - alive.keys())
            entered = [part for other, since in alive.items() if other != key for part in (since, other)]
            arguments = (key, score, str(limit), mode, keep, instead_of or "", str(len(entered) // 2), *entered, *gone)
            script: Awaitable[Any] = self._redis.eval(_TAKE, 1, name, *arguments)
            result = await script
            if result == [_FULL]:
                for taken in names[:place]:
                    await self._redis.zrem(taken, key)
                return None
            score = result[0].decode()
            ending |= dict.fromkeys(member.decode() for member in result[1:])
        return list(ending)

    async def _alive(self, session: Session) -> dict[str, str]:
        """The person's sessions in this app by key, each with its beginning in microseconds since 1970; also those from before the limit.

        Without the newest ones: their logins may be under way, and take their places by themselves.
        """
        person, now = session.identity, self._now()
        selection = SessionFilter(
            issuer=person.issuer, subject=person.subject, apps=frozenset((session.app,)), older_than=_UNPLACED
        )
        found: dict[str, str] = {}
        async for entries in self._scan.batches(selection):
            for entry in entries:
                if entry.session is not None and selection.matches(entry.session, now):
                    found[entry.key] = _microseconds(entry.session.created_at)
        return found

    async def _gone(self, keys: set[str]) -> list[str]:
        """The keys without a record. A key is never used twice, so they stay gone."""
        if not keys:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for key in sorted(keys):
            pipe.exists(self._records + key)
        replies = await pipe.execute(raise_on_error=False)
        raise_refused(replies)
        return [key for key, exists in zip(sorted(keys), replies, strict=True) if not exists]


def _microseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1_000_000))
