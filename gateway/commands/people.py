"""`doorward provision | unlink | reconcile`: one person's account before anybody signs in, and all accounts against who comes.

Exit status: 0 done; 1 the configuration has problems; 2 a wrong call; 3 the directory or Redis does not answer; 4 not confirmed.
"""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace

from gateway.commands import people_work
from gateway.commands.people_work import At
from gateway.commands.printing import ConfigPath, err, loaded, out
from gateway.config import schema, values
from gateway.config.schema import Config
from gateway.directory.person import Person
from gateway.errors import Refusal
from gateway.identity import Claims, identity_from_claims

WRONG_CALL: Final = 2
NO_ANSWER: Final = 3
NOT_CONFIRMED: Final = 4

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The person's address.")]


def provision(
    config: ConfigPath,
    email: Email,
    claims: Annotated[
        Path | None, typer.Option("--claims", metavar="FILE", help="What the provider would say, as a JSON object.")
    ] = None,
    app: Annotated[str, typer.Option("--app", metavar="NAME", help="As if signing in at this app.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, with the exact call.")
    ] = False,
    suspend: Annotated[bool, typer.Option("--suspend", help="Make the account inactive instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Find or create one person's account, bring its fields up to date, or suspend it."""
    valid, settings = _remote(config)
    person = _person(valid, email, claims, app)
    plan = _run(people_work.planned(settings, person, suspend=suspend))
    people_work.show(plan, settings, person, emails=True)
    if dry_run or plan.what == "nothing":
        return
    if settings.mode == "shadow":
        err.print("directory.mode is shadow: nothing is written")
        raise typer.Exit(NOT_CONFIRMED)
    if not yes and not typer.confirm(f"{plan.what} now?", err=True):
        raise typer.Exit(NOT_CONFIRMED)
    out.print(_run(people_work.carried_out(At(valid, settings), plan, person)))


def unlink(config: ConfigPath, email: Email) -> None:
    """Forget whose the account with this address is: the next person who signs in with the address gets it."""
    valid, settings = _remote(config)
    person = _person(valid, email, None, "")
    out.print(_run(people_work.unlinked(At(valid, settings), person)))


def reconcile(
    config: ConfigPath,
    days: Annotated[int, typer.Option(min=1, max=400, help="Not seen for so many days.")] = 90,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a line of names first.")] = False,
    emails: Annotated[bool, typer.Option("--emails", help="Show e-mail addresses also at `pii: minimal`.")] = False,
) -> None:
    """Accounts whose person was not seen, and persons whose account is gone. Changes nothing."""
    valid, settings = _remote(config)
    shown = emails or valid.log.pii == "full"
    _run(people_work.reconciled(At(valid, settings), days, as_csv=as_csv, emails=shown))


def _remote(path: Path) -> tuple[Config, schema.RemoteDirectory]:
    valid = loaded(path)
    if isinstance(valid.directory, schema.NoDirectory):
        err.print("directory.kind is none: there is no directory to ask")
        raise typer.Exit(WRONG_CALL)
    return valid, valid.directory


def _person(config: Config, email: str, file: Path | None, app: str) -> Person:
    """Without a `sub` among the claims nobody is linked: who that would be is not known yet."""
    if app and app not in config.apps:
        err.print(f"--app {app}: no such app; allowed: {', '.join(config.apps)}")
        raise typer.Exit(WRONG_CALL)
    try:
        values.parse_email(email)
        given = json.loads(file.read_text()) if file is not None else {}
        if not isinstance(given, dict):
            raise ValueError('is not a JSON object; allowed: claims, as {"sub": "..."}')
        subject = given.get("sub")
        told = {**given, config.openid.claims.email: email, config.openid.claims.subject: subject or "-"}
        issuer = str(given.get("iss") or config.openid.authority_url)
        claims = Claims(issuer=issuer, subject=subject if isinstance(subject, str) else "", values=told)
        # The operator names the address, and so vouches for it.
        identity = replace(identity_from_claims(claims, config.openid.claims, "never"), email_verified=True)
    except (OSError, ValueError) as error:
        err.print(f"{file if isinstance(error, OSError) or file else email}: {error}")
        raise typer.Exit(WRONG_CALL) from error
    except Refusal as refusal:
        err.print(f"{email}: {refusal.code}: {refusal.detail}")
        raise typer.Exit(WRONG_CALL) from refusal
    return Person(identity=identity, claims=given, app=app)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except Refusal as refusal:
        err.print(f"{refusal.code}: {refusal.detail}")
        raise typer.Exit(NO_ANSWER) from refusal
