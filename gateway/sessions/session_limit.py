"""At most so many sessions of one person in one app, exactly, however many logins come at once on however many processes.

A person's places in an app are one sorted set of record keys in the order of taking; one script on that one key decides. The order of
steps makes it exact: a session's record stands, for a moment only, before its place is taken; what is over the limit is dead before
the new session's token is handed out. Whoever dies in between leaves a record that nobody holds the token of.

A set's name is a keyed hash under each key of the ring, and a place is taken in all of them: processes whose rings share a key share
a set. Entries prove nothing: sessions that ended are taken out before the counting, those from before the limit are entered.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations, unavailable
from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.session import Session

PROVISIONAL: Final = timedelta(seconds=30)  # how long a record lives whose place is not taken yet
_UNPLACED: Final = timedelta(minutes=2)  # a session as old as this without a place is from before there was a limit
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FULL: Final = b"full"

# KEYS: the set. ARGV: the new key, its score or "", the limit, "refuse" or not, how long the set is kept (ms), the key that ends in any
# case or "", the number of sessions to enter first, their (score, key) pairs, the keys that are over. Returns the new key's score and the
# keys that must end, or _FULL. Scores are microseconds, later ones greater whatever the server's clock does.
_TAKE: Final = """
local last_pair = 7 + 2 * tonumber(ARGV[7])
for i = 8, last_pair, 2 do redis.call('ZADD', KEYS[1], 'NX', ARGV[i], ARGV[i + 1]) end
for i = last_pair + 1, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
local most = tonumber(ARGV[3])
if ARGV[4] == 'refuse' then
  local taken = redis.call('ZCARD', KEYS[1])
  if redis.call('ZSCORE', KEYS[1], ARGV[6]) then taken = taken - 1 end
  if taken >= most then return {'full'} end
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
local answer = {score}
local over = redis.call('ZCARD', KEYS[1]) - most
if over > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do answer[#answer + 1] = key end
end
return answer
"""


class SessionLimit:
    """`places:<mark>` under the prefix."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._now = now
        self._records = f"{prefix}s:"
        self._indexes = Indexes(ring, prefix)
        self._census = SessionScan(redis, ring, prefix)
        self._operations = Operations()

    async def take(
        self, key: str, session: Session, most: int, *, refuse: bool, instead_of: str | None = None
    ) -> list[str] | None:
        """A place for the session whose record stands under `key`: the keys of those that must end for it, None when all are taken.

        `instead_of` is the key of a session that ends in any case. Raises StoreUnavailable.
        """
        return await self._operations.run(self._take(key, session, most, refuse, instead_of))

    async def _take(
        self, key: str, session: Session, most: int, refuse: bool, instead_of: str | None
    ) -> list[str] | None:
        who = session.identity
        # Sorted: two processes with the same keys in another order meet at the same set first.
        names = sorted(self._indexes.names("places", who.issuer, who.subject, session.app))
        ending: dict[str, None] = {}
        mode, keep = "refuse" if refuse else "newest_wins", str((session.lifetime + _CLOCKS_DIFFER) // _MILLISECOND)
        score = ""  # the first set gives it: one order in all of them, or each would end other sessions
        for place, name in enumerate(names):
            known: Any = await self._redis.zrange(name, 0, -1)
            alive = await self._alive(session)
            gone = await self._gone({member.decode() for member in known} - alive.keys())
            entered = [part for other, since in alive.items() if other != key for part in (since, other)]
            arguments = (key, score, str(most), mode, keep, instead_of or "", str(len(entered) // 2), *entered, *gone)
            script: Awaitable[Any] = self._redis.eval(_TAKE, 1, name, *arguments)
            answer = await script
            if answer == [_FULL]:
                for taken in names[:place]:
                    await self._redis.zrem(taken, key)
                return None
            score = answer[0].decode()
            ending |= dict.fromkeys(member.decode() for member in answer[1:])
        return list(ending)

    async def _alive(self, session: Session) -> dict[str, str]:
        """The person's sessions in this app, and since when, in microseconds: those that began before there was a limit, too.

        Not the newest ones: their logins may still be going on, and take or miss their places by themselves.
        """
        who, now = session.identity, self._now()
        selection = SessionFilter(
            issuer=who.issuer, subject=who.subject, apps=frozenset((session.app,)), older_than=_UNPLACED
        )
        found: dict[str, str] = {}
        async for entries in self._census.batches(selection):
            for entry in entries:
                if entry.session is not None and selection.holds(entry.session, now):
                    found[entry.key] = _microseconds(entry.session.created_at)
        return found

    async def _gone(self, keys: set[str]) -> list[str]:
        """Those whose record is no more. A key is never used twice, so they stay gone."""
        if not keys:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for key in sorted(keys):
            pipe.exists(self._records + key)
        return [
            key
            for key, there in zip(sorted(keys), _done(await pipe.execute(raise_on_error=False)), strict=True)
            if not there
        ]


def _microseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1_000_000))


def _done(replies: Sequence[Any]) -> Sequence[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
    return replies
