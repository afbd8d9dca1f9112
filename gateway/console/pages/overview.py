"""What the gateway is doing now, and what it did: its state and that of every replica, figures by app, what `check` warns of."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from gateway import __version__
from gateway.config.checks.safety import warnings
from gateway.config.toggles import toggle_table
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.errors.dependencies import StoreUnavailable
from gateway.operations.admin_listener import AdminListener, AdminListenerFailed
from gateway.operations.figures import Span, as_json, figures
from gateway.telemetry.numbers import NumberStore
from gateway.telemetry.replicas import ReplicaState, ReplicaStates

_SPANS: Final = {span.label: span for span in Span}
_LIVE_SECONDS: Final = 5.0


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    config = parts.config
    problems: list[str] = []
    state: dict[str, Any] = {}
    try:
        async with AdminListener(config) as admin:
            state = await admin.ready()
    except AdminListenerFailed as failed:
        problems.append(str(failed))
    span = _SPANS.get(request.query.one("span") or "", Span.HOUR)
    fleet: dict[str, Any] = {}
    try:
        fleet = await _fleet(span, parts)
    except StoreUnavailable as failed:
        problems.append(f"Redis: {failed.detail}")
    return View(
        data={
            "version": __version__,
            "status": state.get("status", "unknown"),
            "problems": problems,
            "workers": state.get("workers"),
            "dependencies": state.get("dependencies", {}),
            "break_glass": state.get("break_glass", []),
            "warnings": list(warnings(config)),
            "openid_enabled": config.openid.enabled,
            "toggles": [asdict(row) | {"providers": list(row.providers)} for row in toggle_table(config)],
            "span": span.label,
            "spans": list(_SPANS),
            "fleet": fleet,
        }
    )


async def _fleet(span: Span, parts: ConsoleParts) -> dict[str, Any]:
    """Raises StoreUnavailable."""
    prefix = parts.config.redis.key_prefix
    found = as_json(await figures(NumberStore(parts.redis, prefix), span, parts.now().timestamp()))
    replicas = await ReplicaStates(parts.redis, parts.ring, prefix).all()
    return {
        **found,
        "points": [{**point, "at": _iso(point["at"])} for point in found["points"]],
        "replicas": [_replica(each) for each in replicas],
        "same_configuration": len({each.state["configuration"]["digest"] for each in replicas}) <= 1,
        "sessions": _greatest(replicas, "sessions"),
        "in_flight": sum(each.state["in_flight"] for each in replicas),
    }


def _replica(each: ReplicaState) -> dict[str, Any]:
    state = each.state
    return {
        "id": each.identifier,
        "host": state["host"],
        "status": state["status"],
        "version": state["version"],
        "since": _iso(state["since"]),
        "seen": _iso(each.at),
        "configuration": state["configuration"]["digest"],
        "configured": _iso(state["configuration"]["since"]),
        "reload_problem": state["process"].get("problem"),
        "workers": [{**worker, "since": _iso(worker["since"])} for worker in state["workers"]],
        "workers_wanted": state["workers_wanted"],
        "in_flight": state["in_flight"],
        "sessions_cached": state["sessions_cached"],
        "dependencies": {name: dependency["state"] for name, dependency in state["dependencies"].items()},
        "upstreams": state["upstreams"],
    }


def _greatest(replicas: Sequence[ReplicaState], name: str) -> int | None:
    """Each replica counts those of the whole fleet."""
    known = [each.state[name] for each in replicas if each.state[name] is not None]
    return max(known, default=None)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


PAGES: Final = (
    Page(path="/console/", title="Overview", template="overview.html", show=_show, menu="Overview", live=_LIVE_SECONDS),
)
