"""What a worker counts, and the report of it: plain integers, cheap to add to and to publish. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Self


class Counters:
    """One worker's request counts. Codes are HTTP status codes; app "-" is a request that belonged to none."""

    __slots__ = ("_apps", "in_flight")

    def __init__(self) -> None:
        # By app: responses by status, the durations of responses and those of the upstream.
        self._apps: dict[str, tuple[dict[int, int], Histogram, Histogram]] = {}
        self.in_flight = 0

    def finished(self, app: str, status: int, seconds: float, upstream_seconds: float = -1.0) -> None:
        """Count one response; `seconds` is the time from the request head to the response's end.

        `upstream_seconds` is how long the upstream took to begin it; negative where none did, infinite for an event stream. Of that, and of a
        tunnel, only the number is counted: it lasts as long as both sides like.
        """
        known = self._apps.get(app)
        if known is None:
            known = self._apps[app] = ({}, Histogram(), Histogram())
        statuses, histogram, upstream = known
        statuses[status] = statuses.get(status, 0) + 1
        if status == 101 or upstream_seconds == inf:
            return
        place = bisect_left(BUCKETS, seconds)
        histogram.counts[place] += 1  # `observe`, without the call
        histogram.seconds += seconds
        if upstream_seconds >= 0.0:
            if place and upstream_seconds <= BUCKETS[place - 1]:  # mostly both fall into the same bucket
                place = bisect_left(BUCKETS, upstream_seconds)
            upstream.counts[place] += 1
            upstream.seconds += upstream_seconds

    @property
    def requests(self) -> Counter[tuple[str, int]]:
        """Responses by app and status."""
        return Counter(
            {(app, status): count for app, (statuses, _, _) in self._apps.items() for status, count in statuses.items()}
        )

    @property
    def durations(self) -> "dict[tuple[str, ...], Histogram]":
        """As Durations has them."""
        return {
            (kind, app): histogram
            for app, (_, *histograms) in self._apps.items()
            for kind, histogram in zip(("response", "upstream"), histograms, strict=True)
        }


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


class Durations:
    """Histograms by their labels, the first of which is the kind of the duration (`runtime.metrics`)."""

    __slots__ = ("by_labels",)

    def __init__(self) -> None:
        self.by_labels: dict[tuple[str, ...], Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The histogram with these labels, from now on in the report."""
        return self.by_labels.setdefault(labels, Histogram())


@dataclass(slots=True, kw_only=True)
class WorkerCounts:
    """Sums since a worker's start, or of several workers; they outlive it, because a counter never goes back."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by app and status
    events: Counter[tuple[str, str]] = field(default_factory=Counter)  # by event and app
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # by event, app, and reason or rule
    break_glass_uses: Counter[str] = field(default_factory=Counter)  # by app
    log_lines_dropped: Counter[str] = field(default_factory=Counter)  # by stream
    unexpected_errors: Counter[str] = field(default_factory=Counter)  # by the name of the work
    #: By kind and labels, as Durations has them.
    durations: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def merge(self, other: "WorkerCounts") -> None:
        """Add the counts of another worker. `other` stays as it is."""
        self.requests.update(other.requests)
        self.events.update(other.events)
        self.outcomes.update(other.outcomes)
        self.break_glass_uses.update(other.break_glass_uses)
        self.log_lines_dropped.update(other.log_lines_dropped)
        self.unexpected_errors.update(other.unexpected_errors)
        self.cpu_seconds += other.cpu_seconds
        for labels, histogram in other.durations.items():
            self.durations.setdefault(labels, Histogram()).merge(histogram)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "requests": _rows(self.requests),
            "events": _rows(self.events),
            "outcomes": _rows(self.outcomes),
            "break_glass_uses": dict(self.break_glass_uses),
            "log_lines_dropped": dict(self.log_lines_dropped),
            "unexpected_errors": dict(self.unexpected_errors),
            "durations": [[labels, each.counts, each.seconds] for labels, each in self.durations.items()],
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            requests=Counter(_pairs(data["requests"])),
            events=Counter(_pairs(data["events"])),
            outcomes=Counter({(event, app, outcome): count for event, app, outcome, count in data["outcomes"]}),
            break_glass_uses=Counter(data["break_glass_uses"]),
            log_lines_dropped=Counter(data["log_lines_dropped"]),
            unexpected_errors=Counter(data["unexpected_errors"]),
            durations={tuple(labels): _histogram(*each) for labels, *each in data["durations"]},
            cpu_seconds=data["cpu_seconds"],
        )


@dataclass(slots=True, kw_only=True)
class WorkerReport:
    """One worker at one moment: its counts, and the state that ends with it.

    `upstreams` are connections by app and state, `break_glass` the open openings, `dependencies` each dependency's state as
    `runtime.health` gives it. `sessions` are those in Redis, None where they were not counted; `certificates` is when those of ours end, in
    seconds since 1970, by configuration key.
    """

    counts: WorkerCounts = field(default_factory=WorkerCounts)
    in_flight: int = 0
    sessions_cached: int = 0
    upstreams: dict[tuple[str, str], int] = field(default_factory=dict)
    break_glass: list[dict[str, str]] = field(default_factory=list)
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)
    sessions: int | None = None
    certificates: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "counts": self.counts.to_json(),
            "in_flight": self.in_flight,
            "sessions_cached": self.sessions_cached,
            "upstreams": _rows(self.upstreams),
            "break_glass": self.break_glass,
            "dependencies": self.dependencies,
            "sessions": self.sessions,
            "certificates": self.certificates,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{**data, "counts": WorkerCounts.from_json(data["counts"]), "upstreams": dict(_pairs(data["upstreams"]))}
        )


def _rows(counts: Mapping[tuple[Any, ...], int]) -> list[list[Any]]:
    return [[*key, count] for key, count in counts.items()]


def _pairs(rows: Iterable[list[Any]]) -> dict[tuple[Any, Any], int]:
    return {(first, second): count for first, second, count in rows}


def _histogram(counts: list[int], seconds: float) -> Histogram:
    histogram = Histogram()
    histogram.counts, histogram.seconds = counts, seconds
    return histogram
