"""What the gateway is doing now: its state, what is open, what `check` warns of, and what the toggles mean for each app."""

from dataclasses import asdict
from typing import Any, Final

from gateway import __version__
from gateway.config.checks.safety import warnings
from gateway.config.toggles import toggle_table
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.operations.admin_listener import AdminListener, AdminListenerFailed


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    config = parts.config
    state: dict[str, Any] = {}
    problem = None
    try:
        async with AdminListener(config) as admin:
            state = await admin.ready()
    except AdminListenerFailed as failed:
        problem = str(failed)
    return View(
        data={
            "version": __version__,
            "status": state.get("status", "unknown"),
            "problem": problem,
            "workers": state.get("workers"),
            "dependencies": state.get("dependencies", {}),
            "break_glass": state.get("break_glass", []),
            "warnings": list(warnings(config)),
            "openid_enabled": config.openid.enabled,
            "toggles": [asdict(row) | {"providers": list(row.providers)} for row in toggle_table(config)],
        }
    )


PAGES: Final = (Page(path="/console/", title="Overview", template="overview.html", show=_show, menu="Overview"),)
