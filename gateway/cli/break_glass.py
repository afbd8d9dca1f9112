"""`doorward break-glass open | status | close`: an application's own password login, for a while, from one address range, in the whole fleet.

Needs the configuration and Redis, no running gateway and no provider. Exit status: 0 done; 1 the configuration has problems, or there was
nothing to close; 2 a call that is refused, with what is allowed; 3 Redis does not answer.
"""

import asyncio
import getpass
import json
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn

import typer

from gateway.cli.printing import ConfigPath, err, loaded, out, show_steps
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.operations.break_glass import BreakGlassWork, OpeningRefused, OpeningWish
from gateway.policy.break_glass import Opening
from gateway.redis_client.client import connected
from gateway.sessions.keyring import KeyRing

NOTHING: Final = 1
WRONG_CALL: Final = 2
NO_STORE: Final = 3

app = typer.Typer(no_args_is_help=True)

AppName = Annotated[str, typer.Option("--app", metavar="NAME", help="The app, as the configuration calls it.")]


@app.callback()
def break_glass() -> None:
    """Let an address range use an app's own password login for a while: for when single sign-on is broken."""


@app.command("open")
def open_(
    config: ConfigPath,
    app_: AppName,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 1m to 8h. It closes by itself.")],
    ranges: Annotated[
        list[str],
        typer.Option("--from", metavar="CIDR", help="Where the people are, as the gateway sees them; may be repeated."),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why: it stands in the log and in /ready.")],
    despite: Annotated[
        list[str] | None,
        typer.Option(
            "--despite", metavar="ADDRESS", help="A forwarding peer in the range that you vouch for; may be repeated."
        ),
    ] = None,
) -> None:
    """Open an app's password routes to address ranges, and admit them without a session and without identity headers."""
    valid = loaded(config)
    wish = OpeningWish(app=app_, lasting=lasting, ranges=ranges, reason=reason, despite=despite or ())
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    opening, consequences = _run(_open(valid, wish, by))
    show_steps([("open", opening.app), *opening.facts().items()])
    for line in consequences:
        out.print(line)
    out.print("every gateway of this Redis applies it within a second; /ready of each shows it")


@app.command()
def status(
    config: ConfigPath, as_json: Annotated[bool, typer.Option("--json", help="As one JSON list.")] = False
) -> None:
    """What is open now, and the peers that no range may contain."""
    valid = loaded(config)
    found, forwarders = _run(_status(valid))
    if as_json:
        out.print(json.dumps([{"app": opening.app, **opening.facts()} for opening in found]))
        return
    for opening in found:
        show_steps([("open", opening.app), *opening.facts().items()])
    if not found:
        out.print("nothing is open")
    for peer in forwarders:
        out.print(f"forwards without being trusted: {peer}")


@app.command()
def close(config: ConfigPath, app_: AppName) -> None:
    """Close an opening before its time, and end its requests. Exit status 1 when nothing was open."""
    closed = _run(_close(loaded(config), app_))
    out.print(f"{app_}: {'closed' if closed else 'nothing was open'}")
    if not closed:
        raise typer.Exit(NOTHING)


# --- the work -----------------------------------------------------------------------------------------------------


async def _open(config: Config, wish: OpeningWish, by: str) -> tuple[Opening, list[str]]:
    async with _work(config) as work:
        return await work.open(wish, by, datetime.now(UTC)), work.consequences(wish.app)


async def _status(config: Config) -> tuple[list[Opening], list[str]]:
    async with _work(config) as work:
        return await work.status(datetime.now(UTC))


async def _close(config: Config, app_: str) -> bool:
    async with _work(config) as work:
        return await work.close(app_)


@asynccontextmanager
async def _work(config: Config) -> AsyncIterator[BreakGlassWork]:
    async with connected(config.redis) as redis:
        yield BreakGlassWork(config, redis, KeyRing(config.keys))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error
    except OpeningRefused as error:
        _exit_refused(error.problems)


def _exit_refused(problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        err.print(problem)
    raise typer.Exit(WRONG_CALL)
