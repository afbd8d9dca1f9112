"""A change of settings, judged over the file before anything is sent or written. Pure.

The invariant: a proposal has a secret only for the authority and the client that it was entered for. Authority URL, Client ID and Client
Secret of a provider are saved together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.config.loader import ConfigInvalid, Loaded, Resolved, judged
from gateway.config.overlay import CLIENT, SavedSettings, SavedValue, fixed_by, keys_for, overlaid, value_at
from gateway.config.schema import Config

_DEFAULTS: Final = {"openid.enabled": True}
_SECRET: Final = "client_secret"  # noqa: S105 - a key's name


class SettingsRefused(ValueError):
    """The settings cannot be saved. `problems` has each reason, as `key: what is wrong; what is allowed`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsProposal:
    """Settings that fit the file. `values` are all that would be saved, `changed` the keys that would get another value.

    `clients` are the names of the providers whose authority, client or secret changes.
    """

    values: Mapping[str, SavedValue] = field(repr=False)
    changed: tuple[str, ...]
    clients: tuple[str, ...]
    config: Config = field(repr=False)


def current(source: Resolved, saved: SavedSettings, key: str) -> Any:
    """The value of a key with what is saved; None where neither the file nor the settings give it one."""
    value = value_at(overlaid(source, saved).data, key)
    return _DEFAULTS.get(key, False if _is_toggle(key) else None) if value is None else value


def propose(source: Resolved, saved: SavedSettings, given: Mapping[str, SavedValue]) -> SettingsProposal:
    """What saving `given` would make of the settings. An empty secret is one that was not entered. Raises SettingsRefused."""
    wanted = {key: _cleaned(value) for key, value in given.items() if not (key.endswith(_SECRET) and not value)}
    known = keys_for(source.data)
    unknown = [f"{key}: is no setting; allowed: {', '.join(known)}" for key in wanted if key not in known]
    if unknown:
        raise SettingsRefused(unknown)
    changed = {key: value for key, value in wanted.items() if value != current(source, saved, key)}
    _refuse_fixed(source, changed)
    clients = _with_clients(source, saved, wanted, changed)
    values = {**saved.values, **changed}
    loaded = _judged(source, SavedSettings(values, saved.version + 1))
    return SettingsProposal(
        values=values, changed=tuple(key for key in wanted if key in changed), clients=clients, config=loaded.config
    )


def _cleaned(value: SavedValue) -> SavedValue:
    text = value.strip() if isinstance(value, str) else value
    return None if text == "" else text


def _refuse_fixed(source: Resolved, changed: Mapping[str, SavedValue]) -> None:
    fixed = {key: variable for key in changed if (variable := fixed_by(source, key)) is not None}
    if fixed:
        raise SettingsRefused([f"{key}: is set by {variable} in the environment" for key, variable in fixed.items()])


def _with_clients(
    source: Resolved, saved: SavedSettings, wanted: Mapping[str, SavedValue], changed: dict[str, SavedValue]
) -> tuple[str, ...]:
    """Complete the three keys of each provider that changes one of them; the providers' names. Raises SettingsRefused."""
    sections = dict.fromkeys(key.rpartition(".")[0] for key in changed if key.rpartition(".")[2] in CLIENT)
    for section in sections:
        keys = {name: f"{section}.{name}" for name in CLIENT}
        moved = keys["authority_url"] in changed or keys["client_id"] in changed
        secret = wanted.get(keys[_SECRET])
        # SECURITY: the stored secret was entered for another authority or client, and must never be sent to this one (C-95).
        if moved and secret is None and _needs_secret(source, saved, section):
            raise SettingsRefused(
                [f"{keys[_SECRET]}: enter it again, because the Authority URL or the Client ID is another one"]
            )
        _refuse_fixed(source, dict.fromkeys(keys.values()))  # the three count together
        for name, key in keys.items():
            changed[key] = secret if name == _SECRET else changed.get(key, current(source, saved, key))
    return tuple(section.rpartition(".")[2] for section in sections)


def _needs_secret(source: Resolved, saved: SavedSettings, section: str) -> bool:
    method = current(source, saved, f"{section}.client_authentication")
    return method is None or str(method).startswith("client_secret")


def _is_toggle(key: str) -> bool:
    return key.startswith("openid.") and key.rpartition(".")[2] in (
        "create_users",
        "prevent_password_login",
        "prevent_dashboard_password_login",
    )


def _judged(source: Resolved, saved: SavedSettings) -> Loaded:
    """Raises SettingsRefused with every problem, as `check` prints it."""
    try:
        return judged(source, saved)
    except ConfigInvalid as error:
        raise SettingsRefused([str(problem) for problem in error.problems]) from error
