"""The operators' listener: `/ping`, `/ready`, `/metrics`. It is never on the public port, and ignores the cookies of apps.

The parent process owns it. For each scrape it requests a report of every worker, and a custom collector renders the sum.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway.observability.counters import BUCKETS, Histogram, WorkerCounts, WorkerReport
from gateway.runtime.readiness import readiness, worst

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class WorkerCollector:
    """Renders the sum of all workers' reports, and of `past`: the counts of workers that ended or drain.

    `own` are the dependencies that the parent reports itself.
    """

    def __init__(
        self,
        reports: Sequence[WorkerReport],
        past: Sequence[WorkerCounts] = (),
        own: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._reports = reports
        self._own = own or {}
        self._counts = WorkerCounts()
        for counts in (*(report.counts for report in reports), *past):
            self._counts.merge(counts)

    def collect(self) -> Iterator[Metric]:
        """The metric families, in the order of the page."""
        counts, reports = self._counts, self._reports
        yield _counter("doorward_requests", "Requests answered", ("app", "code"), counts.requests)
        in_flight = float(sum(report.in_flight for report in reports))
        yield GaugeMetricFamily("doorward_requests_in_flight", "Requests being answered", value=in_flight)
        yield _histogram(
            "doorward_response_duration_seconds", "Time from request head to end of response", "app", counts.durations
        )
        cached = float(sum(report.sessions_cached for report in reports))
        yield GaugeMetricFamily("doorward_sessions_cached", "Sessions in the workers' caches", value=cached)
        yield self._upstreams()
        yield _histogram("doorward_redis_duration_seconds", "Time of Redis calls", "command", counts.redis_durations)
        yield _counter("doorward_events", "Security events", ("event", "app"), counts.events)
        yield self._log_lines_dropped()
        errors = CounterMetricFamily(
            "doorward_unexpected_errors", "Errors that nothing handles, by work", labels=["work"]
        )
        for work, count in counts.unexpected_errors.items():
            errors.add_metric([work], count)
        yield errors
        yield from self._break_glass()
        yield self._dependencies()
        serving = sum(report.dependencies.get("redis", {}).get("state") == "serving_cached" for report in reports)
        yield GaugeMetricFamily(
            "doorward_workers_serving_cached", "Workers that outlast Redis from memory", value=serving
        )
        yield GaugeMetricFamily("doorward_workers", "Worker processes that report", value=len(reports))

    def _log_lines_dropped(self) -> Metric:
        text = "Log lines dropped because the stream was not read"
        family = CounterMetricFamily("doorward_log_lines_dropped", text, labels=["stream"])
        for stream in ("stdout", "stderr"):
            family.add_metric([stream], self._counts.log_lines_dropped[stream])
        return family

    def _break_glass(self) -> Iterator[Metric]:
        apps = {opening["app"] for report in self._reports for opening in report.break_glass}
        state = GaugeMetricFamily("doorward_break_glass_open", "Apps that are open by break-glass", labels=["app"])
        uses = CounterMetricFamily("doorward_break_glass_requests", "Requests let in by break-glass", labels=["app"])
        for app in sorted(apps | self._counts.break_glass_uses.keys()):
            state.add_metric([app], float(app in apps))
        for app, count in self._counts.break_glass_uses.items():
            uses.add_metric([app], count)
        yield from (state, uses)

    def _dependencies(self) -> Metric:
        family = GaugeMetricFamily("doorward_dependency_up", "Whether a dependency answers", labels=["dependency"])
        for name, dependency in {**worst(self._reports), **self._own}.items():
            if dependency["state"] == "unknown":
                continue
            family.add_metric([name], float(dependency["state"] == "ok"))
        return family

    def _upstreams(self) -> Metric:
        family = GaugeMetricFamily("doorward_upstream_connections", "Connections to upstreams", labels=["app", "state"])
        total: Counter[tuple[str, str]] = Counter()
        for report in self._reports:
            total.update(report.upstreams)
        for labels, count in total.items():
            family.add_metric(labels, count)
        return family


def _counter(name: str, text: str, labels: tuple[str, str], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for (first, second), count in counts.items():
        family.add_metric([first, str(second)], count)
    return family


def _histogram(name: str, text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=[label])
    for key, histogram in histograms.items():
        total, buckets = 0, []
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([key], buckets, histogram.seconds)
    return family


def build_admin(
    reports: Callable[[], Awaitable[Sequence[WorkerReport]]],
    past: Callable[[], Awaitable[Sequence[WorkerCounts]]],
    wanted: Callable[[], int],
    stopping: Callable[[], bool],
    own: Callable[[], Mapping[str, Mapping[str, Any]]],
    process: Callable[[], Mapping[str, Any]],
) -> web.Application:
    """The admin application.

    `reports()` requests one of every worker, `past()` gives the counts of workers that are gone or drain, `wanted()` is how many workers there
    should be, `stopping()` whether the process is stopping, `own()` the dependencies that the parent reports itself,
    `process()` its process id and its reloads.
    """

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    async def ready(request: web.Request) -> web.Response:
        status, body = readiness(await reports(), wanted(), stopping=stopping(), own=own())
        body["process"] = process()
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    async def metrics(request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(WorkerCollector(await reports(), await past(), own()))
        return web.Response(body=generate_latest(registry), headers={"Content-Type": _CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/ping", ping)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app
