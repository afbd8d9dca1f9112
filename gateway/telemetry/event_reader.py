"""Reads the events of both streams as one list, by time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.redis_client.client import Operations, RedisClient
from gateway.sessions.keyring import KeyRing
from gateway.telemetry.event_log import STREAMS, EventSeal

_CHUNK: Final = 500  # entries that are read of a stream at once


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """`line` has `event` and `app` and the event's facts, as in the log, and `count` where it stands for several. `at` in seconds since 1970."""

    at: float
    line: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The line, with its `time` in ISO 8601."""
        return {"time": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"), **self.line}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two entries of each stream: the ID of the entry next to it, in the order of STREAMS; empty for an end of the stream."""

    ids: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.ids)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """What `str` gave. Raises ValueError."""
        ids = tuple(text.split(","))
        if len(ids) != len(STREAMS) or not all(_is_id(each) for each in ids):
            raise ValueError("no place in the events; allowed: what an earlier answer gave")
        return cls(ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """`older` is the place after the last of these events; None when there are no more."""

    events: Sequence[StoredEvent]
    older: Cursor | None


class EventReader:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: RedisClient, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._seal = EventSeal(ring, prefix)
        self._operations = Operations(redis, "events")

    async def page(
        self, count: int, accepts: Callable[[Mapping[str, Any]], bool], before: Cursor | None = None
    ) -> EventPage:
        """The newest `count` events that `accepts`, the newest first; those before a place where one is given."""
        tails = [
            _Tail(stream, "+" if before is None else f"({each}")
            for stream, each in zip(STREAMS, ("",) * len(STREAMS) if before is None else before.ids, strict=True)
            if before is None or each
        ]
        found: list[StoredEvent] = []
        while len(found) < count:
            for tail in tails:
                if not tail.entries and not tail.ended:
                    await self._read_back(tail)
            latest = max(
                (tail for tail in tails if tail.entries), key=lambda tail: _order(tail.entries[-1][0]), default=None
            )
            if latest is None:
                return EventPage(events=found, older=None)
            event = latest.pop(self._seal)
            if event is not None and accepts(event.line):
                found.append(event)
        left = {tail.stream: tail.place for tail in tails if tail.entries or not tail.ended}
        return EventPage(
            events=found, older=Cursor(tuple(left.get(stream, "") for stream in STREAMS)) if left else None
        )

    async def _read_back(self, tail: "_Tail") -> None:
        entries: Any = await self._operations.run(
            self._redis.xrevrange(self._seal.key(tail.stream), max=tail.maximum, count=_CHUNK)
        )
        tail.entries = [(identifier.decode(), fields) for identifier, fields in reversed(entries)]
        tail.ended = len(entries) < _CHUNK


class _Tail:
    """The entries of a stream that were read and not taken yet, the newest last."""

    def __init__(self, stream: str, maximum: str) -> None:
        self.stream = stream
        self.maximum = maximum  # the next to read, as XREVRANGE takes it
        self.entries: list[tuple[str, Mapping[bytes, bytes]]] = []
        self.ended = False

    @property
    def place(self) -> str:
        """The ID of the entry that was taken last; before the first, one that is greater than all."""
        return self.maximum.removeprefix("(").replace("+", f"{2**64 - 1}-{2**64 - 1}")

    def pop(self, seal: EventSeal) -> StoredEvent | None:
        """The newest event; None for an entry that is none."""
        identifier, fields = self.entries.pop()
        self.maximum = f"({identifier}"
        return _opened(seal, self.stream, fields)


def _opened(seal: EventSeal, stream: str, fields: Mapping[bytes, bytes]) -> StoredEvent | None:
    try:
        at, line = seal.open(stream, fields.get(b"e", b""))
    except ValueError:
        return None
    return StoredEvent(at=at, line=line)


def _order(identifier: str) -> tuple[int, int]:
    milliseconds, _, number = identifier.partition("-")
    return int(milliseconds), int(number)


def _is_id(text: str) -> bool:
    """Empty, or an entry's ID."""
    milliseconds, dash, number = text.partition("-")
    return not text or bool(
        dash and all(part.isascii() and part.isdigit() and len(part) <= 20 for part in (milliseconds, number))
    )
