"""Durations, counted: plain integers, cheap to add to and to publish. Pure."""

from bisect import bisect_left
from collections import Counter
from typing import Any, Final


class Counters:
    """One worker's request counts. Codes are HTTP status codes; app "-" is a request that belonged to none."""

    __slots__ = ("durations", "in_flight", "requests")

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.durations: dict[str, Histogram] = {}
        self.in_flight = 0

    def finished(self, app: str, status: int, seconds: float) -> None:
        self.requests[app, status] += 1
        histogram = self.durations.get(app)
        if histogram is None:
            histogram = self.durations[app] = Histogram()
        histogram.counts[bisect_left(BUCKETS, seconds)] += 1  # `observe`, without the call
        histogram.seconds += seconds

    def snapshot(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return {
            "requests": [[app, code, count] for (app, code), count in self.requests.items()],
            "durations": {app: histogram.counts for app, histogram in self.durations.items()},
            "seconds": {app: histogram.seconds for app, histogram in self.durations.items()},
            "in_flight": self.in_flight,
        }


BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Histogram:
    """`counts[i]` are the durations up to `BUCKETS[i]` and over the one before; the last are longer than all."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
