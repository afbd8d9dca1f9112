"""A worker's report: what arrives in the parent is what was sent, and sums add everything up."""

import json

from gateway.observability.counters import Histogram, WorkerCounts, WorkerReport


def counts() -> WorkerCounts:
    durations = Histogram()
    durations.observe(0.02)
    made = WorkerCounts(
        durations={("response", "portal"): durations, ("redis", "session_read"): durations}, cpu_seconds=1.5
    )
    made.requests["portal", 200] = 2
    made.events["logout", "portal"] = 1
    made.break_glass_uses["portal"] = 3
    return made


def test_a_report_reads_back_as_it_was() -> None:
    report = WorkerReport(
        counts=counts(), in_flight=1, sessions_cached=2, upstreams={("portal", "idle"): 3},
        break_glass=[{"app": "portal", "id": "x"}], dependencies={"redis": {"state": "ok"}},
        sessions=7, certificates={"tls.certificate": 2e9},
    )  # fmt: skip
    sent = json.loads(json.dumps(report.to_json()))
    assert WorkerReport.from_json(sent).to_json() == report.to_json()
    assert WorkerReport.from_json(sent).upstreams == report.upstreams


def test_a_sum_has_all_counts_and_leaves_its_parts_alone() -> None:
    total, part = WorkerCounts(), counts()
    for _ in range(2):
        total.merge(part)
    assert part.to_json() == counts().to_json()
    assert total.requests == {("portal", 200): 4}
    assert total.events == {("logout", "portal"): 2}
    assert total.break_glass_uses == {"portal": 6}
    assert total.cpu_seconds == 3.0
    assert set(total.durations) == {("response", "portal"), ("redis", "session_read")}
    for histograms in total.durations.values():
        assert (sum(histograms.counts), histograms.seconds) == (2, 0.04)
