"""`doorward break-glass open | status | close`: an application's own password login, for a while, from one address range, in the whole fleet.

Needs the configuration and Redis, no running gateway and no provider. Exit status: 0 done; 1 the configuration has problems, or there was
nothing to close; 2 a call that is refused, with what is allowed; 3 Redis does not answer.
"""

import asyncio
import getpass
import json
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn

import typer

from gateway.break_glass.store import Openings
from gateway.cli.printing import ConfigPath, err, loaded, out, show_steps
from gateway.config.schema import Config, Network
from gateway.config.toggles import password_routes_closed
from gateway.config.values import parse_duration
from gateway.errors.dependencies import StoreUnavailable
from gateway.policy.break_glass import (
    MOST_RANGES,
    Opening,
    parse_lasting,
    parse_range,
    parse_reason,
    refusals,
    still_closed,
)
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
    try:
        opening = _opening(valid, app_, lasting, ranges, reason)
        vouched = frozenset(str(parse_range(text).network_address) for text in despite or ())
    except ValueError as error:
        _exit_refused([str(error)])
    problems = _run(_open(valid, opening, vouched))
    if problems:
        _exit_refused(problems)
    show_steps([("open", opening.app), *opening.facts().items()])
    for rule in still_closed(valid.apps[app_]):
        out.print(f"still asks for a person: {rule}")
    if not password_routes_closed(valid.openid, valid.apps[app_].surface):
        out.print("the password routes of this app are open anyway; the range now needs no session either")
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
    valid = loaded(config)
    if app_ not in valid.apps:
        _exit_refused([_unknown(valid, app_)])
    closed = _run(_close(valid, app_))
    out.print(f"{app_}: {'closed' if closed else 'nothing was open'}")
    if not closed:
        raise typer.Exit(NOTHING)


# --- the work -----------------------------------------------------------------------------------------------------


def _opening(config: Config, app_: str, lasting: str, ranges: Sequence[str], reason: str) -> Opening:
    """Raises ValueError with what is allowed."""
    if app_ not in config.apps:
        raise ValueError(_unknown(config, app_))
    networks: list[Network] = [parse_range(text) for text in ranges]
    if len(networks) > MOST_RANGES:
        raise ValueError(f"{len(networks)} ranges are too many; allowed: at most {MOST_RANGES}")
    time = parse_lasting(parse_duration(lasting))
    now = datetime.now(UTC)
    return Opening(
        id=secrets.token_urlsafe(9), app=app_, networks=tuple(networks), opened_at=now, ends_at=now + time,
        reason=parse_reason(reason), by=f"{getpass.getuser()}@{socket.gethostname()}",
    )  # fmt: skip


def _unknown(config: Config, app_: str) -> str:
    return f"{app_!r} is no app of this configuration; allowed: {', '.join(config.apps)}"


async def _open(config: Config, opening: Opening, despite: frozenset[str]) -> list[str]:
    """The reasons to refuse the opening; empty when it is open."""
    now = datetime.now(UTC)
    async with _openings(config) as openings:
        problems = list(refusals(config, opening.networks, await openings.forwarders(now), despite))
        if not problems:
            await openings.write(opening, now)
    return problems


async def _status(config: Config) -> tuple[list[Opening], list[str]]:
    now = datetime.now(UTC)
    async with _openings(config) as openings:
        found = [await openings.read(name, now) for name in config.apps]
        return [opening for opening, _ in filter(None, found)], await openings.forwarders(now)


async def _close(config: Config, app_: str) -> bool:
    async with _openings(config) as openings:
        return await openings.close(app_)


@asynccontextmanager
async def _openings(config: Config) -> AsyncIterator[Openings]:
    async with connected(config.redis) as redis:
        yield Openings(redis, KeyRing(config.keys), config.redis.key_prefix)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error


def _exit_refused(problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        err.print(problem)
    raise typer.Exit(WRONG_CALL)
