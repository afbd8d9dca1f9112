"""What /ready makes of what the workers say."""

from typing import Any

from gateway.observability.counters import WorkerReport
from gateway.runtime.readiness import readiness


def said(
    state: str, since: str, *, unready: bool = False, error: str | None = None, at: str | None = None
) -> dict[str, Any]:
    return {
        "state": state,
        "since": since,
        "last_error": error,
        "last_error_detail": None,
        "last_error_at": at,
        "unready": unready,
    }


def report(**dependencies: dict[str, Any]) -> WorkerReport:
    return WorkerReport(dependencies=dependencies)


WELL = said("ok", "10:00")


def test_the_worst_of_all_workers_counts_with_the_longest_time_and_their_number() -> None:
    status, body = readiness(
        [
            report(redis=said("failing", "10:05", unready=True, error="a", at="10:06"), directory=WELL),
            report(redis=said("failing", "10:03", unready=True, error="b", at="10:04"), directory=WELL),
            report(redis=said("serving_cached", "10:01")),
            report(redis=WELL),
        ],
        4,
    )
    assert status == 503
    assert body["status"] == "unavailable"
    assert body["dependencies"]["redis"] == {
        **said("failing", "10:03", unready=True, error="a", at="10:06"),
        "workers": 2,
    }
    assert body["dependencies"]["directory"]["workers"] == 2


def test_what_is_not_needed_for_sessions_only_degrades() -> None:
    for name in ("provider", "directory", "upstream:portal"):
        status, body = readiness([report(redis=WELL, **{name: said("failing", "10:00")})], 1)
        assert (status, body["status"]) == (200, "degraded")
    assert readiness([report(redis=said("serving_cached", "10:00"))], 1)[1]["status"] == "degraded"
    assert readiness([report(redis=said("unheard", "10:00"))], 1)[0] == 200


def test_a_worker_too_few_degrades_and_none_is_unavailable() -> None:
    assert readiness([report(redis=WELL)], 2)[1]["status"] == "degraded"
    assert readiness([], 2)[0] == 503
    assert readiness([report(redis=WELL)], 1) == (
        200,
        {
            "status": "ready",
            "workers": {"alive": 1, "wanted": 1},
            "dependencies": {"redis": {**WELL, "workers": 1}},
            "break_glass": [],
        },
    )
    assert readiness([report(redis=WELL)], 1, stopping=True)[1]["status"] == "stopping"
