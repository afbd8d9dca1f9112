"""`/metrics`: the sum of all workers' reports, and the parent's own facts, as Prometheus reads them.

Names follow Prometheus' conventions: base units, `_total` for counters, `process_*` for what a process uses. A family exists from the first
scrape on; of those with labels, a series exists once there is something to tell.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway import __version__
from gateway.observability.counters import BUCKETS, Histogram, WorkerCounts, WorkerReport
from gateway.runtime.readiness import worst

#: By the kind of a duration: the family's name, its text, its labels.
HISTOGRAMS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "response": (
        "doorward_response_duration_seconds",
        "Time from request head to end of response; without WebSockets and event streams",
        ("app",),
    ),
    "upstream": (
        "doorward_upstream_duration_seconds",
        "Time from the request's last byte to the upstream's response head",
        ("app",),
    ),
    "redis": ("doorward_redis_duration_seconds", "Time of Redis operations", ("operation",)),
    "provider": ("doorward_provider_duration_seconds", "Time of calls to providers", ("provider", "operation")),
    "directory": ("doorward_directory_duration_seconds", "Time of calls to the directory's API", ("operation",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFacts:
    """What the parent process knows. `pids` are those of the workers, draining ones too; `past` the counts of workers that ended or drain.

    `dependencies` are those that the parent reports itself, as a worker does. `loaded_at` is when the configuration in use was loaded, in
    seconds since 1970; `reloaded`: the last reload, if there was one, succeeded.
    """

    pids: Sequence[int]
    past: Sequence[WorkerCounts]
    dependencies: Mapping[str, Mapping[str, Any]]
    loaded_at: float
    reloaded: bool


class WorkerCollector:
    """Renders the reports of the workers that serve."""

    def __init__(self, reports: Sequence[WorkerReport], parent: ParentFacts) -> None:
        self._reports = reports
        self._parent = parent
        self._counts = WorkerCounts()
        for counts in (*(report.counts for report in reports), *parent.past):
            self._counts.merge(counts)

    def collect(self) -> Iterator[Metric]:
        """The metric families, in the order of the page."""
        yield from self._traffic()
        yield from self._sessions()
        yield from self._histograms()
        yield _counter("doorward_events", "Security events", ("event", "app"), self._counts.events)
        yield from self._losses()
        yield from self._break_glass()
        yield self._dependencies()
        yield from self._fleet()
        yield from _processes(self._parent.pids, self._counts.cpu_seconds)

    def _traffic(self) -> Iterator[Metric]:
        yield _counter("doorward_requests", "Requests answered", ("app", "code"), self._counts.requests)
        in_flight = sum(report.in_flight for report in self._reports)
        yield GaugeMetricFamily("doorward_requests_in_flight", "Requests being answered", value=in_flight)
        upstreams = GaugeMetricFamily(
            "doorward_upstream_connections", "Connections to upstreams", labels=["app", "state"]
        )
        total: Counter[tuple[str, str]] = Counter()
        for report in self._reports:
            total.update(report.upstreams)
        for labels, count in total.items():
            upstreams.add_metric(labels, count)
        yield upstreams

    def _sessions(self) -> Iterator[Metric]:
        cached = sum(report.sessions_cached for report in self._reports)
        yield GaugeMetricFamily("doorward_sessions_cached", "Sessions in the workers' caches", value=cached)
        counted = [report.sessions for report in self._reports if report.sessions is not None]
        sessions = GaugeMetricFamily(
            "doorward_sessions", "Sessions in Redis; an estimate where there are many", labels=[]
        )
        if counted:
            sessions.add_metric([], round(sum(counted) / len(counted)))
        yield sessions

    def _histograms(self) -> Iterator[Metric]:
        for kind, (name, text, labels) in HISTOGRAMS.items():
            family = HistogramMetricFamily(name, text, labels=labels)
            for (found, *values), histogram in self._counts.durations.items():
                if found == kind:
                    family.add_metric(values, _buckets(histogram), histogram.seconds)
            yield family

    def _losses(self) -> Iterator[Metric]:
        text = "Log lines dropped because the stream was not read, and events that the console does not show because Redis did not take them"
        dropped = CounterMetricFamily("doorward_log_lines_dropped", text, labels=["stream"])
        for stream in ("stdout", "stderr", "console"):
            dropped.add_metric([stream], self._counts.log_lines_dropped[stream])
        errors = CounterMetricFamily(
            "doorward_unexpected_errors", "Errors that nothing handles, by work", labels=["work"]
        )
        for work, count in self._counts.unexpected_errors.items():
            errors.add_metric([work], count)
        yield from (dropped, errors)

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
        for name, dependency in {**worst(self._reports), **self._parent.dependencies}.items():
            if dependency["state"] == "unknown":
                continue
            family.add_metric([name], float(dependency["state"] == "ok"))
        return family

    def _fleet(self) -> Iterator[Metric]:
        serving = sum(report.dependencies.get("redis", {}).get("state") == "serving_cached" for report in self._reports)
        yield GaugeMetricFamily(
            "doorward_workers_serving_cached", "Workers that outlast Redis from memory", value=serving
        )
        yield GaugeMetricFamily("doorward_workers", "Worker processes that report", value=len(self._reports))
        info = GaugeMetricFamily("doorward_build_info", "1, with the versions", labels=["version", "python"])
        info.add_metric([__version__, platform.python_version()], 1)
        yield info
        yield GaugeMetricFamily(
            "doorward_config_last_reload_successful", "Whether the last reload succeeded", value=self._parent.reloaded
        )
        yield GaugeMetricFamily(
            "doorward_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was loaded",
            value=self._parent.loaded_at,
        )
        ends: dict[str, float] = {}
        for report in self._reports:
            for key, end in report.certificates.items():
                ends[key] = min(end, ends.get(key, end))
        expiry = GaugeMetricFamily(
            "doorward_certificate_expiry_timestamp_seconds",
            "When a certificate of ours, or one of its chain, ends",
            labels=["certificate"],
        )
        for key, end in ends.items():
            expiry.add_metric([key], end)
        yield expiry


def _counter(name: str, text: str, labels: tuple[str, str], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for (first, second), count in counts.items():
        family.add_metric([first, str(second)], count)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


# --- processes --------------------------------------------------------------------------------------------------------


def _processes(pids: Sequence[int], cpu_seconds: float) -> Iterator[Metric]:
    """What the parent and its workers use. `cpu_seconds`: of all workers there were; a sum over those alive would go back.

    Of workers, memory is added up; of their open descriptors the most count, since each process has a limit of its own, and the start is
    that of the youngest.
    """
    parent, workers = _usage("self"), [usage for pid in pids if (usage := _usage(pid))]
    cpu = CounterMetricFamily("process_cpu_seconds", "CPU time, user and system", labels=["process"])
    if "process_cpu_seconds_total" in parent:
        cpu.add_metric(["parent"], parent["process_cpu_seconds_total"])
    cpu.add_metric(["worker"], cpu_seconds)
    yield cpu
    merged: list[tuple[str, str, Callable[[list[float]], float]]] = [
        ("process_resident_memory_bytes", "Resident memory; of all workers together", sum),
        ("process_open_fds", "Open file descriptors; of the worker with the most", max),
        ("process_max_fds", "How many file descriptors a process may open", min),
        ("process_start_time_seconds", "When the process began; the youngest worker", max),
    ]
    for name, text, merge in merged:
        family = GaugeMetricFamily(name, text, labels=["process"])
        if name in parent:
            family.add_metric(["parent"], parent[name])
        values = [usage[name] for usage in workers if name in usage]
        if values:
            family.add_metric(["worker"], merge(values))
        yield family


def _usage(pid: int | str) -> dict[str, float]:
    """What one process uses, by metric; empty when it is gone, and where there is no /proc."""
    families = ProcessCollector(pid=lambda: pid, registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}
