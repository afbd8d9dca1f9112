"""Numbers of the whole fleet over time: counts by the minute for a day, and by the hour for a month.

Each parent process adds once a minute what its workers counted since. Keys under the prefix: `numbers:minute:N` and `numbers:hour:N`, where N
is the number of that minute or hour since 1970, each a hash of counts by labels; `numbers:last`, a hash of the second in which an event was
counted last.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from gateway.observability.counters import BUCKETS, WorkerCounts
from gateway.redis_client.client import Operations, RedisClient, values_of

#: Different labels in a minute or an hour; more are not counted.
LABELS: Final = 1_000
_AT_ONCE: Final = 240  # hashes that are read in one batch
# KEYS: the hash. ARGV: how it is written ("add" or "set"), the most fields, its lifetime in milliseconds, then fields and values in turn.
_WRITE: Final = """
local room = tonumber(ARGV[2]) - redis.call('HLEN', KEYS[1])
for i = 4, #ARGV, 2 do
  local known = redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1
  if known or room > 0 then
    if ARGV[1] == 'add' then redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
    if not known then room = room - 1 end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.status_reply('OK')
"""

#: A kind of number and what it is of, as `("requests", "portal", "2xx")`.
Labels = tuple[str, ...]
Counts = Mapping[Labels, int]

REQUESTS: Final = "requests"  # by app and class of status
DURATIONS: Final = "durations"  # by app and place in BUCKETS
EVENTS: Final = "events"  # by event, app and outcome: its reason or rule, or nothing
_LENGTHS: Final = {REQUESTS: 3, DURATIONS: 3, EVENTS: 4}
_GREATEST: Final = 2**33  # a count of one hour, and a second since 1970, are below
_PLACES: Final = frozenset(map(str, range(len(BUCKETS) + 1)))


class Step(Enum):
    """How finely numbers are kept, and for how long."""

    MINUTE = ("minute", timedelta(minutes=1), timedelta(hours=25))
    HOUR = ("hour", timedelta(hours=1), timedelta(days=32))

    def __init__(self, label: str, length: timedelta, kept: timedelta) -> None:
        self.label = label
        self.length = length
        self.kept = kept

    def number(self, at: float) -> int:
        """Of a moment in seconds since 1970."""
        return int(at // self.length.total_seconds())


@dataclass(frozen=True, slots=True)
class Slot:
    """One minute or hour; `at` is its beginning, in seconds since 1970."""

    at: float
    counts: Counts


class NumberStore:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}numbers:"
        self._operations = Operations(redis, "numbers")

    async def add(self, at: float, counts: Counts) -> None:
        """Add what was counted until now, `at` in seconds since 1970."""
        fields = {json.dumps(labels): str(count) for labels, count in counts.items() if count > 0}
        if not fields:
            return
        for step in Step:
            await self._write("add", self._key(step, step.number(at)), step.kept, fields)
        seen = {field: str(int(at)) for field in fields if field.startswith(f'["{EVENTS}"')}
        if seen:
            await self._write("set", f"{self._prefix}last", Step.HOUR.kept, seen)

    async def read(self, step: Step, since: float, until: float) -> Sequence[Slot]:
        """The slots from `since` to `until`, both in seconds since 1970, one for each minute or hour, the oldest first."""
        oldest = step.number(until) - step.kept // step.length
        numbers = range(max(step.number(since), oldest), step.number(until) + 1)
        slots = []
        for begin in range(0, len(numbers), _AT_ONCE):
            part = numbers[begin : begin + _AT_ONCE]
            pipeline = self._redis.pipeline(transaction=False)
            for number in part:
                pipeline.hgetall(self._key(step, number))
            replies = values_of(await self._operations.run(pipeline.execute(raise_on_error=False)))
            for number, reply in zip(part, replies, strict=True):
                slots.append(Slot(number * step.length.total_seconds(), _counts(reply or {})))
        return slots

    async def last_seen(self) -> Counts:
        """When each event was counted last, in seconds since 1970."""
        reading: Awaitable[Any] = self._redis.hgetall(f"{self._prefix}last")
        return _counts(await self._operations.run(reading))

    def _key(self, step: Step, number: int) -> str:
        return f"{self._prefix}{step.label}:{number}"

    async def _write(self, how: str, key: str, kept: timedelta, fields: Mapping[str, str]) -> None:
        words = [word for field in fields.items() for word in field]
        # SECURITY: labels without end must not fill Redis, where all sessions are (C-83).
        script: Awaitable[Any] = self._redis.eval(
            _WRITE, 1, key, how, str(LABELS), str(int(kept.total_seconds() * 1000)), *words
        )
        await self._operations.run(script)


class Growth:
    """What was counted since the last call, from sums that never go back."""

    def __init__(self) -> None:
        self._before: Counter[Labels] = Counter()

    def of(self, counts: WorkerCounts) -> Counts:
        """Of the sums of all workers that there were."""
        sums = labelled(counts)
        growth = {
            labels: count - self._before[labels] for labels, count in sums.items() if count > self._before[labels]
        }
        self._before = sums
        return growth

    def take_back(self, growth: Counts) -> None:
        """This growth was not written: it is a part of the next."""
        self._before.subtract(growth)


def labelled(counts: WorkerCounts) -> Counter[Labels]:
    """The sums that are kept over time."""
    sums: Counter[Labels] = Counter()
    for (app, status), count in counts.requests.items():
        sums[REQUESTS, app, f"{status // 100}xx"] += count
    for labels, histogram in counts.durations.items():
        if labels[0] == "response":
            for place, count in enumerate(histogram.counts):
                sums[DURATIONS, labels[1], str(place)] += count
    for (event, app, outcome), count in counts.outcomes.items():
        sums[EVENTS, event, app, outcome] += count
    return sums


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The duration in seconds that `share` of the requests did not exceed, by buckets as BUCKETS has them; None without requests.

    Within a bucket the durations are taken as evenly spread, as Prometheus' `histogram_quantile` does; above the last it is that one.
    """
    total = sum(counts)
    if not total:
        return None
    left = share * total
    for place, count in enumerate(counts):
        if count and left <= count:
            if place == len(BUCKETS):
                return BUCKETS[-1]
            low = BUCKETS[place - 1] if place else 0.0
            return low + (BUCKETS[place] - low) * left / count
        left -= count
    return BUCKETS[-1]


def _counts(fields: Mapping[bytes, bytes]) -> Counts:
    """Without what is no number of ours."""
    counts: dict[Labels, int] = {}
    for field, value in fields.items():
        try:
            labels, count = json.loads(field), int(value)
        except ValueError:
            continue
        if isinstance(labels, list) and 0 < count < _GREATEST and _is_ours(labels):
            counts[tuple(labels)] = count
    return counts


def _is_ours(labels: Sequence[Any]) -> bool:
    """Whether `labelled` makes such labels: fields are not sealed, and another writer to Redis, or another version, may have written them."""
    if not labels or not all(isinstance(label, str) for label in labels):
        return False
    return len(labels) == _LENGTHS.get(labels[0]) and (labels[0] != DURATIONS or labels[2] in _PLACES)
