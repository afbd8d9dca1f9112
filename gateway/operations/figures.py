"""What the fleet counted in a span of time, for the overview: requests, durations, sign-ins, blocked password attempts; by app and over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from gateway.observability import events
from gateway.observability.counters import BUCKETS
from gateway.telemetry.numbers import DURATIONS, EVENTS, REQUESTS, Counts, NumberStore, Slot, Step, quantile

_SIGN_INS: Final = (events.LOGIN_SUCCEEDED, events.LOGIN_REFUSED)
_MILLISECONDS: Final = 1000


class Span(Enum):
    """How far back, in which steps the numbers are read, and how many of them one point of a plot stands for."""

    HOUR = ("hour", timedelta(hours=1), Step.MINUTE, 1)
    DAY = ("day", timedelta(days=1), Step.MINUTE, 10)
    MONTH = ("month", timedelta(days=30), Step.HOUR, 6)

    def __init__(self, label: str, length: timedelta, step: Step, together: int) -> None:
        self.label = label
        self.length = length
        self.step = step
        self.together = together


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFigures:
    """`errors` are responses with a status of 500 and above; durations in milliseconds, None without requests."""

    app: str
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOutcome:
    """How often an event had this outcome: a reason, a rule's name, or nothing."""

    event: str
    app: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The numbers of one point of the plots; `at` is its beginning, in seconds since 1970."""

    at: float
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    signed_in: int
    refused: int
    blocked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one span: `points` the oldest first, the others the greatest first."""

    span: Span
    apps: Sequence[AppFigures]
    sign_ins: Sequence[EventOutcome]
    blocked: Sequence[EventOutcome]
    points: Sequence[Point]


async def figures(numbers: NumberStore, span: Span, now: float) -> Figures:
    """Of the span that ends now, in seconds since 1970. Raises StoreUnavailable."""
    slots = await numbers.read(span.step, now - span.length.total_seconds(), now)
    total = _sum(slots)
    points = [_point(slots[begin : begin + span.together]) for begin in range(0, len(slots), span.together)]
    return Figures(
        span=span,
        apps=sorted((_of_app(total, app) for app in _apps(total)), key=lambda each: -each.requests),
        sign_ins=_outcomes(total, _SIGN_INS),
        blocked=_outcomes(total, (events.ROUTE_BLOCKED,)),
        points=points,
    )


def _sum(slots: Sequence[Slot]) -> Counts:
    total: Counter[tuple[str, ...]] = Counter()
    for slot in slots:
        total.update(slot.counts)
    return total


def _apps(counts: Counts) -> set[str]:
    return {labels[1] for labels in counts if labels[0] == REQUESTS}


def _of_app(counts: Counts, app: str | None) -> AppFigures:
    """None: all apps."""
    requests = {labels[2]: 0 for labels in counts if labels[0] == REQUESTS}
    buckets = [0] * (len(BUCKETS) + 1)
    for labels, count in counts.items():
        if app is not None and labels[1] != app:
            continue
        if labels[0] == REQUESTS:
            requests[labels[2]] += count
        elif labels[0] == DURATIONS:
            buckets[int(labels[2])] += count
    return AppFigures(
        app=app or "",
        requests=sum(requests.values()),
        errors=requests.get("5xx", 0),
        p50_ms=_in_milliseconds(quantile(buckets, 0.5)),
        p99_ms=_in_milliseconds(quantile(buckets, 0.99)),
    )


def _in_milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * _MILLISECONDS, 2)


def _outcomes(counts: Counts, names: Sequence[str]) -> list[EventOutcome]:
    found = [
        EventOutcome(event=labels[1], app=labels[2], outcome=labels[3], count=count)
        for labels, count in counts.items()
        if labels[0] == EVENTS and labels[1] in names
    ]
    return sorted(found, key=lambda each: (-each.count, each.event, each.app, each.outcome))


def _point(slots: Sequence[Slot]) -> Point:
    counts = _sum(slots)
    every = _of_app(counts, None)
    by_event: Counter[str] = Counter()
    for labels, count in counts.items():
        if labels[0] == EVENTS:
            by_event[labels[1]] += count
    return Point(
        at=slots[0].at, requests=every.requests, errors=every.errors, p50_ms=every.p50_ms, p99_ms=every.p99_ms,
        signed_in=by_event[events.LOGIN_SUCCEEDED], refused=by_event[events.LOGIN_REFUSED], blocked=by_event[events.ROUTE_BLOCKED],
    )  # fmt: skip


def as_json(found: Figures) -> Mapping[str, Any]:
    """A JSON-able copy."""
    return asdict(found) | {"span": found.span.label}
