"""`doorward provision | unlink | reconcile`: one person's account before their first sign-in, and accounts that are not used.

Exit status: 0 done; 1 the configuration has problems; 2 a wrong call; 3 the directory or Redis does not answer; 4 not confirmed.
"""

import asyncio
import csv
import json
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace
from rich.table import Table

from gateway.cli.printing import ConfigPath, err, loaded, out, show_steps
from gateway.config import schema, values
from gateway.config.schema import Config, RemoteDirectory
from gateway.directory.account import Account, Directory, is_elsewhere, quotable, with_link
from gateway.directory.account_links import AccountLinks
from gateway.directory.creation import Creation
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.factory import open_directory, open_links
from gateway.directory.person import Person
from gateway.directory.planning import Stray, known_account, strays
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import AccountLinkedElsewhere, DirectoryUnavailable
from gateway.identity.claims import Claims, identity_from_claims
from gateway.oidc.calls import open_session
from gateway.operations.provisioning import PlanReport, make_plan
from gateway.redis_client.client import connected
from gateway.redis_client.leases import Leases
from gateway.sessions.keyring import KeyRing


@dataclass(frozen=True, slots=True)
class RemoteTarget:
    """The configuration, and its remote directory."""

    config: Config
    settings: RemoteDirectory


def show_plan(shown: PlanReport, settings: RemoteDirectory, person: Person) -> None:
    """Print the plan."""
    found, account = shown.plan, shown.plan.account
    steps = [("directory", f"{settings.kind} {settings.base_url}, mode {settings.mode}")]
    steps += [("asked", f"{call.method} {call.url}") for call in shown.calls]
    steps.append(("account", "none" if account is None else _described(account)))
    if account is not None and account.link is not None:
        steps.append(("linked to", quotable(account.link)))
    if not person.link:
        steps.append(("link", "none: the claims have no sub"))
    if found.elsewhere:
        steps.append(
            (
                "refused",
                "account_linked_elsewhere: the directory keeps another person in it, or this one in another form",
            )
        )
    show_steps(steps)
    if found.changes:
        table = Table("field", "now", "would be", box=None, pad_edge=False)
        for change in found.changes:
            table.add_row(change.name, _value(change.before), _value(change.after))
        out.print(table)
    if found.call is None:
        out.print("nothing to do")
        return
    out.print(f"would {found.what}:")
    out.print(f"  {found.call.method} {found.call.url}")
    for name, value in found.call.headers:
        out.print(f"  {name}: {value}")
    out.print(f"  {found.call.body}")


def _described(account: Account) -> str:
    return f"{account.id}, {'active' if account.active else 'not active'}"


def _value(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def carry_out(at: RemoteTarget, shown: PlanReport, person: Person) -> str:
    """Carry out a plan with the guards of a sign-in: the lease, the second search, the creation marker. Returns what was done."""
    async with _connect(at) as (directory, links, redis):
        account = shown.plan.account
        if account is None:
            prefix = at.config.redis.key_prefix
            leases = Leases(redis, prefix, time.monotonic)
            made: list[str] = []
            creation = Creation(
                directory, leases, CreationMarkers(redis, prefix), person, person.email or "", made.append
            )
            async with asyncio.timeout(at.settings.timeout.total_seconds() * 2):
                account = await creation.find_or_create()
            await _link(at, directory, links, account, person)
            return f"account {account.id} {'created' if made else 'was there already'}"
        if shown.what == "suspend":
            await directory.suspend(account)
            return f"account {account.id} suspended"
        if person.link and not _shared(at) and not await links.allows(person.link, account.id):
            raise AccountLinkedElsewhere(f"account {account.id} belongs to another person, who signed in to it here")
        await directory.update(account, shown.plan.changes)
        return f"account {account.id} updated"


def _shared(at: RemoteTarget) -> bool:
    return at.settings.linked_elsewhere == "allow"


async def _link(at: RemoteTarget, directory: Directory, links: AccountLinks, account: Account, person: Person) -> None:
    """Link person and account, if the claims have a `sub`. Raises AccountLinkedElsewhere."""
    if not person.link:
        return
    account = await with_link(directory, account)
    theirs = is_elsewhere(account, directory.link_for(person)) and not _shared(at)
    if theirs or not await links.claim(person.link, account.id, shared=_shared(at)):
        raise AccountLinkedElsewhere(f"account {account.id} belongs to another person")


async def remove_link(at: RemoteTarget, person: Person) -> str:
    """Remove the link of the account with this person's address; what was done. Raises DirectoryUnavailable."""
    async with _connect(at) as (directory, links, _):
        account = await known_account(directory, person)
        if account is None:
            raise DirectoryUnavailable("rejected", "no account has this address")
        had = await links.release(account.id)
        kept = (
            "" if account.link is None else f"; the directory itself keeps {quotable(account.link)!r}: clear that there"
        )
        return f"account {account.id} {'has no link now' if had else 'had no link'}{kept}"


async def print_strays(at: RemoteTarget, days: int, *, as_csv: bool, emails: bool) -> None:
    """Print accounts whose person was not seen for `days`, and persons without an account."""
    since = datetime.now(UTC) - timedelta(days=days)
    writer = csv.writer(sys.stdout)
    names = ["why", "account", "active", "last seen", *(["email"] if emails else [])]
    table = Table(*names, box=None, pad_edge=False)
    if as_csv:
        writer.writerow(names)
    number = 0
    async with _connect(at) as (directory, links, _):
        seen = {entry.account_id: entry.at async for entry in links.seen()}
        async for stray in strays(directory, seen, since):
            number += 1
            row = _row(stray, emails=emails)
            writer.writerow(row) if as_csv else table.add_row(*row)
    if not as_csv:
        out.print(table)
        out.print(f"{number} of them; a person counts as seen in the last {days} days")


def _row(stray: Stray, *, emails: bool) -> list[str]:
    account = stray.account
    active = "-" if account is None else "yes" if account.active else "no"
    at = "never" if stray.seen_at is None else stray.seen_at.isoformat(timespec="seconds")
    # A cell that begins like a formula would be executed as one by a spreadsheet.
    email = "" if account is None else account.email
    shown = [f"'{email}" if email[:1] in ("=", "+", "-", "@") else email] if emails else []
    return [stray.why, stray.account_id, active, at, *shown]


@asynccontextmanager
async def _connect(at: RemoteTarget) -> AsyncIterator[tuple[Directory, AccountLinks, Any]]:
    settings, prefix = at.settings, at.config.redis.key_prefix
    async with connected(at.config.redis) as redis, open_session(settings.ca) as http:
        directory = open_directory(settings, http, redis, prefix)
        assert directory is not None
        yield directory, open_links(settings, redis, prefix, KeyRing(at.config.keys)), redis


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
    plan = _run(make_plan(settings, person, suspend=suspend))
    show_plan(plan, settings, person)
    if dry_run or plan.what == "nothing":
        return
    if settings.mode == "shadow":
        err.print("directory.mode is shadow: nothing is written")
        raise typer.Exit(NOT_CONFIRMED)
    if not yes and not typer.confirm(f"{plan.what} now?", err=True):
        raise typer.Exit(NOT_CONFIRMED)
    out.print(_run(carry_out(RemoteTarget(valid, settings), plan, person)))


def unlink(config: ConfigPath, email: Email) -> None:
    """Forget whose the account with this address is: the next person who signs in with the address gets it."""
    valid, settings = _remote(config)
    person = _person(valid, email, None, "")
    out.print(_run(remove_link(RemoteTarget(valid, settings), person)))


def reconcile(
    config: ConfigPath,
    days: Annotated[int, typer.Option(min=1, max=400, help="Not seen for so many days.")] = 90,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a line of names first.")] = False,
    emails: Annotated[bool, typer.Option("--emails", help="Show e-mail addresses also at `pii: minimal`.")] = False,
) -> None:
    """Accounts whose person was not seen, and persons whose account is gone. Changes nothing."""
    valid, settings = _remote(config)
    shown = emails or valid.log.pii == "full"
    _run(print_strays(RemoteTarget(valid, settings), days, as_csv=as_csv, emails=shown))


def _remote(path: Path) -> tuple[Config, schema.RemoteDirectory]:
    valid = loaded(path)
    if isinstance(valid.directory, schema.NoDirectory):
        err.print("directory.kind is none: there is no directory to ask")
        raise typer.Exit(WRONG_CALL)
    return valid, valid.directory


def _person(config: Config, email: str, file: Path | None, app: str) -> Person:
    """The person of the claims, without a link when they have no `sub`. Exits for claims that cannot be used."""
    if app and app not in config.apps:
        err.print(f"--app {app}: no such app; allowed: {', '.join(config.apps)}")
        raise typer.Exit(WRONG_CALL)
    try:
        values.parse_email(email)
        given = json.loads(file.read_text()) if file is not None else {}
        if not isinstance(given, dict):
            raise ValueError('is not a JSON object; allowed: claims, as {"sub": "..."}')
        subject = given.get("sub")
        # The operator gives the address, and so it counts as verified.
        settings = config.openid.model_copy(update={"require_verified_email": "never"})
        names = settings.claims
        person_claims = names.subject.put(names.email.put(given, email), subject or "-")
        issuer = str(given.get("iss") or config.openid.authority_url)
        claims = Claims(issuer=issuer, subject=subject if isinstance(subject, str) else "", values=person_claims)
        identity = replace(identity_from_claims(claims, settings), email_verified=True)
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
