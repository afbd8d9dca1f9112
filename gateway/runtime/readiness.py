"""Whether the whole gateway is ready, from what its workers say of their dependencies. Pure.

Of several workers' words on one dependency the worst counts, with how many say so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Report = Mapping[str, Any]  # one worker's numbers and health, as `app.Worker.report` says

_WORST_FIRST: Final = ("failing", "serving_cached", "degraded", "unheard", "ok")


def readiness(reports: Sequence[Report], wanted: int, *, stopping: bool = False) -> tuple[int, dict[str, Any]]:
    """`(HTTP status, JSON)`: 503 while no worker answers, sessions cannot be checked, or the process is leaving.

    Whatever else is down only degrades.
    """
    dependencies = worst(reports)
    unready = any(one["unready"] for one in dependencies.values())
    ready = len(reports) > 0 and not stopping and not unready
    well = len(reports) >= wanted and all(one["state"] == "ok" for one in dependencies.values())
    if ready:
        status = "ready" if well else "degraded"
    else:
        status = "stopping" if stopping else "unavailable"
    return (200 if ready else 503), {
        "status": status,
        "workers": {"alive": len(reports), "wanted": wanted},
        "dependencies": dependencies,
        "break_glass": list(
            {opening["id"]: opening for report in reports for opening in report["break_glass"]}.values()
        ),
    }


def worst(reports: Sequence[Report]) -> dict[str, dict[str, Any]]:
    """Each dependency as the workers that think the worst of it see it; the longest of these; `workers` is how many."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        for name, one in report["dependencies"].items():
            known = found.get(name)
            if known is None or _badness(one) > _badness(known):
                found[name] = {**one, "workers": 1}
            elif _badness(one) == _badness(known):
                longest = one if one["since"] < known["since"] else known
                latest = max(one, known, key=lambda seen: seen["last_error_at"] or "")
                errors = {key: value for key, value in latest.items() if key.startswith("last_error")}
                found[name] = {**longest, **errors, "workers": known["workers"] + 1}
    return found


def _badness(one: Mapping[str, Any]) -> int:
    return -_WORST_FIRST.index(one["state"])
