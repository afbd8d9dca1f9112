"""Every value of the configuration with where it comes from: file and line, environment, saved settings, default. Secrets are masked. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from gateway.config.loader import Resolved
from gateway.config.overlay import SavedSettings, overlaid
from gateway.config.reading.problems import is_below, shown, with_parents
from gateway.config.schema import Config
from gateway.operations.settings.meaning import MASKED

_LONGEST: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedValue:
    """`source` is `file, line 7`, `DOORWARD__…`, `the saved settings, version 3` or `default`."""

    key: str
    value: str
    source: str


def listing(source: Resolved, saved: SavedSettings, config: Config) -> list[ListedValue]:
    """All values of `config`, which `source` and `saved` give, in the order of the schema."""
    over = overlaid(source, saved)
    return [
        ListedValue(key=key, value=_text(key, value, over), source=_source(key, over))
        for key, value in _leaves((), config)
    ]


def _leaves(path: tuple[str | int, ...], value: Any) -> Iterator[tuple[str, Any]]:
    """Values without parts of their own; a list of plain values is one."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield from _leaves((*path, info.alias or name), getattr(value, name))
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves((*path, str(name)), inner)
    elif isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves((*path, index), inner)
    else:
        yield shown(path), value


def _text(key: str, value: Any, source: Resolved) -> str:
    # SECURITY: what came from the environment or from a file may be a secret in any key, and a header field may have one (C-48).
    hidden = {place for place in source.hidden if not _is_saved(place, source)}
    if (
        _is_secret(value)
        or ".headers." in key
        or not hidden.isdisjoint(with_parents(key))
        or any(is_below(place, key) for place in hidden)
    ):
        return MASKED
    if value is None:
        return "null"
    if key == "listen_mode":
        return f"{value:04o}"  # as a file writes it
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list | frozenset):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    return _plain(value)


def _is_saved(key: str, source: Resolved) -> bool:
    return not key.endswith("client_secret") and source.origins.get(key, "").startswith("the saved settings")


def _plain(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _is_secret(value: Any) -> bool:
    return isinstance(value, SecretStr) or (
        isinstance(value, tuple) and any(isinstance(each, SecretStr) for each in value)
    )


def _source(key: str, source: Resolved) -> str:
    for place in with_parents(key):
        if place in source.origins:
            return source.origins[place]
        if place in source.lines:
            file = next((name for pack, name in source.files.items() if is_below(place, pack)), "file")
            return f"{file}, line {source.lines[place]}" if place == key or _is_listed(place, source) else "default"
    return "default"


def _is_listed(place: str, source: Resolved) -> bool:
    """Whether the value stands in the file as a part of this one: a list, or a mapping whose keys have no lines."""
    return not any(is_below(other, place) for other in source.lines)
