"""`/metrics`: what it prints is valid and whole, and the dashboard, the alert rules and the guide name nothing else."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_of
from prometheus_client.parser import text_string_to_metric_families

from gateway.observability import events
from gateway.observability.counters import Durations, Histogram, WorkerCounts, WorkerReport
from gateway.runtime.metrics import HISTOGRAMS, ParentFacts, WorkerCollector

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus" / "doorward.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "doorward.json"
GUIDE = ROOT / "deploy" / "guides" / "observability.md"
OF_PROMETHEUS = {"job", "instance", "le"}  # labels that Prometheus adds, and a histogram's
KEYWORDS = {"by", "and", "or", "unless", "on", "ignoring", "offset", "bool"}


def report(**changes: Any) -> WorkerReport:
    """One of a worker that has something to tell of every kind."""
    durations = Durations()
    for kind, (_, _, labels) in HISTOGRAMS.items():
        durations.of(kind, *("x" for _ in labels)).observe(0.02)
    counts = WorkerCounts(durations=durations.by_labels, cpu_seconds=2.5)
    counts.requests["portal", 200] = 3
    counts.events["logout", "portal"] = 1
    counts.break_glass_uses["portal"] = 1
    counts.unexpected_errors["x"] = 1
    return WorkerReport(
        counts=counts, in_flight=1, sessions_cached=2, upstreams={("portal", "idle"): 3}, break_glass=[{"app": "portal", "id": "x"}],
        dependencies={"redis": {"state": "ok", "unready": False, "since": "", "last_error_at": None}}, sessions=7,
        **{"certificates": {"tls.certificate": 2e9}, **changes},
    )  # fmt: skip


def registry(*reports: WorkerReport, **facts: Any) -> CollectorRegistry:
    found = CollectorRegistry()
    given = {
        "pids": [os.getppid()],
        "past": [WorkerCounts(cpu_seconds=1.0)],
        "dependencies": {"client:openid": {"state": "ok"}},
        "loaded_at": 1e9,
        "reloaded": True,
        **facts,
    }
    found.register(WorkerCollector(reports, ParentFacts(**given)))
    return found


def samples(page: str) -> dict[str, set[str]]:
    """Label names by the name of each sample."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


PAGE = generate_latest(registry(report(), report())).decode()
PRINTED = samples(PAGE)


def test_the_page_is_openmetrics_and_follows_the_conventions_of_names() -> None:
    page = generate_openmetrics(registry(report())).decode()  # type: ignore[no-untyped-call]
    families = list(openmetrics_of(page))  # type: ignore[no-untyped-call]
    assert len(families) > 20
    for family in families:
        assert family.documentation
        assert re.fullmatch(r"(doorward|process)_[a-z_]+", family.name)
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info_total"))
        assert not re.search(r"_(ms|millis|minutes|hours|kb|mb|percent)(_|$)", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)


def test_a_family_exists_before_there_is_anything_to_tell() -> None:
    """So that an expression about it has a value, or none, but never a name that does not exist."""
    names = {line.split()[2] for line in PAGE.splitlines() if line.startswith("# TYPE")}
    empty = generate_latest(registry(pids=[])).decode()
    assert {line.split()[2] for line in empty.splitlines() if line.startswith("# TYPE")} == names


def test_workers_are_added_up_or_compared_as_it_makes_sense() -> None:
    def value(name: str, **labels: str) -> float | None:
        return both.get_sample_value(name, labels)

    both = registry(report(certificates={"tls.certificate": 1e9}), report(), past=[WorkerCounts(cpu_seconds=1.0)])
    assert value("process_cpu_seconds_total", process="worker") == 6.0
    assert value("doorward_requests_total", app="portal", code="200") == 6.0
    assert value("doorward_sessions") == 7.0
    assert value("doorward_certificate_expiry_timestamp_seconds", certificate="tls.certificate") == 1e9
    assert value("doorward_redis_duration_seconds_count", operation="x") == 2.0
    assert (value("process_resident_memory_bytes", process="parent") or 0) > 1e6
    assert (value("process_open_fds", process="worker") or 0) > 0
    assert registry(reloaded=False).get_sample_value("doorward_config_last_reload_successful") == 0.0


def test_a_sum_over_workers_that_ended_never_goes_back() -> None:
    total = WorkerCounts()
    for _ in range(2):
        total.merge(report().counts)
    assert total.cpu_seconds == 5.0
    assert total.durations["redis", "x"].seconds == 2 * Histogram().seconds + 0.04


# --- what the dashboard and the rules say -----------------------------------------------------------------------------


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]


def metrics_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression with the labels that it selects by."""
    for name, selector in re.findall(
        r"\b([a-z]+(?:_[a-z]+)+)\b(?!\s*\()(\{[^}]*\})?", re.sub(r'"[^"]*"', '""', expression)
    ):
        if name not in KEYWORDS and not name.startswith("label_"):
            yield name, set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector))


def grouped_in(expression: str) -> set[str]:
    return {label.strip() for labels in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in labels.split(",")}


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*each, id=each[0]) for each in expressions()])
def test_every_metric_and_label_of_an_expression_is_printed(where: str, expression: str) -> None:
    found = [(name, labels) for name, labels in metrics_in(expression) if name not in grouped_in(expression)]
    assert found or expression.startswith("up{"), expression
    known: set[str] = set()
    for name, labels in found:
        assert name in PRINTED, name
        assert labels <= PRINTED[name] | OF_PROMETHEUS, (name, labels)
        known |= PRINTED[name]
    assert grouped_in(expression) <= known | OF_PROMETHEUS


def test_events_in_expressions_exist() -> None:
    patterns = {found for _, expression in expressions() for found in re.findall(r'event=~?"([^"]+)"', expression)}
    assert patterns
    assert [one for one in patterns if not any(re.fullmatch(one, name) for name in events.EVENTS)] == []


def test_the_guide_names_every_metric_and_every_event_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", GUIDE.read_text(), re.M)
    names = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in PRINTED}
    assert len(rows) == len(set(rows))
    assert set(rows) == names | events.EVENTS


def test_the_guide_says_what_to_do_about_every_alert() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert set(re.findall(r"\bDoorward[A-Z]\w+", GUIDE.read_text())) == alerts
