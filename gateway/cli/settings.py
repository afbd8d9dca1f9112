"""`doorward settings show | history | set | confirm | rollback | reset`: what the Settings page saves, without a browser.

Needs the configuration and Redis, no running gateway. Exit status: 0 done; 1 the configuration has problems; 2 the change is refused, with the
reasons; 3 Redis does not answer; 4 another person changed the settings, or a version waits for its confirmation.
"""

import asyncio
import getpass
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import typer
from rich.table import Table

from gateway.cli.printing import ConfigPath, err, loaded, out, show_table
from gateway.config.loader import read
from gateway.config.overlay import SavedValue
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.operations.settings.editor import Author, SettingsEditor, SettingsState
from gateway.operations.settings.meaning import meaning_of
from gateway.operations.settings.proposal import SettingsRefused
from gateway.operations.settings.report import history_rows, meaning_in_force, pending_row, settings_rows
from gateway.redis_client.client import connected
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.record import SettingsConflict
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing

WRONG_CALL: Final = 2
NO_STORE: Final = 3
CONFLICT: Final = 4

app = typer.Typer(no_args_is_help=True)

Reason = Annotated[str, typer.Option("--reason", help="Why: it stands in the history and in the log.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
_Result = TypeVar("_Result")


@app.callback()
def settings() -> None:
    """What is saved over the `openid` section of CONFIG: read it, change it, go back."""


@app.command()
def show(config: ConfigPath, as_json: AsJson = False) -> None:
    """Every setting with its value and where it comes from, and what all of them mean."""
    _run(config, lambda editor: _show(editor, as_json))


@app.command()
def history(config: ConfigPath, as_json: AsJson = False) -> None:
    """Every version: who, when, why, and what was before."""
    _run(config, lambda editor: _history(editor, as_json))


@app.command("set")
def set_(
    config: ConfigPath,
    pairs: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="As openid.create_users=on, providers.google.client_id=x.")
    ],
    reason: Reason,
    no_confirm: Annotated[
        bool, typer.Option("--no-confirm", help="Keep it for good; otherwise it rolls back unless it is confirmed.")
    ] = False,
) -> None:
    """Save settings. They are in force at once, and roll back after five minutes unless they are confirmed.

    A Client Secret is read from a file with client_secret=file:PATH, so that it stands in no history of a shell.
    """
    _run(config, lambda editor: _set(editor, pairs, reason, no_confirm))


@app.command()
def confirm(config: ConfigPath) -> None:
    """Keep the version that waits to be confirmed."""
    _run(config, _confirm)


@app.command()
def rollback(
    config: ConfigPath,
    version: Annotated[int, typer.Argument(metavar="N", help="The version whose values are to be in force again.")],
    reason: Reason,
) -> None:
    """Put an earlier version in force again, for good."""
    _run(config, lambda editor: _rollback(editor, version, reason))


@app.command()
def reset(config: ConfigPath, reason: Reason) -> None:
    """Go back to CONFIG alone, for good. The history stays."""
    _run(config, lambda editor: _reset(editor, reason))


# --- the work -----------------------------------------------------------------------------------------------------


async def _show(editor: SettingsEditor, as_json: bool) -> None:
    state = await editor.read()
    rows, meaning = settings_rows(editor, state), meaning_in_force(editor, state)
    if as_json:
        facts = {"version": editor.in_force(state).version, "revision": state.record.revision, "lost": state.lost}
        told = {"settings": rows, "meaning": [*meaning.sentences], "warnings": [*meaning.warnings]}
        out.print(json.dumps({**facts, **told, "pending": pending_row(editor, state.record)}))
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["key"], row["value"], row["source"])
    show_table(table, out)
    for sentence in meaning.sentences:
        out.print(sentence)
    for warning in meaning.warnings:
        err.print(f"warning: {warning}")
    for line in _state_lines(state):
        err.print(line)


def _state_lines(state: SettingsState) -> list[str]:
    lines = [] if state.lost is None else [f"warning: {state.lost}"]
    pending = state.record.pending(time.time())
    if pending is not None and pending.confirm_by is not None:
        lines.append(
            f"version {pending.number} rolls back in {pending.confirm_by - time.time():.0f} s unless it is confirmed"
        )
    return lines


async def _history(editor: SettingsEditor, as_json: bool) -> None:
    rows = history_rows(editor, (await editor.read()).record)
    if as_json:
        out.print(json.dumps(rows))
        return
    table = Table("version", "when", "who", "what", "changed", "why", box=None, pad_edge=False)
    for row in rows:
        changed = "; ".join(f"{each['key']}: {each['before']} -> {each['after']}" for each in row["changes"])
        table.add_row(str(row["version"]), row["at"], row["by"], row["state"], changed or "-", row["reason"])
    show_table(table, out)
    if not rows:
        out.print("nothing was saved: CONFIG alone is in force")


async def _set(editor: SettingsEditor, pairs: Sequence[str], reason: str, no_confirm: bool) -> None:
    given = dict(_pair(text) for text in pairs)
    proposal = await editor.propose(given)
    await editor.check(proposal)
    version = await editor.save(given, _author(), reason, confirmed=no_confirm)
    out.print(f"version {version.number} is saved; every worker of every gateway of this Redis follows")
    meaning = meaning_of(proposal.config)
    for sentence in meaning.sentences:
        out.print(sentence)
    for warning in meaning.warnings:
        err.print(f"warning: {warning}")
    if not no_confirm:
        out.print("it rolls back in five minutes unless it is confirmed: doorward settings confirm, or on the page")


def _pair(text: str) -> tuple[str, SavedValue]:
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsRefused([f"{text!r} is not KEY=VALUE"])
    name = key.rpartition(".")[2]
    if name in ("enabled", "create_users", "prevent_password_login", "prevent_dashboard_password_login"):
        if value not in _SWITCH:
            raise SettingsRefused([f"{key}: {value!r} is not on or off; allowed: on, off"])
        return key, _SWITCH[value]
    if name == "client_secret" and value.startswith("file:"):
        return key, _secret_of(key, value.removeprefix("file:"))
    return key, value


_SWITCH: Final = {"on": True, "true": True, "off": False, "false": False}


def _secret_of(key: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsRefused([f"{key}: {path} cannot be read"]) from error


async def _confirm(editor: SettingsEditor) -> None:
    version = await editor.confirm(_author())
    out.print(f"version {version.number} stays")


async def _rollback(editor: SettingsEditor, number: int, reason: str) -> None:
    version = await editor.roll_back(_author(), reason, number)
    out.print(f"version {version.number} has the values of version {number}; every worker follows")


async def _reset(editor: SettingsEditor, reason: str) -> None:
    version = await editor.reset(_author(), reason)
    out.print(f"version {version.number}: CONFIG alone is in force; every worker follows")


def _author() -> Author:
    return Author(name=f"{getpass.getuser()}@{socket.gethostname()}")


def _run(path: Path, work: Callable[[SettingsEditor], Awaitable[_Result]]) -> None:
    valid = loaded(path)
    try:
        asyncio.run(_with_editor(path, valid, work))
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error
    except SettingsConflict as error:
        _exit(CONFLICT, [str(error)])
    except SettingsRefused as error:
        _exit(WRONG_CALL, error.problems)


async def _with_editor(path: Path, config: Config, work: Callable[[SettingsEditor], Awaitable[_Result]]) -> None:
    async with connected(config.redis) as redis:
        store = SettingsStore(redis, KeyRing(config.keys), config.redis.key_prefix)
        await work(SettingsEditor(read(path, os.environ), store, SettingsCopy(config.redis.data_dir)))


def _exit(status: int, lines: Sequence[str]) -> NoReturn:
    for line in lines:
        err.print(line)
    raise typer.Exit(status)
