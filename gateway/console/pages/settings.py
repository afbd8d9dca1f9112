"""Settings: what is in force, by the words of the page that this product follows; the history; every other value with its source."""

from dataclasses import asdict
from typing import Any, Final

from gateway.config.loader import ConfigInvalid, judged
from gateway.config.overlay import PROVIDER_KEYS, TOGGLES, providers_in, section_of
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.operations.settings.editor import SettingsEditor, SettingsState
from gateway.operations.settings.listing import listing
from gateway.operations.settings.meaning import Meaning
from gateway.operations.settings.report import history_rows, meaning_in_force, pending_row, settings_rows
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.store import SettingsStore

SETTINGS: Final = "/console/settings"


def editor_of(parts: ConsoleParts) -> SettingsEditor:
    """The saved settings over the file that the gateway loaded."""
    store = SettingsStore(parts.redis, parts.ring, parts.config.redis.key_prefix)
    copy = SettingsCopy(parts.config.redis.data_dir)
    return SettingsEditor(parts.source, store, copy, lambda: parts.now().timestamp())


def tab_of(request: ConsoleRequest, parts: ConsoleParts) -> str:
    """The provider whose settings are shown: the one that is asked for, or the first."""
    known = providers_in(parts.source.data)
    asked = request.query.one("provider") or request.form.one("provider")
    return asked if asked in known else known[0] if known else ""


def frame(editor: SettingsEditor, state: SettingsState, parts: ConsoleParts, tab: str) -> dict[str, Any]:
    """What every page about the settings shows: the rows of one tab in the page's own order, the tabs, what is pending or lost."""
    rows = {row["key"]: row for row in settings_rows(editor, state)}
    keys = [f"openid.{name}" for name in TOGGLES] + [f"{section_of(tab)}.{name}" for name in PROVIDER_KEYS if tab]
    return {
        "providers": list(providers_in(parts.source.data)), "provider": tab,
        "settings": [rows[key] for key in keys if key in rows],
        "version": editor.in_force(state).version, "revision": state.record.revision, "lost": state.lost,
        "pending": pending_row(editor, state.record),
    }  # fmt: skip


def told(meaning: Meaning) -> dict[str, Any]:
    """What settings mean, as data."""
    rows = [asdict(row) | {"providers": list(row.providers)} for row in meaning.rows]
    return {"sentences": list(meaning.sentences), "warnings": list(meaning.warnings), "toggles": rows}


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    editor = editor_of(parts)
    state = await editor.read()
    data = frame(editor, state, parts, tab_of(request, parts))
    try:
        meaning = told(meaning_in_force(editor, state))
    except ConfigInvalid as error:
        meaning = {"sentences": [], "warnings": [str(problem) for problem in error.problems], "toggles": []}
    return View(data=data | meaning | {"may_edit": request.roles["settings"]})


async def _history(request: ConsoleRequest, parts: ConsoleParts) -> View:
    editor = editor_of(parts)
    state = await editor.read()
    facts = {"version": editor.in_force(state).version, "may_edit": request.roles["settings"]}
    return View(data=facts | {"versions": history_rows(editor, state.record)})


async def _configuration(request: ConsoleRequest, parts: ConsoleParts) -> View:
    editor = editor_of(parts)
    saved = editor.in_force(await editor.read())
    rows = listing(parts.source, saved, judged(parts.source, saved).config)
    return View(data={"values": [asdict(row) for row in rows]})


PAGES: Final = (
    Page(path=SETTINGS, title="Settings", template="settings.html", show=_show, menu="Settings"),
    Page(
        path=f"{SETTINGS}/history", title="History of the settings", template="settings_history.html", show=_history,
        section=SETTINGS,
    ),
    Page(
        path=f"{SETTINGS}/configuration", title="The whole configuration", template="settings_configuration.html",
        show=_configuration, section=SETTINGS,
    ),
)  # fmt: skip
