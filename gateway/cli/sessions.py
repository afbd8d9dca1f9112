"""`doorward sessions list | show | revoke`: who is signed in, and ending that. Needs the configuration and Redis, no running gateway.

Exit status: 0 done; 1 the configuration has problems, or `show` found nothing; 2 a wrong call; 3 Redis does not answer; 4 not confirmed.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from gateway.bearer.ended import EndedTokens
from gateway.cli.printing import ConfigPath, err, loaded, out, show_steps
from gateway.cli.session_tables import Form, Listing, plain, show_counts
from gateway.cli.token_revocation import no_revoker, token_revoker
from gateway.config import values
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.events import Audit
from gateway.operations.sessions import SessionWork, facts_of
from gateway.redis_client.client import connected
from gateway.sessions.keyring import KeyRing
from gateway.sessions.scan import Entry, SessionFilter, SessionScan

NOTHING: Final = 1
WRONG_CALL: Final = 2
NO_STORE: Final = 3
NOT_CONFIRMED: Final = 4

app = typer.Typer(no_args_is_help=True)

Emails = Annotated[
    list[str] | None, typer.Option("--email", metavar="ADDRESS", help="Of this person; may be repeated.")
]
Issuer = Annotated[
    str | None, typer.Option(help="Of this provider. With --subject no other person's sessions are read.")
]
Subject = Annotated[str | None, typer.Option(help="Of the person whom the provider calls so.")]
Apps = Annotated[list[str] | None, typer.Option("--app", metavar="NAME", help="Of this app; may be repeated.")]
Addresses = Annotated[
    list[str] | None, typer.Option("--address", metavar="IP|CIDR", help="Signed in from there; may be repeated.")
]
ProviderSid = Annotated[str | None, typer.Option("--provider-sid", help="Begun in this session at the provider.")]
Older = Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Signed in longer ago: 30m, 8h, 7d.")]
Newer = Annotated[str | None, typer.Option("--newer-than", metavar="AGE", help="Signed in since: 30m, 8h, 7d.")]


@app.callback()
def sessions() -> None:
    """Who is signed in, and ending that."""


@app.command("list")
def list_(
    config: ConfigPath,
    email: Emails = None,
    issuer: Issuer = None,
    subject: Subject = None,
    app_: Apps = None,
    address: Addresses = None,
    provider_sid: ProviderSid = None,
    older_than: Older = None,
    newer_than: Newer = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a line of names first.")] = False,
    emails: Annotated[bool, typer.Option("--emails", help="Show e-mail addresses also at `pii: minimal`.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Rows of the table, the newest first; 0: only count.")] = 100,
) -> None:
    """Every session that is meant: all kinds given must match. The counts go to standard error with --json and --csv."""
    valid = loaded(config)
    chosen = FilterOptions(
        email=email, issuer=issuer, subject=subject, app=app_, address=address, provider_sid=provider_sid,
        older_than=older_than, newer_than=newer_than,
    ).to_filter()  # fmt: skip
    if as_json and as_csv:
        _exit_wrong_call("--json or --csv, not both")
    form: Form = "json" if as_json else "csv" if as_csv else "table"
    shown = emails or bool(email) or valid.log.pii == "full"
    listing = Listing(form, sys.stdout, _now(), emails=shown, limit=limit)
    unreadable = _run(_list(valid, chosen, listing))
    listing.show_table(out)
    show_counts(out if form == "table" else err, listing.apps, unreadable if chosen.everything else 0)


@app.command()
def show(
    config: ConfigPath,
    sid: Annotated[str, typer.Argument(help="The session's public handle, as lists, events and access lines have it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    emails: Annotated[bool, typer.Option("--emails", help="Show e-mail addresses also at `pii: minimal`.")] = False,
) -> None:
    """One session: whose, since when, until when. Never its tokens. Exit status 1 when there is none."""
    valid = loaded(config)
    found = _run(_find(valid, sid))
    if found is None or found.session is None:
        err.print(f"{sid}: no such session")
        raise typer.Exit(NOTHING)
    facts = facts_of(found.session, found.idle_left, _now(), emails=emails or valid.log.pii == "full")
    facts |= {"groups": ", ".join(found.session.identity.groups)}
    if as_json:
        out.print(json.dumps(facts))
    else:
        show_steps([(name, "-" if value is None else plain(str(value))) for name, value in facts.items()])


@app.command()
def revoke(
    config: ConfigPath,
    sid: Annotated[list[str] | None, typer.Argument(help="Sessions by their public handles.")] = None,
    email: Emails = None,
    issuer: Issuer = None,
    subject: Subject = None,
    app_: Apps = None,
    address: Addresses = None,
    provider_sid: ProviderSid = None,
    older_than: Older = None,
    newer_than: Newer = None,
    all_sessions: Annotated[bool, typer.Option("--all", help="Every session there is.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would end.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Give their tokens back to the provider too.")] = False,
) -> None:
    """End every session that is meant, now, in every process. One event a session on standard output, the count on standard error.

    Where it is people that are meant (`--email`, `--subject`), the access tokens that were issued to their programs end too.
    """
    valid = loaded(config)
    chosen = FilterOptions(
        sid=sid, email=email, issuer=issuer, subject=subject, app=app_, address=address, provider_sid=provider_sid,
        older_than=older_than, newer_than=newer_than,
    ).to_filter()  # fmt: skip
    if chosen.everything != all_sessions:
        _exit_wrong_call(
            "say whose sessions: by handle, --email, --subject, --app, --address, --older-than..., or --all alone"
        )
    if dry_run or not yes:
        counted = Listing("table", sys.stdout, _now(), emails=False, limit=0)
        unreadable = _run(_list(valid, chosen, counted))
        show_counts(err, counted.apps, unreadable if all_sessions else 0, " would end")
        if dry_run:
            return
        and_tokens = ends_tokens(valid, chosen)
        if counted.total + (unreadable if all_sessions else 0) == 0 and not and_tokens:
            return
        what = f"{counted.total} session{'' if counted.total == 1 else 's'}"
        if not _confirmed(f"End {what}{', and the access tokens of these people' if and_tokens else ''}?"):
            err.print("nothing was ended")
            raise typer.Exit(NOT_CONFIRMED)
    ended = _run(_revoke(valid, chosen, tokens=tokens))
    show_counts(err, ended, 0, " ended")
    if ends_tokens(valid, chosen):
        err.print("access tokens that were issued before now are refused")


# --- the work -----------------------------------------------------------------------------------------------------


async def _list(config: Config, chosen: SessionFilter, listing: Listing) -> int:
    """Add the selected sessions to `listing`; the number of records that no key opens."""
    unreadable, now = 0, _now()
    async with connected(config.redis) as redis, aclosing(_read(redis, config, chosen)) as batches:
        async for entries in batches:
            for entry in entries:
                if entry.session is None:
                    unreadable += 1
                elif chosen.matches(entry.session, now):
                    listing.add(entry, entry.session)
            if _all_found(chosen, listing.total):
                break
    return unreadable


async def _find(config: Config, sid: str) -> Entry | None:
    async with connected(config.redis) as redis:
        return await SessionWork(redis, KeyRing(config.keys), config.redis.key_prefix).find(sid)


async def _revoke(config: Config, chosen: SessionFilter, *, tokens: bool) -> Counter[str]:
    """End the selected sessions; how many ended, by app."""
    events = Audit(lambda line: _write(line.decode()), pii_full=config.log.pii == "full")
    ended = Counter[str]()
    revoking = token_revoker(config, events) if tokens else no_revoker()
    async with connected(config.redis) as redis, revoking as revoke_tokens:
        if ends_tokens(config, chosen):
            marks = EndedTokens(redis, KeyRing(config.keys), config.redis.key_prefix)
            await marks.write(
                _now(), emails=chosen.emails, issuer=chosen.issuer, subject=chosen.subject, apps=chosen.apps
            )
        work = SessionWork(redis, KeyRing(config.keys), config.redis.key_prefix)
        async with aclosing(_read(redis, config, chosen)) as batches:
            async for over in work.revoke(chosen, batches, _now(), events, "operator"):
                ended.update(session.app for session in over)
                await revoke_tokens(over)
                if _all_found(chosen, ended.total()):
                    break
    return ended


def ends_tokens(config: Config, chosen: SessionFilter) -> bool:
    """Whether the filter says people and nothing narrower, so that the tokens which they gave to programs end too, in apps that take any."""
    if not any(app.bearer for app in config.apps.values()) or not (chosen.emails or chosen.subject):
        return False
    narrower = replace(chosen, emails=frozenset(), issuer=None, subject=None, apps=frozenset())
    return narrower.everything and not (chosen.emails and (chosen.subject or chosen.issuer))


def _all_found(chosen: SessionFilter, found: int) -> bool:
    """Whether the scan can stop: handles are unique."""
    return 0 < len(chosen.sids) <= found


async def _read(redis: Any, config: Config, chosen: SessionFilter) -> AsyncGenerator[list[Entry], None]:
    """Batches of records, with their count on the terminal."""
    scan = SessionScan(redis, KeyRing(config.keys), config.redis.key_prefix)
    progress = TextColumn("{task.completed:,.0f} of about {task.total:,.0f} keys")
    with Progress(progress, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=await scan.size())
        async for entries in scan.batches(chosen):
            yield entries
            bar.advance(task, len(entries))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it; exit status 3 when Redis does not answer."""
    try:
        return asyncio.run(work)
    except StoreUnavailable as error:
        err.print(f"Redis: {error.detail}")
        raise typer.Exit(NO_STORE) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """The options that select sessions, as typer gives them."""

    sid: list[str] | None = None
    email: list[str] | None
    issuer: str | None
    subject: str | None
    app: list[str] | None
    address: list[str] | None
    provider_sid: str | None
    older_than: str | None
    newer_than: str | None

    def to_filter(self) -> SessionFilter:
        """Raises typer.Exit for an option that cannot be parsed."""
        return SessionFilter(
            sids=frozenset(self.sid or ()),
            emails=frozenset(email.casefold() for email in self.email or ()),
            issuer=self.issuer,
            subject=self.subject,
            apps=frozenset(self.app or ()),
            networks=tuple(_parsed("--address", values.parse_network, address) for address in self.address or ()),
            provider_sid=self.provider_sid,
            older_than=_age("--older-than", self.older_than),
            newer_than=_age("--newer-than", self.newer_than),
        )


def _age(name: str, text: str | None) -> timedelta | None:
    return None if text is None else _parsed(name, values.parse_duration, text)


def _parsed(name: str, parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        _exit_wrong_call(f"{name}: {error}")


def _exit_wrong_call(what: str) -> NoReturn:
    err.print(what)
    raise typer.Exit(WRONG_CALL)


def _confirmed(question: str) -> bool:
    """Ask; the end of input is a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _now() -> datetime:
    return datetime.now(UTC)


def _write(line: str) -> None:
    sys.stdout.write(line)
