"""The calls that all workers together may make of the directory's API: counted in Redis, in the windows of its limits.

One hash for each API, changed by one script, so that two workers never take the same place. A throttled response to one worker is a
pause for all. The windows are fixed ones: an API counts in its own way, and its response decides.
"""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import Operations

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_TAKE: Final = """
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = tonumber(redis.call('hget', KEYS[1], 'pause') or '0') - now
local counts = {}
for i = 1, #ARGV, 3 do
  local window, limit = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local start = string.format('%.0f', now - now % window)
  local began, count = string.match(redis.call('hget', KEYS[1], ARGV[i]) or '', '^(%d+) (%d+)$')
  count = began == start and tonumber(count) or 0
  if count >= limit then wait = math.max(wait, tonumber(start) + window - now) end
  counts[ARGV[i]] = start .. ' ' .. string.format('%.0f', count + 1)
end
if wait > 0 then return wait end
for name, value in pairs(counts) do redis.call('hset', KEYS[1], name, value) end
redis.call('pexpire', KEYS[1], 172800000)
return 0
"""
_PAUSE: Final = """
local time = redis.call('time')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
if till > tonumber(redis.call('hget', KEYS[1], 'pause') or '0') then
  redis.call('hset', KEYS[1], 'pause', string.format('%.0f', till))
  redis.call('pexpire', KEYS[1], 172800000)
end
return 0
"""


class CallBudget:
    """`realm` names the API: several gateways that use it are counted together where they share a Redis."""

    def __init__(self, redis: Redis, prefix: str, realm: str, limits: schema.Budget) -> None:
        self._redis = redis
        self._key = f"{prefix}budget:{realm}"
        self._operations = Operations(redis, "directory_budget")
        every = (
            ("second", _SECOND, limits.per_second),
            ("minute", _MINUTE, limits.per_minute),
            ("hour", _HOUR, limits.per_hour),
            ("day", _DAY, limits.per_day),
        )
        writes = (
            ("write-minute", _MINUTE, limits.writes_per_minute),
            ("write-day", _DAY, limits.writes_per_day),
        )
        self._reading = tuple(str(part) for window in every if window[2] for part in window)
        self._writing = self._reading + tuple(str(part) for window in writes if window[2] for part in window)

    async def take(self, *, write: bool) -> float:
        """0: the call may be made, and is counted. Else the seconds after which to try again. Raises StoreUnavailable."""
        wait = await self._run(_TAKE, *(self._writing if write else self._reading))
        return wait / 1000

    async def pause(self, seconds: float) -> None:
        """No worker makes a call for so long. Raises StoreUnavailable."""
        length = min(timedelta(seconds=seconds), _LONGEST_PAUSE)
        await self._run(_PAUSE, str(length // timedelta(milliseconds=1)))

    async def _run(self, script: str, *arguments: str) -> int:
        answer: Awaitable[Any] = self._redis.eval(script, 1, self._key, *arguments)
        return int(await self._operations.run(answer))
