"""People and sessions: who is signed in, found by person, app, address, age and browser; one person; the end of sessions."""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final
from urllib.parse import urlencode

from gateway.config.console import ACT, CONSOLE
from gateway.config.schema import Network
from gateway.config.values import parse_duration, parse_network
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.errors.requests import BadRequest
from gateway.operations.sessions import SessionWork, shown_of
from gateway.sessions.scan import Entry, SessionFilter
from gateway.telemetry.event_reader import EventReader

SESSIONS: Final = "/console/sessions"
PERSON: Final = "/console/person"
END: Final = f"{ACT}/end-sessions"
_RECENT: Final = 10  # events on a person's page
_FIELDS: Final = ("person", "app", "address", "browser", "older_than", "newer_than")


async def _search(request: ConsoleRequest, parts: ConsoleParts) -> View:
    given = {name: (request.query.one(name) or "").strip() for name in _FIELDS}
    emails = _shows_emails(request, parts)
    shown: list[dict[str, Any]] = []
    problems: list[str] = []
    following = ""
    looked_at = 0
    about = 0
    try:
        work = _work(parts)
        page = await work.page(_filter(given), parts.now(), request.query.one("cursor") or "")
        shown, looked_at, about = _shown(page.entries, parts, emails=emails), page.looked_at, await work.scan.size()
        if page.cursor:
            following = _address(SESSIONS, {**given, "emails": "1" if emails else "", "cursor": page.cursor})
    except ValueError as error:
        problems.append(str(error))
    return View(
        status=400 if problems else 200,
        data={
            "search": given, "apps": [*parts.config.apps, CONSOLE], "sessions": shown, "next": following, "looked_at": looked_at,
            "keys": about, "emails": emails, "problems": problems,
            "with_emails": _address(SESSIONS, {**given, "emails": "" if emails else "1"}),
        },
    )  # fmt: skip


async def _person(request: ConsoleRequest, parts: ConsoleParts) -> View:
    issuer, subject = request.query.one("issuer"), request.query.one("subject")
    if not issuer or not subject:
        raise BadRequest("issuer and subject name a person")
    emails = _shows_emails(request, parts)
    entries = await _entries(SessionFilter(issuer=issuer, subject=subject), parts)
    newest = max((entry.session for entry in entries if entry.session), key=lambda each: each.created_at, default=None)
    who = None if newest is None else newest.identity
    names = {"issuer": issuer, "subject": subject}
    return View(
        data={
            **names,
            "name": None if who is None else who.name or who.preferred_username,
            "preferred_username": None if who is None else who.preferred_username,
            **({"email": None if who is None else who.email} if emails else {}),
            "email_verified": None if who is None or who.email is None else who.email_verified,
            "groups": [] if who is None else list(who.groups),
            "directory": {} if who is None else dict(who.directory),
            "provider": None if newest is None else newest.provider,
            "sessions": _shown(entries, parts, emails=emails),
            "emails": emails,
            "with_emails": _address(PERSON, {**names, "emails": "" if emails else "1"}),
            "end_all": _address(END, names),
            "events": await _events(subject, entries, parts),
            "all_events": _address("/console/events", {"person": subject}),
        }
    )


async def _events(subject: str, entries: list[Entry], parts: ConsoleParts) -> list[dict[str, Any]]:
    """The last events of a person: those that name the subject, and those of the sessions that there are."""
    sids = {entry.session.sid for entry in entries if entry.session is not None}
    page = await EventReader(parts.redis, parts.ring, parts.config.redis.key_prefix).page(
        _RECENT, lambda line: line.get("subject") == subject or line.get("session") in sids
    )
    return [event.to_json() for event in page.events]


async def _confirm(request: ConsoleRequest, parts: ConsoleParts) -> View:
    chosen = _chosen(request.query.one("issuer"), request.query.one("subject"), request.query.one("sid"))
    return View(
        data=_target(chosen) | {"sessions": _shown(await _entries(chosen, parts), parts, emails=False), "ended": None}
    )


async def _end(request: ConsoleRequest, parts: ConsoleParts) -> View:
    chosen = _chosen(request.form.one("issuer"), request.form.one("subject"), request.form.one("sid"))
    work, ended = _work(parts), 0
    batches = work.scan.batches(chosen)
    async for over in work.revoke(
        chosen, batches, parts.now(), parts.audit, "operator", operator=request.operator.label
    ):
        ended += len(over)
    return View(data=_target(chosen) | {"sessions": [], "ended": ended})


def _chosen(issuer: str | None, subject: str | None, sid: str | None) -> SessionFilter:
    """The sessions of one person, or one of them. Raises BadRequest: the console never ends those of all people."""
    if not issuer or not subject:
        raise BadRequest("issuer and subject name a person")
    return SessionFilter(issuer=issuer, subject=subject, sids=frozenset((sid,)) if sid else frozenset())


def _target(chosen: SessionFilter) -> dict[str, Any]:
    names = {"issuer": chosen.issuer or "", "subject": chosen.subject or ""}
    return {**names, "sid": next(iter(chosen.sids), ""), "back": _address(PERSON, names)}


async def _entries(chosen: SessionFilter, parts: ConsoleParts) -> list[Entry]:
    """A person's sessions, by the index of persons; the newest first."""
    now = parts.now()
    batches = _work(parts).scan.batches(chosen)
    found = [(each, each.session) async for batch in batches for each in batch if each.session is not None]
    matching = [(entry, session) for entry, session in found if chosen.matches(session, now)]
    return [entry for entry, _ in sorted(matching, key=lambda pair: pair[1].created_at, reverse=True)]


def _shown(entries: list[Entry], parts: ConsoleParts, *, emails: bool) -> list[dict[str, Any]]:
    """The sessions as the page and JSON have them, each with the addresses of its person and of its end."""
    shown = (shown_of(entry, parts.now(), emails=emails) for entry in entries)
    rows: list[dict[str, Any]] = []
    for facts in shown:
        if facts is not None:
            names = {"issuer": str(facts["issuer"]), "subject": str(facts["subject"])}
            rows.append(
                {**facts, "of": _address(PERSON, names), "end": _address(END, {**names, "sid": str(facts["sid"])})}
            )
    return rows


def _filter(given: Mapping[str, str]) -> SessionFilter:
    """Raises ValueError with what is allowed."""
    return SessionFilter(
        person=given["person"] or None,
        apps=frozenset((given["app"],)) if given["app"] else frozenset(),
        networks=_networks(given["address"]),
        user_agent=given["browser"] or None,
        older_than=_age("older than", given["older_than"]),
        newer_than=_age("newer than", given["newer_than"]),
    )


def _networks(text: str) -> tuple[Network, ...]:
    network = parse_network(text) if text else None
    return (network,) if isinstance(network, IPv4Network | IPv6Network) else ()


def _age(name: str, text: str) -> timedelta | None:
    if not text:
        return None
    try:
        age = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    assert isinstance(age, timedelta)
    return age


def _shows_emails(request: ConsoleRequest, parts: ConsoleParts) -> bool:
    """E-mail addresses as `log.pii` says, unless they are asked for, as by `--emails` of the command."""
    return parts.config.log.pii == "full" or request.query.one("emails") == "1"


def _work(parts: ConsoleParts) -> SessionWork:
    return SessionWork(parts.redis, parts.ring, parts.config.redis.key_prefix)


def _address(path: str, parameters: Mapping[str, str]) -> str:
    return f"{path}?{urlencode({name: value for name, value in parameters.items() if value})}"


PAGES: Final = (
    Page(
        path=SESSIONS, title="People and sessions", template="sessions.html", show=_search, menu="People and sessions"
    ),
    Page(path=PERSON, title="Person", template="person.html", show=_person, section=SESSIONS),
    Page(path=END, title="End sessions", template="end_sessions.html", show=_confirm, change=_end, section=SESSIONS),
)
