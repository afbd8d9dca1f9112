"""The operators' listener: `/ping`, `/ready`, `/metrics`. Never on the public port, and the apps' cookies mean nothing here.

The parent process owns it. Workers keep plain integers; a scrape asks all of them and a custom collector renders the sum.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway.observability.counters import BUCKETS
from gateway.runtime.readiness import Report, readiness, worst

_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class WorkerCollector:
    """Renders the sum of all workers' reports; `past` are the counts of workers that are gone."""

    def __init__(self, reports: Sequence[Report], past: Sequence[Report] = ()) -> None:
        self._alive = len(reports)
        self._reports = [*reports, *past]

    def collect(self) -> Iterator[Metric]:
        yield self._requests()
        yield GaugeMetricFamily("doorward_requests_in_flight", "Requests being answered", value=self._sum("in_flight"))
        yield from self._histogram(
            "doorward_response_duration_seconds",
            "Time from request head to end of response",
            "app",
            "durations",
            "seconds",
        )
        yield GaugeMetricFamily(
            "doorward_sessions_cached", "Sessions in the workers' caches", value=self._sum("sessions_cached")
        )
        yield self._upstreams()
        yield from self._histogram(
            "doorward_redis_duration_seconds", "Time of Redis calls", "command", "redis_durations", "redis_seconds"
        )
        yield self._events()
        yield from self._break_glass()
        yield self._dependencies()
        serving = [
            report
            for report in self._reports
            if report["dependencies"].get("redis", {}).get("state") == "serving_cached"
        ]
        yield GaugeMetricFamily(
            "doorward_workers_serving_cached", "Workers that outlast Redis from memory", value=len(serving)
        )
        yield GaugeMetricFamily("doorward_workers", "Worker processes that report", value=self._alive)

    def _sum(self, name: str) -> float:
        return float(sum(report[name] for report in self._reports))

    def _requests(self) -> Metric:
        family = CounterMetricFamily("doorward_requests", "Requests answered", labels=["app", "code"])
        for (app, code), count in _added(
            (tuple(row[:2]), row[2]) for report in self._reports for row in report["requests"]
        ).items():
            family.add_metric([app, str(code)], count)
        return family

    def _events(self) -> Metric:
        family = CounterMetricFamily("doorward_events", "Security events", labels=["event", "app"])
        for (event, app), count in _added(
            (tuple(row[:2]), row[2]) for report in self._reports for row in report["events"]
        ).items():
            family.add_metric([event, app], count)
        return family

    def _break_glass(self) -> Iterator[Metric]:
        apps = {opening["app"] for report in self._reports for opening in report["break_glass"]}
        state = GaugeMetricFamily("doorward_break_glass_open", "Apps that are open by break-glass", labels=["app"])
        uses = CounterMetricFamily("doorward_break_glass_requests", "Requests let in by break-glass", labels=["app"])
        counts = _added(item for report in self._reports for item in report["break_glass_uses"].items())
        for app in sorted(apps | counts.keys()):
            state.add_metric([app], float(app in apps))
        for app, count in counts.items():
            uses.add_metric([app], count)
        yield from (state, uses)

    def _dependencies(self) -> Metric:
        family = GaugeMetricFamily("doorward_dependency_up", "Whether a dependency answers", labels=["dependency"])
        for name, one in worst(self._reports[: self._alive]).items():
            family.add_metric([name], float(one["state"] == "ok"))
        return family

    def _upstreams(self) -> Metric:
        family = GaugeMetricFamily("doorward_upstream_connections", "Connections to upstreams", labels=["app", "state"])
        for (app, state), count in _added(
            (tuple(row[:2]), row[2]) for report in self._reports for row in report["upstreams"]
        ).items():
            family.add_metric([app, state], count)
        return family

    def _histogram(self, name: str, text: str, label: str, buckets: str, seconds: str) -> Iterator[Metric]:
        family = HistogramMetricFamily(name, text, labels=[label])
        sums = _added(item for report in self._reports for item in report[seconds].items())
        counts: dict[str, list[int]] = {}
        for report in self._reports:
            for key, row in report[buckets].items():
                have = counts.setdefault(key, [0] * len(row))
                counts[key] = [a + b for a, b in zip(have, row, strict=True)]
        for key, row in counts.items():
            total, rows = 0, []
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], row, strict=True):
                total += count
                rows.append((bound, total))
            family.add_metric([key], rows, sums.get(key, 0.0))
        yield family


def _added(items: Any) -> dict[Any, Any]:
    sums: dict[Any, Any] = {}
    for key, value in items:
        sums[key] = sums.get(key, 0) + value
    return sums


def only_counted(report: Report) -> Report:
    """A report without what is true only of a worker that serves."""
    return {**report, "in_flight": 0, "sessions_cached": 0, "upstreams": [], "dependencies": {}, "break_glass": []}


def with_counts(sums: Report | None, report: Report) -> Report:
    """The counts of both, as one report."""
    if sums is None:
        return only_counted(report)
    added = dict(sums)
    for name in ("requests", "events"):
        rows = _added((tuple(row[:2]), row[2]) for source in (sums, report) for row in source[name])
        added[name] = [[*key, count] for key, count in rows.items()]
    for name in ("durations", "redis_durations"):
        added[name] = {
            key: [a + b for a, b in zip_longest(sums[name].get(key, ()), report[name].get(key, ()), fillvalue=0)]
            for key in {**sums[name], **report[name]}
        }
    for name in ("seconds", "redis_seconds", "break_glass_uses"):
        added[name] = _added(item for source in (sums, report) for item in source[name].items())
    return added


def build_admin(
    reports: Callable[[], Awaitable[Sequence[Report]]],
    past: Callable[[], Awaitable[Sequence[Report]]],
    wanted: Callable[[], int],
    stopping: Callable[[], bool],
) -> web.Application:
    """The admin application; `reports` asks every worker, `past` says what gone ones counted, `wanted` how many there should be.

    `stopping`: whether the process is leaving.
    """

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    async def ready(request: web.Request) -> web.Response:
        status, body = readiness(await reports(), wanted(), stopping=stopping())
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    async def metrics(request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(WorkerCollector(await reports(), await past()))
        return web.Response(body=generate_latest(registry), headers={"Content-Type": _CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/ping", ping)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app
