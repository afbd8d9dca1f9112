"""Saved settings over the file: which keys may be saved, and the file's data with the saved values in it.

A value is put in as if the file had it, and judged with all the rest. A key that the environment sets stays as it is. Authority URL, Client
ID and Client Secret of a provider are one value: all three are put in, or none. Pure.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.config.reading.problems import is_below, with_parents
from gateway.config.reading.sources import Resolved
from gateway.config.sections.openid import DEFAULT_PROVIDER

SavedValue = str | bool | None

#: Keys of `openid`; they apply to every provider.
TOGGLES: Final = (
    "enabled", "create_users", "prevent_password_login", "prevent_dashboard_password_login", "unregistered_when_sso_only",
)  # fmt: skip
#: Keys of each provider.
CLIENT: Final = ("authority_url", "client_id", "client_secret")
PROVIDER_KEYS: Final = ("log_out_url", *CLIENT)


@dataclass(frozen=True, slots=True)
class SavedSettings:
    """The values that were saved, by key, as `openid.create_users` or `providers.google.client_id`. `version` names them; 0: none."""

    values: Mapping[str, SavedValue] = field(default_factory=dict, repr=False)
    version: int = 0

    @property
    def source(self) -> str:
        """Where a value comes from, for people."""
        return f"the saved settings, version {self.version}"


NOTHING_SAVED: Final = SavedSettings()


def section_of(provider: str) -> str:
    """The section that holds a provider's keys, as `openid` or `providers.google`."""
    return provider if provider == DEFAULT_PROVIDER else f"providers.{provider}"


def providers_in(data: Any) -> tuple[str, ...]:
    """The providers of the file's data, in its order."""
    openid, named = _section(data, DEFAULT_PROVIDER), _section(data, "providers")
    alone = not named or any(openid.get(key) for key in CLIENT)
    return ((DEFAULT_PROVIDER,) if alone else ()) + tuple(name for name in named if isinstance(name, str))


def keys_for(data: Any) -> tuple[str, ...]:
    """Every key that may be saved over this data."""
    toggles = tuple(f"{DEFAULT_PROVIDER}.{key}" for key in TOGGLES)
    return toggles + tuple(f"{section_of(name)}.{key}" for name in providers_in(data) for key in PROVIDER_KEYS)


def fixed_by(source: Resolved, key: str) -> str | None:
    """The environment variable that sets a key, so that nothing that is saved changes it; None: none does."""
    for place in with_parents(key):
        if place in source.origins:
            return source.origins[place]
    return next((variable for place, variable in source.origins.items() if is_below(place, key)), None)


def set_aside(source: Resolved, saved: SavedSettings) -> dict[str, str]:
    """The saved keys that do not count over this source, with the reason."""
    known, found = keys_for(source.data), {}
    for key in saved.values:
        if key not in known:
            found[key] = "the file has no such provider"
        elif variable := fixed_by(source, key):
            found[key] = f"{variable} sets it"
    for section in {key.rpartition(".")[0] for key in saved.values}:
        # SECURITY: a secret belongs to the authority and the client that it was entered for: where the environment sets
        # one of the three, the saved ones would be mixed with it, and a secret sent to another authority (C-95).
        client = [f"{section}.{key}" for key in CLIENT]
        reason = next((found[key] for key in client if key in found), None)
        if reason is not None:
            found.update({key: reason for key in client if key in saved.values and key not in found})
    return found


def overlaid(source: Resolved, saved: SavedSettings) -> Resolved:
    """The source with the saved values in it. They come from outside the file, so that no problem shows a secret."""
    aside = set_aside(source, saved)
    values = {key: value for key, value in saved.values.items() if key not in aside}
    if not values or not isinstance(source.data, dict):
        return source
    data = copy.deepcopy(source.data)
    for key, value in values.items():
        _put(data, key.split("."), value)
    return dataclasses.replace(
        source,
        data=data,
        lines={place: line for place, line in source.lines.items() if place not in values},
        origins={**source.origins, **dict.fromkeys(values, saved.source)},
        hidden=source.hidden | {key for key in values if key.endswith("client_secret")},
        broken=source.broken - values.keys(),
        problems=tuple(problem for problem in source.problems if problem.key not in values),
    )


def value_at(data: Any, key: str) -> Any:
    """The value of a key in plain data; None where there is none."""
    for part in key.split("."):
        if not isinstance(data, dict):
            return None
        data = data.get(part)
    return data


def client_keys(section: str) -> Iterator[str]:
    """The keys of a section that are saved together."""
    return (f"{section}.{key}" for key in CLIENT)


def _section(data: Any, name: str) -> dict[Any, Any]:
    section = data.get(name) if isinstance(data, dict) else None
    return section if isinstance(section, dict) else {}


def _put(data: dict[str, Any], path: list[str], value: SavedValue) -> None:
    for part in path[:-1]:
        below = data.get(part)
        data[part] = data = below if isinstance(below, dict) else {}
    data[path[-1]] = value
