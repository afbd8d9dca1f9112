"""`doorward run | check | demo`: the gateway, the check of its configuration, and a demo on one machine."""

import asyncio
import logging
import os
from typing import Annotated

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out, show_toggles, show_warnings
from gateway.config.checks.safety import warnings
from gateway.config.schema import Log
from gateway.config.toggles import toggle_table
from gateway.demo import run as demo_run
from gateway.observability.logging import configure_start
from gateway.operations.check import advise, check_all
from gateway.operations.reload import ReloadFailed
from gateway.operations.reload import reload as reload_running
from gateway.runtime import supervisor

_log = logging.getLogger("doorward.run")


def run(config: ConfigPath) -> None:
    """Run the gateway. SIGTERM drains, SIGHUP reads CONFIG again. Everything that it says is a line of the log."""
    # Until the file is read, `log.format` is not known.
    configure_start(Log(format="text" if err.is_terminal else "json"))
    valid = loaded(config, lambda problem: _log.error("%s", problem))
    configure_start(valid.log)
    for warning in warnings(valid):
        _log.warning("%s", warning)
    for row in toggle_table(valid):
        _log.info(
            "app %s: surface %s, signs in at %s; a person the directory does not know: %s; password routes: %s",
            row.app,
            row.surface,
            " or ".join(row.providers) or "-",
            row.unregistered,
            row.password_routes,
        )
    raise typer.Exit(supervisor.run(config, os.environ))


def reload(
    config: ConfigPath,
    pid: Annotated[int, typer.Option("--pid", help="The process id of `doorward run`.")],
) -> None:
    """Have a running gateway read CONFIG again, and wait for the result. Exit status 0, or 1 when the old configuration stays."""
    try:
        out.print(asyncio.run(reload_running(loaded(config), pid)))
    except ReloadFailed as error:
        err.print(f"{config}: reload failed: {error}")
        raise typer.Exit(1) from error


def check(
    config: ConfigPath,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the provider, Redis, the directory and the upstreams.")
    ] = False,
) -> None:
    """Say every problem of CONFIG at once. Exit status 0, or 1 with problems."""
    valid = loaded(config)
    show_warnings(valid)
    show_toggles(valid, out)
    failed = False
    if online:
        for result in asyncio.run(check_all(valid)):
            failed = failed or (result.problem is not None and not result.unknown)
            out.print(f"{result.name}: {'unknown: ' if result.unknown else ''}{result.problem or 'ok'}")
        for line in asyncio.run(advise(valid)):
            err.print(f"warning: {line}")
    out.print(f"{config}: {'something cannot be used' if failed else 'no problems'}")
    raise typer.Exit(1 if failed else 0)


def demo(
    port: Annotated[int, typer.Option(help="The gateway's port; the demo's other servers follow it.")] = 4180,
) -> None:
    """Run the whole product on this machine: a provider, a portal, a dashboard, a directory, and the gateway in front."""
    raise typer.Exit(demo_run.main(port))
