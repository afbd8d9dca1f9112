"""What a worker counts, and the report of it: plain integers, cheap to add to and to publish. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self


class Counters:
    """One worker's request counts. Codes are HTTP status codes; app "-" is a request that belonged to none."""

    __slots__ = ("_apps", "in_flight")

    def __init__(self) -> None:
        self._apps: dict[str, tuple[dict[int, int], Histogram]] = {}
        self.in_flight = 0

    def finished(self, app: str, status: int, seconds: float) -> None:
        """Count one response; `seconds` is the time from the request head to the response's end."""
        known = self._apps.get(app)
        if known is None:
            known = self._apps[app] = ({}, Histogram())
        statuses, histogram = known
        statuses[status] = statuses.get(status, 0) + 1
        histogram.counts[bisect_left(BUCKETS, seconds)] += 1  # `observe`, without the call
        histogram.seconds += seconds

    @property
    def requests(self) -> Counter[tuple[str, int]]:
        """Responses by app and status."""
        return Counter(
            {(app, status): count for app, (statuses, _) in self._apps.items() for status, count in statuses.items()}
        )

    @property
    def durations(self) -> dict[str, "Histogram"]:
        """Of responses, by app."""
        return {app: histogram for app, (_, histogram) in self._apps.items()}


BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Histogram:
    """`counts[i]` are the durations up to `BUCKETS[i]` and over the one before; the last are longer than all."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def merge(self, other: "Histogram") -> None:
        """Add the durations of another histogram."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.seconds += other.seconds


@dataclass(slots=True, kw_only=True)
class WorkerCounts:
    """Sums since a worker's start, or of several workers; they outlive it, because a counter never goes back."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by app and status
    events: Counter[tuple[str, str]] = field(default_factory=Counter)  # by event and app
    break_glass_uses: Counter[str] = field(default_factory=Counter)  # by app
    log_lines_dropped: Counter[str] = field(default_factory=Counter)  # by stream
    unexpected_errors: Counter[str] = field(default_factory=Counter)  # by the name of the work
    durations: dict[str, Histogram] = field(default_factory=dict)  # of responses, by app
    redis_durations: dict[str, Histogram] = field(default_factory=dict)  # by command

    def merge(self, other: "WorkerCounts") -> None:
        """Add the counts of another worker. `other` stays as it is."""
        self.requests.update(other.requests)
        self.events.update(other.events)
        self.break_glass_uses.update(other.break_glass_uses)
        self.log_lines_dropped.update(other.log_lines_dropped)
        self.unexpected_errors.update(other.unexpected_errors)
        for ours, theirs in ((self.durations, other.durations), (self.redis_durations, other.redis_durations)):
            for name, histogram in theirs.items():
                ours.setdefault(name, Histogram()).merge(histogram)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "requests": _rows(self.requests),
            "events": _rows(self.events),
            "break_glass_uses": dict(self.break_glass_uses),
            "log_lines_dropped": dict(self.log_lines_dropped),
            "unexpected_errors": dict(self.unexpected_errors),
            "durations": {name: [each.counts, each.seconds] for name, each in self.durations.items()},
            "redis_durations": {name: [each.counts, each.seconds] for name, each in self.redis_durations.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            requests=Counter(_pairs(data["requests"])),
            events=Counter(_pairs(data["events"])),
            break_glass_uses=Counter(data["break_glass_uses"]),
            log_lines_dropped=Counter(data["log_lines_dropped"]),
            unexpected_errors=Counter(data["unexpected_errors"]),
            durations={name: _histogram(*each) for name, each in data["durations"].items()},
            redis_durations={name: _histogram(*each) for name, each in data["redis_durations"].items()},
        )


@dataclass(slots=True, kw_only=True)
class WorkerReport:
    """One worker at one moment: its counts, and the state that ends with it.

    `upstreams` are connections by app and state, `break_glass` the open openings, `dependencies` each dependency's state as
    `runtime.health` gives it.
    """

    counts: WorkerCounts = field(default_factory=WorkerCounts)
    in_flight: int = 0
    sessions_cached: int = 0
    upstreams: dict[tuple[str, str], int] = field(default_factory=dict)
    break_glass: list[dict[str, str]] = field(default_factory=list)
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "counts": self.counts.to_json(),
            "in_flight": self.in_flight,
            "sessions_cached": self.sessions_cached,
            "upstreams": _rows(self.upstreams),
            "break_glass": self.break_glass,
            "dependencies": self.dependencies,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{**data, "counts": WorkerCounts.from_json(data["counts"]), "upstreams": dict(_pairs(data["upstreams"]))}
        )


def _rows(counts: Mapping[tuple[Any, Any], int]) -> list[list[Any]]:
    return [[*key, count] for key, count in counts.items()]


def _pairs(rows: Iterable[list[Any]]) -> dict[tuple[Any, Any], int]:
    return {(first, second): count for first, second, count in rows}


def _histogram(counts: list[int], seconds: float) -> Histogram:
    histogram = Histogram()
    histogram.counts, histogram.seconds = counts, seconds
    return histogram
