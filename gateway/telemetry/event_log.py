"""The last events of the fleet, in two streams of Redis: one for people and operators, one for refusals of strangers.

A flood of strangers cannot push out the rest: it has a stream of its own, and events that are alike are one entry for each minute, with a count.
Entries are sealed; `event_reader` opens them. Keys under the prefix: `events:people`, `events:strangers`.
"""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability import events
from gateway.observability.background import repeat
from gateway.observability.events import Audit, Fact
from gateway.redis_client.client import Operations, RedisClient, raise_refused
from gateway.redis_client.invalidation import end_task
from gateway.sessions.keyring import KeyRing

PEOPLE: Final = "people"
STRANGERS: Final = "strangers"
STREAMS: Final = (PEOPLE, STRANGERS)
LENGTH: Final = 10_000  # entries of each stream
QUEUE: Final = 2_000  # events of one process that wait for Redis
ALIKE: Final = (
    50  # kinds of refusals in a minute that are told apart by their client; all others are counted without it
)
_BATCH: Final = 200
_MINUTE: Final = 60.0
_AFTER_FAILURE_SECONDS: Final = 1.0
#: A stranger can cause these as often as requests are sent.
_OF_STRANGERS: Final = frozenset(
    {events.LOGIN_STARTED, events.LOGIN_REFUSED, events.ROUTE_BLOCKED, events.ACCESS_DENIED, events.FORM_LOST}
)
_OF_A_PERSON: Final = ("session", "subject")


@dataclass(slots=True)
class _Repeats:
    """Refusals that are alike, within one minute: the first is written at once, the others as one entry with their number."""

    first: Mapping[str, Fact]
    count: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class _Minute:
    number: int = -1
    repeats: dict[tuple[Fact, ...], _Repeats] = field(default_factory=dict)


class EventLog:
    """Writes the events of one process. `dropped` counts those for which the queue had no room."""

    def __init__(self, redis: RedisClient, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._seal = EventSeal(ring, prefix)
        self._operations = Operations(redis, "events")
        self._queue: deque[tuple[str, float, Mapping[str, Fact]]] = deque()
        self._minute = _Minute()
        self._waiting = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begin to write what is put."""
        self._task = asyncio.create_task(repeat("events", self._step))

    async def close(self, seconds: float) -> None:
        """Write what waits, for at most `seconds`."""
        if self._task is None:
            return
        await end_task(self._task)
        self._end_minute()
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(seconds):
                while self._queue:
                    await self._write_batch()

    def put(self, at: float, line: Mapping[str, Fact]) -> None:
        """Keep an event of this moment, in seconds since 1970. Never waits; drops and counts what has no room."""
        self._end_minute(at)
        if line["event"] not in _OF_STRANGERS or any(name in line for name in _OF_A_PERSON):
            self._append(PEOPLE, at, line)
            return
        # SECURITY: strangers who cause refusals without end must not push out what others did (C-82).
        repeats = self._minute.repeats
        kind = (line["event"], line["app"], line.get("reason"), line.get("rule"), line.get("kind"))
        alike: tuple[Fact, ...] = (*kind, line.get("client"))
        if alike not in repeats and len(repeats) >= ALIKE:
            alike, line = kind, {name: value for name, value in line.items() if name != "client"}
        known = repeats.get(alike)
        if known is None:
            repeats[alike] = _Repeats(line)
            self._append(STRANGERS, at, line)
        else:
            known.count += 1
            known.last_at = at

    def _end_minute(self, at: float | None = None) -> None:
        """Write the counts of the last minute when it is over; without `at`, in any case."""
        number = -1 if at is None else int(at // _MINUTE)
        if number == self._minute.number:
            return
        for each in self._minute.repeats.values():
            if each.count:
                self._append(STRANGERS, each.last_at, {**each.first, "count": each.count})
        self._minute = _Minute(number)

    def _append(self, stream: str, at: float, line: Mapping[str, Fact]) -> None:
        if len(self._queue) >= QUEUE:
            self.dropped += 1
            return
        self._queue.append((stream, at, line))
        self._waiting.set()

    async def _step(self) -> float | None:
        if not self._queue:
            self._waiting.clear()
            await self._waiting.wait()
        try:
            await self._write_batch()
        except StoreUnavailable:
            return _AFTER_FAILURE_SECONDS  # which `store.unavailable` says; what does not fit meanwhile is counted
        return None

    async def _write_batch(self) -> None:
        """Raises StoreUnavailable; then the events that were not written wait on."""
        batch = [self._queue[place] for place in range(min(_BATCH, len(self._queue)))]
        pipeline = self._redis.pipeline(transaction=False)
        for stream, at, line in batch:
            entry: Any = {b"e": self._seal.seal(stream, at, line)}
            pipeline.xadd(self._seal.key(stream), entry, maxlen=LENGTH, approximate=False)
        replies = await self._operations.run(pipeline.execute(raise_on_error=False))
        for _ in batch:
            self._queue.popleft()
        refused = [event for event, reply in zip(batch, replies, strict=True) if isinstance(reply, Exception)]
        self._queue.extendleft(reversed(refused))
        raise_refused(replies)


def open_event_log(config: Config, redis: RedisClient, ring: KeyRing, audit: Audit) -> EventLog | None:
    """The log of this process, started, to which `audit` gives its events. None where there is no console that shows them."""
    if config.console is None:
        return None
    log = EventLog(redis, ring, config.redis.key_prefix)
    audit.keep = log.put
    log.start()
    return log


def losses(log: EventLog | None) -> Counter[str]:
    """The events that were dropped, as WorkerCounts counts lines; `log` is None where no console is configured."""
    return Counter() if log is None else Counter(console=log.dropped)


class EventSeal:
    """The keys of the streams, and the form of their entries."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("event")
        self._prefix = f"{prefix}events:"

    def key(self, stream: str) -> str:
        return self._prefix + stream

    def seal(self, stream: str, at: float, line: Mapping[str, Fact]) -> bytes:
        """`at` in seconds since 1970."""
        return self._ring.seal(json.dumps([at, line]).encode(), self._context(stream))

    def open(self, stream: str, sealed: bytes) -> tuple[float, dict[str, Any]]:
        """Raises ValueError."""
        at, line = json.loads(self._ring.open(sealed, self._context(stream)))
        return at, line

    def _context(self, stream: str) -> tuple[str, ...]:
        # SECURITY: an entry that another writer to Redis made, or moved from the other stream, is no event (C-82).
        return ("event", self.key(stream))
