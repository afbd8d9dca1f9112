"""Whether the whole gateway is ready, by its workers' reports on their dependencies. Pure.

Where workers disagree about a dependency, the worst state counts, with the number of workers that report it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.observability.counters import WorkerReport

_WORST_FIRST: Final = ("failing", "serving_cached", "degraded", "unheard", "unknown", "ok")
_WELL: Final = frozenset({"unknown", "ok"})


def readiness(
    reports: Sequence[WorkerReport], wanted: int, *, stopping: bool = False, own: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """`(HTTP status, JSON)`: 503 while no worker answers, sessions cannot be checked, or the process is stopping.

    Any other failure only degrades. `wanted` is how many workers there should be; `own` are dependencies that the parent reports itself.
    """
    dependencies = {**worst(reports), **(own or {})}
    unready = any(dependency["unready"] for dependency in dependencies.values())
    ready = len(reports) > 0 and not stopping and not unready
    well = len(reports) >= wanted and all(dependency["state"] in _WELL for dependency in dependencies.values())
    if ready:
        status = "ready" if well else "degraded"
    else:
        status = "stopping" if stopping else "unavailable"
    return (200 if ready else 503), {
        "status": status,
        "workers": {"alive": len(reports), "wanted": wanted},
        "dependencies": dependencies,
        "break_glass": list({opening["id"]: opening for report in reports for opening in report.break_glass}.values()),
    }


def worst(reports: Sequence[WorkerReport]) -> dict[str, dict[str, Any]]:
    """Each dependency in its worst state, since the earliest time a worker reports for it; `workers` is how many report it."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        for name, dependency in report.dependencies.items():
            known = found.get(name)
            if known is None or _badness(dependency) > _badness(known):
                found[name] = {**dependency, "workers": 1}
            elif _badness(dependency) == _badness(known):
                longest = dependency if dependency["since"] < known["since"] else known
                latest = max(dependency, known, key=lambda each: each["last_error_at"] or "")
                errors = {key: value for key, value in latest.items() if key.startswith("last_error")}
                found[name] = {**longest, **errors, "workers": known["workers"] + 1}
    return found


def _badness(dependency: Mapping[str, Any]) -> int:
    return -_WORST_FIRST.index(dependency["state"])
