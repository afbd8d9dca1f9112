"""What is counted: plain integers, published to the parent, which renders them."""

from bisect import bisect_left
from collections import Counter
from typing import Any

from gateway.histogram import BUCKETS, Histogram


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
