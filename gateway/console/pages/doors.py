"""Doors: every password rule of every app, break-glass (see, open, close), the last report of a probe and a new one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from gateway.config.console import ACT
from gateway.config.schema import App
from gateway.config.toggles import password_routes_closed
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.operations.break_glass import BreakGlassWork, OpeningRefused, OpeningWish
from gateway.operations.probe.report import ProbeReports
from gateway.operations.rule_hits import RuleHits, rule_hits
from gateway.policy.break_glass import Opening
from gateway.policy.passwords import named_rules
from gateway.telemetry.numbers import NumberStore

DOORS: Final = "/console/doors"
OPEN: Final = f"{ACT}/open-doors"
CLOSE: Final = f"{ACT}/close-doors"
PROBE: Final = f"{ACT}/probe"
_WISH: Final = ("app", "lasting", "ranges", "reason", "despite")
_SAMPLES: Final = {"1": 1, "20": 20}


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    opened, forwarders = await _work(parts).status(parts.now())
    hits = await rule_hits(NumberStore(parts.redis, parts.config.redis.key_prefix), parts.now().timestamp())
    running = parts.probe.running_since
    return View(
        data={
            "open": [_facts(opening) for opening in opened],
            "forwarders": forwarders,
            "apps": [_app(parts, name, app, hits) for name, app in parts.config.apps.items()],
            "report": await _reports(parts).read(),
            "running": None
            if running is None
            else {
                "since": running.isoformat(timespec="seconds"),
                "by": parts.probe.by,
                "requests": parts.probe.requests,
            },
            "probe_problem": parts.probe.problem,
        }
    )


def _app(parts: ConsoleParts, name: str, app: App, hits: Mapping[tuple[str, str], RuleHits]) -> dict[str, Any]:
    return {
        "name": name,
        "surface": app.surface,
        "closed": password_routes_closed(parts.config.openid, app.surface),
        "rules": [
            {
                "name": rule_name,
                "kind": rule.kind,
                "answer": rule.answer,
                "reason": rule.reason,
                "source": rule.source,
                "match": rule.match,
                **_hits(hits.get((name, rule_name))),
            }
            for rule_name, rule in named_rules(app)
        ],
        "open": f"{OPEN}?{urlencode({'app': name})}",
        "close": f"{CLOSE}?{urlencode({'app': name})}",
    }


def _hits(hits: RuleHits | None) -> dict[str, Any]:
    last = None if hits is None or hits.last is None else datetime.fromtimestamp(hits.last, UTC)
    return {
        "hits": 0 if hits is None else hits.count,
        "last_hit": None if last is None else last.isoformat(timespec="seconds"),
    }


# --- break-glass --------------------------------------------------------------------------------------------------------


async def _form(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return View(data=_wanted(parts, {"app": request.query.one("app") or "", "lasting": "30m"}))


async def _open(request: ConsoleRequest, parts: ConsoleParts) -> View:
    """First what would be opened, then, by the button of that page, the opening."""
    given = {name: (request.form.one(name) or "").strip() for name in _WISH}
    wish = OpeningWish(
        app=given["app"], lasting=given["lasting"], ranges=given["ranges"].replace(",", " ").split(), reason=given["reason"],
        despite=given["despite"].replace(",", " ").split(),
    )  # fmt: skip
    work, by = _work(parts), f"{request.operator.label} (console)"
    try:
        if request.form.one("step") == "open":
            opening = await work.open(wish, by, parts.now())
            return View(location=DOORS, data={"opened": _facts(opening)})
        opening = await work.check(wish, by, parts.now())
    except OpeningRefused as refused:
        return View(status=400, data=_wanted(parts, given, refused.problems))
    return View(
        template="open_doors_confirm.html",
        data={**_wanted(parts, given), "opening": _facts(opening), "consequences": work.consequences(wish.app)},
    )


def _wanted(parts: ConsoleParts, given: dict[str, str], problems: Any = ()) -> dict[str, Any]:
    return {
        "wish": {name: given.get(name, "") for name in _WISH},
        "apps": list(parts.config.apps),
        "problems": list(problems),
    }


async def _confirm_close(request: ConsoleRequest, parts: ConsoleParts) -> View:
    app = request.query.one("app") or ""
    opened, _ = await _work(parts).status(parts.now())
    return View(data={"app": app, "open": [_facts(opening) for opening in opened if opening.app == app]})


async def _close(request: ConsoleRequest, parts: ConsoleParts) -> View:
    app = request.form.one("app") or ""
    try:
        closed = await _work(parts).close(app)
    except OpeningRefused as refused:
        return View(status=400, data={"app": app, "open": [], "problems": list(refused.problems)})
    return View(location=DOORS, data={"app": app, "closed": closed})


def _facts(opening: Opening) -> dict[str, str]:
    return {"app": opening.app, **opening.facts()}


def _work(parts: ConsoleParts) -> BreakGlassWork:
    return BreakGlassWork(parts.config, parts.redis, parts.ring)


# --- probe --------------------------------------------------------------------------------------------------------------


async def _confirm_probe(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return View(data={"problems": []})


async def _probe(request: ConsoleRequest, parts: ConsoleParts) -> View:
    every = _SAMPLES.get(request.form.one("every") or "", 20)
    try:
        parts.probe.start(parts.config, _reports(parts), every, request.operator.label, parts.now())
    except ValueError as error:
        return View(status=400, data={"problems": [str(error)]})
    return View(location=DOORS, data={"started": True, "requests": parts.probe.requests})


def _reports(parts: ConsoleParts) -> ProbeReports:
    return ProbeReports(parts.redis, parts.ring, parts.config.redis.key_prefix)


PAGES: Final = (
    Page(path=DOORS, title="Doors", template="doors.html", show=_show, menu="Doors"),
    Page(path=OPEN, title="Open by break-glass", template="open_doors.html", show=_form, change=_open, section=DOORS),
    Page(path=CLOSE, title="Close", template="close_doors.html", show=_confirm_close, change=_close, section=DOORS),
    Page(
        path=PROBE, title="Probe this gateway", template="probe.html", show=_confirm_probe, change=_probe, section=DOORS
    ),
)
