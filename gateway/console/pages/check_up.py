"""Check-up: the last examination of the whole set-up, line by line, and a button for a new one. The page of `doorward doctor`."""

from typing import Final

from gateway.config.console import ACT
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.operations.doctor.report import CheckUpReports

CHECK_UP: Final = "/console/check-up"
RUN: Final = f"{ACT}/check-up"


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    running = parts.check_up.running_since
    return View(
        data={
            "report": await _reports(parts).read(),
            "running": None
            if running is None
            else {"since": running.isoformat(timespec="seconds"), "by": parts.check_up.by},
            "problem": parts.check_up.problem,
        }
    )


async def _confirm(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return View(data={"hosts": [host for app in parts.config.apps.values() for host in app.hosts]})


async def _run(request: ConsoleRequest, parts: ConsoleParts) -> View:
    parts.check_up.start(parts.config, _reports(parts), request.operator.label, parts.now())
    return View(location=CHECK_UP, data={"started": True})


def _reports(parts: ConsoleParts) -> CheckUpReports:
    return CheckUpReports(parts.redis, parts.ring, parts.config.redis.key_prefix)


PAGES: Final = (
    Page(path=CHECK_UP, title="Check-up", template="check_up.html", show=_show, menu="Check-up", live=2.0),
    Page(
        path=RUN,
        title="Examine this set-up",
        template="check_up_run.html",
        show=_confirm,
        change=_run,
        section=CHECK_UP,
    ),
)
