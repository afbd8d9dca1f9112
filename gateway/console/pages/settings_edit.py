"""The changes of settings: the form, what it would mean, saving, confirming, rolling back.

What a person reviewed is what is saved: it travels sealed in the review's form, with the secret that was typed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from gateway.config.console import EDIT
from gateway.config.overlay import SavedSettings, SavedValue
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.pages.settings import SETTINGS, editor_of, frame, tab_of, told
from gateway.console.request import ConsoleRequest
from gateway.console.rights import ConsoleRights
from gateway.operations.settings.editor import Author, SettingsEditor
from gateway.operations.settings.login_proof import LoginProofs, ProofReference
from gateway.operations.settings.meaning import changes, meaning_of
from gateway.operations.settings.proposal import SettingsProposal, SettingsRefused
from gateway.operations.settings.report import pending_row, version_row
from gateway.saved_settings.record import SettingsConflict
from gateway.sessions import base64url
from gateway.sessions.login_tests import LoginTests
from gateway.sessions.scan import SessionFilter, SessionScan

_SWITCH: Final = {"on": True, "off": False}
_TEXTS: Final = ("unregistered_when_sso_only", "log_out_url", "authority_url", "client_id", "client_secret")
_YOUNGEST: Final = timedelta(minutes=20)  # how far back a sign-in is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person looks at before it is saved. `seen` is the revision of the record, `tests` the login tests that were begun."""

    given: Mapping[str, SavedValue] = field(default_factory=dict, repr=False)
    seen: int | None = None
    tests: tuple[ProofReference, ...] = ()


# --- the form and its review ------------------------------------------------------------------------------------------


async def _form(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return await _form_with(request, parts, ())


async def _form_with(
    request: ConsoleRequest,
    parts: ConsoleParts,
    problems: tuple[str, ...],
    given: Mapping[str, SavedValue] | None = None,
) -> View:
    """The form, with what was typed but for the secret; 422 with problems."""
    editor = editor_of(parts)
    state = await editor.read()
    data = frame(editor, state, parts, tab_of(request, parts))
    typed = {key: _shown(value) for key, value in (given or {}).items() if not key.endswith("client_secret")}
    rows = [row | {"typed": typed.get(row["key"], _written(editor, row))} for row in data["settings"]]
    return View(
        data=data | {"settings": rows, "problems": list(problems)},
        status=422 if problems else 200, template="settings_form.html",
    )  # fmt: skip


def _written(editor: SettingsEditor, row: Mapping[str, Any]) -> str:
    """The value in force as the form has it; never a secret."""
    return "" if row["key"].endswith("client_secret") or row["value"] == "not set" else str(row["value"])


def _shown(value: SavedValue) -> str:
    return "" if value is None else ("on" if value else "off") if isinstance(value, bool) else value


async def _change(request: ConsoleRequest, parts: ConsoleParts) -> View:
    """The first POST shows what it would mean; with what was sealed then, one begins the login tests, and one saves."""
    review = Review()
    try:
        if not request.form.has("reviewed"):
            review = Review(given=_given(request), seen=_seen(request))
            return await _review(request, parts, review)
        review = _unsealed(request, parts)
        return await (_try(request, parts, review) if request.form.has("try") else _save(request, parts, review))
    except SettingsRefused as refused:
        return await _form_with(request, parts, refused.problems, review.given)
    except SettingsConflict as conflict:
        return await _form_with(request, parts, (f"{conflict}. The form below shows what is in force now.",))


async def _review(request: ConsoleRequest, parts: ConsoleParts, review: Review, problems: tuple[str, ...] = ()) -> View:
    editor = editor_of(parts)
    proposal = await editor.propose(review.given, review.seen)
    if not proposal.changed:
        raise SettingsRefused(["nothing is changed: every value is in force already"])
    await editor.check(proposal)
    state = await editor.read()
    after = SavedSettings(proposal.values, 0)
    found = [
        each for each in changes(editor.in_force(state), after, editor.file_values()) if each.key in proposal.changed
    ]
    kept = {
        key: value for key, value in review.given.items() if key in proposal.changed or key.endswith("client_secret")
    }
    data = told(meaning_of(proposal.config)) | {
        "changes": [{"key": e.key, "label": e.label, "before": e.before, "after": e.after} for e in found],
        "provider": tab_of(request, parts), "reviewed": _sealed(request, parts, replace(review, given=kept)),
        "tries": list(proposal.clients), "tests": [asdict(test) for test in review.tests], "problems": list(problems),
    }  # fmt: skip
    return View(data=data, status=422 if problems else 200, template="settings_review.html")


async def _try(request: ConsoleRequest, parts: ConsoleParts, review: Review) -> View:
    """Begin a login test with the new values at each provider whose authority, client or secret changes."""
    proposal = await editor_of(parts).propose(review.given, review.seen)
    proofs = _proofs(request, parts)
    tests = tuple([await proofs.begin(proposal, name) for name in proposal.clients])
    return await _review(request, parts, replace(review, tests=tests))


async def _save(request: ConsoleRequest, parts: ConsoleParts, review: Review) -> View:
    editor = editor_of(parts)
    proposal = await editor.propose(review.given, review.seen)
    needs = await _needs(request, parts, proposal, review)
    if needs:
        return await _review(request, parts, review, tuple(needs))
    await editor.check(proposal)
    author = Author(name=request.operator.label, session=request.operator.sid)
    version = await editor.save(review.given, author, request.form.one("reason") or "", seen=review.seen)
    state = await editor.read()
    return View(data=version_row(editor, state.record, version), location=SETTINGS)


async def _needs(request: ConsoleRequest, parts: ConsoleParts, proposal: SettingsProposal, review: Review) -> list[str]:
    """What this person must prove before such a change is saved."""
    proofs, made = _proofs(request, parts), {test.provider: test for test in review.tests}
    found: list[str] = []
    for name in proposal.clients:
        # SECURITY: values that no person got in with would shut every person out, and who saves first (C-98).
        if name not in made:
            found.append(f"{name}: needs a login test with the new values, made by you")
        elif (lacking := await proofs.lacking(made[name])) is not None:
            found.append(lacking)
    return found


def _proofs(request: ConsoleRequest, parts: ConsoleParts) -> LoginProofs:
    assert parts.config.console is not None
    rights = ConsoleRights(parts.config.console)
    tests = LoginTests(parts.redis, parts.config.redis.key_prefix, parts.ring)
    operator = request.operator
    return LoginProofs(
        parts.config, tests, operator.sid, operator.identity, lambda identity: rights.roles(identity)["settings"]
    )


def _given(request: ConsoleRequest) -> dict[str, SavedValue]:
    """What the form says, by key. Raises SettingsRefused."""
    given: dict[str, SavedValue] = {}
    for key, text in request.form.pairs:
        if not key.startswith(("openid.", "providers.")):
            continue
        if key in given:
            raise SettingsRefused([f"{key}: is given twice"])
        if key.rpartition(".")[2] in _TEXTS:
            given[key] = text
        elif text in _SWITCH:
            given[key] = _SWITCH[text]
        else:
            raise SettingsRefused([f"{key}: is not on or off; allowed: on, off"])
    return given


def _seen(request: ConsoleRequest) -> int | None:
    text = request.form.one("revision") or ""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _sealed(request: ConsoleRequest, parts: ConsoleParts, review: Review) -> str:
    plain = json.dumps(asdict(review)).encode()
    return base64url.encode(parts.ring.purpose("settings review").seal(plain, _context(request)))


def _unsealed(request: ConsoleRequest, parts: ConsoleParts) -> Review:
    """What was reviewed. Raises SettingsRefused for what was not reviewed in this session."""
    try:
        sealed = base64url.decode((request.form.one("reviewed") or "").encode())
        found = json.loads(parts.ring.purpose("settings review").open(sealed, _context(request)))
    except ValueError:
        raise SettingsRefused(
            ["this review is of another sign-in or is not complete; look at the change again"]
        ) from None
    return Review(
        given=found["given"], seen=found["seen"], tests=tuple(ProofReference(**test) for test in found["tests"])
    )


def _context(request: ConsoleRequest) -> tuple[str, ...]:
    # SECURITY: what another operator reviewed, or an earlier session, is not what this person saw (C-99).
    return ("settings review", request.operator.sid)


# --- confirming, and rolling back -------------------------------------------------------------------------------------


async def _confirm_page(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return await _confirm_with(request, parts, ())


async def _confirm_with(request: ConsoleRequest, parts: ConsoleParts, problems: tuple[str, ...]) -> View:
    editor = editor_of(parts)
    state = await editor.read()
    pending = pending_row(editor, state.record)
    found = editor.pending(state.record)
    fresh = found is not None and await _signed_in_at(request, parts) > found.at
    data = {"pending": pending, "fresh": fresh, "problems": list(problems)}
    return View(data=data, status=422 if problems else 200, template="settings_confirm.html")


async def _confirm(request: ConsoleRequest, parts: ConsoleParts) -> View:
    editor = editor_of(parts)
    operator = request.operator
    author = Author(name=operator.label, session=operator.sid, signed_in_at=await _signed_in_at(request, parts))
    try:
        version = await editor.confirm(author)
    except SettingsRefused as refused:
        return await _confirm_with(request, parts, refused.problems)
    except SettingsConflict as conflict:
        return await _confirm_with(request, parts, (str(conflict),))
    return View(data={"version": version.number, "confirmed_by": version.confirmed_by}, location=SETTINGS)


async def _signed_in_at(request: ConsoleRequest, parts: ConsoleParts) -> float:
    """When the session of this request began, in seconds since 1970; 0: it is not found. Raises StoreUnavailable."""
    operator = request.operator
    who = operator.identity
    wanted = SessionFilter(sids=frozenset({operator.sid}), issuer=who.issuer, subject=who.subject, newer_than=_YOUNGEST)
    scan = SessionScan(parts.redis, parts.ring, parts.config.redis.key_prefix)
    async for some in scan.batches(wanted):
        for entry in some:
            # SECURITY: a batch has all sessions of the person: a new one elsewhere says nothing about this sign-in (C-98).
            if entry.session is not None and wanted.matches(entry.session, parts.now()):
                return entry.session.created_at.timestamp()
    return 0.0


async def _rollback_page(request: ConsoleRequest, parts: ConsoleParts) -> View:
    return await _rollback_with(request, parts, ())


async def _rollback_with(request: ConsoleRequest, parts: ConsoleParts, problems: tuple[str, ...]) -> View:
    editor = editor_of(parts)
    state = await editor.read()
    to = _number(request)
    target = state.record.version(to) if to else None
    data: dict[str, Any] = {
        "to": to, "revision": state.record.revision, "problems": list(problems), "changes": [], "sentences": [], "warnings": [],
    }  # fmt: skip
    newest = state.record.newest
    settings = target.settings if target is not None else state.record.before(newest) if newest and not to else None
    if settings is None:
        data["problems"] = [*problems, "there is no such version"] if not problems else list(problems)
        return View(data=data, status=404 if not problems else 422, template="settings_rollback.html")
    found = changes(editor.in_force(state), settings, editor.file_values())
    data["changes"] = [{"key": e.key, "label": e.label, "before": e.before, "after": e.after} for e in found]
    try:
        meaning = told(meaning_of(editor.config_with(settings)))
        data |= {"sentences": meaning["sentences"], "warnings": meaning["warnings"]}
    except SettingsRefused as refused:
        data["problems"] = [*data["problems"], *refused.problems]
    return View(data=data, status=422 if data["problems"] else 200, template="settings_rollback.html")


async def _rollback(request: ConsoleRequest, parts: ConsoleParts) -> View:
    author = Author(name=request.operator.label, session=request.operator.sid)
    reason = request.form.one("reason") or ""
    try:
        version = await editor_of(parts).roll_back(
            author, reason, _number(request), seen=_seen(request), confirmed=False
        )
    except SettingsRefused as refused:
        return await _rollback_with(request, parts, refused.problems)
    except SettingsConflict as conflict:
        return await _rollback_with(request, parts, (str(conflict),))
    return View(data={"version": version.number, "restores": version.restores}, location=SETTINGS)


def _number(request: ConsoleRequest) -> int | None:
    """The version to go back to; None: the one before the newest."""
    text = request.form.one("to") or request.query.one("to") or ""
    return int(text) if text.isdecimal() and len(text) < 10 else None


PAGES: Final = (
    Page(
        path=f"{EDIT}/change", title="Change settings", template="settings_form.html", show=_form, change=_change, section=SETTINGS,
    ),
    Page(
        path=f"{EDIT}/confirm", title="Confirm the settings", template="settings_confirm.html", show=_confirm_page,
        change=_confirm, section=SETTINGS,
    ),
    Page(
        path=f"{EDIT}/rollback", title="Roll the settings back", template="settings_rollback.html", show=_rollback_page,
        change=_rollback, section=SETTINGS,
    ),
)  # fmt: skip
