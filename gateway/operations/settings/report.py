"""What is in force and what was before, as rows for people and programs: plain JSON, secrets masked."""

from datetime import UTC, datetime
from typing import Any

from gateway.config.loader import judged
from gateway.config.overlay import fixed_by, keys_for, set_aside
from gateway.config.reading.problems import with_parents
from gateway.operations.settings.editor import SettingsEditor, SettingsState
from gateway.operations.settings.meaning import Meaning, changes, label, meaning_of, shown
from gateway.operations.settings.proposal import current
from gateway.saved_settings.record import SettingsRecord, SettingsVersion


def settings_rows(editor: SettingsEditor, state: SettingsState) -> list[dict[str, Any]]:
    """Each setting: `key`, `label`, `value`, `source`, and `fixed`: the environment variable that sets it, or None."""
    saved = editor.in_force(state)
    aside = set_aside(editor.source, saved)
    rows = []
    for key in keys_for(editor.source.data):
        fixed = fixed_by(editor.source, key)
        counts = key in saved.values and key not in aside
        source = fixed or (saved.source if counts else _place(editor, key))
        value = shown(key, current(editor.source, saved, key))
        rows.append({"key": key, "label": label(key), "value": value, "source": source, "fixed": fixed})
    return rows


def meaning_in_force(editor: SettingsEditor, state: SettingsState) -> Meaning:
    """What the settings in force mean. Raises ConfigInvalid where they do not fit the file."""
    return meaning_of(judged(editor.source, editor.in_force(state)).config)


def history_rows(editor: SettingsEditor, record: SettingsRecord) -> list[dict[str, Any]]:
    """Each version, the newest first: `version`, `at`, `by`, `state`, `reason`, and `changes` against the one before."""
    return [version_row(editor, record, version) for version in reversed(record.versions)]


def version_row(editor: SettingsEditor, record: SettingsRecord, version: SettingsVersion) -> dict[str, Any]:
    """One row of the history."""
    found = changes(record.before(version), version.settings, editor.file_values())
    return {
        "version": version.number, "at": moment(version.at), "by": version.by, "state": editor.state_of(record, version),
        "reason": version.reason,
        "changes": [{"key": each.key, "label": each.label, "before": each.before, "after": each.after} for each in found],
    }  # fmt: skip


def pending_row(editor: SettingsEditor, record: SettingsRecord) -> dict[str, Any] | None:
    """The version that waits to be confirmed, with `confirm_by`; None where none does."""
    pending = editor.pending(record)
    if pending is None or pending.confirm_by is None:
        return None
    return version_row(editor, record, pending) | {"confirm_by": moment(pending.confirm_by)}


def moment(seconds: float) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _place(editor: SettingsEditor, key: str) -> str:
    line = next((editor.source.lines[place] for place in with_parents(key) if place in editor.source.lines), None)
    return f"the file, line {line}" if key in editor.source.lines and line is not None else "default"
