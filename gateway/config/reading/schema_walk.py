"""Walks the models of `schema`: which key stands where, what it takes, which keys exist. Pure."""

import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import SecretStr

from gateway.config.schema import Config, PackFile, Section

ROOT: Any = Config


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a value may have: unions and Annotated taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from alternatives(member)
    else:
        yield annotation


def chosen(annotation: Any, kind: object) -> Any:
    """Of sections that are chosen by `kind`, the one of this kind; anything else as it is."""
    for section in alternatives(annotation):
        field = getattr(section, "model_fields", {}).get("kind")
        if field is not None and kind in get_args(field.annotation):
            return section
    return annotation


def keys_of(annotation: Any) -> dict[str, Any]:
    """The keys of a section that an operator writes, in YAML's spelling, with what each takes; empty for what is no section."""
    return {
        field.alias or name: field.annotation
        for kind in alternatives(annotation)
        if isinstance(kind, type) and issubclass(kind, Section) and kind is not PackFile
        for name, field in kind.model_fields.items()
    }


def named(annotation: Any) -> Any:
    """What stands below a mapping with free names, as `apps`; None for anything else."""
    return next((get_args(kind)[1] for kind in alternatives(annotation) if get_origin(kind) is dict), None)


def listed(annotation: Any) -> Any:
    """What a list's entries are; None for anything else."""
    return next((get_args(kind)[0] for kind in alternatives(annotation) if get_origin(kind) is tuple), None)


def below(annotation: Any, part: str | int) -> Any:
    """What stands at `part` of such a value; None when there is no such place."""
    if isinstance(part, int):
        return listed(annotation)
    keys = keys_of(annotation)
    if part in keys:
        return keys[part]
    if part in PackFile.model_fields and takes(annotation, PackFile):
        return PackFile.model_fields[part].annotation
    entry = listed(annotation)  # a lone rule where a list may stand
    return named(annotation) if entry is None else keys_of(entry).get(part)


def at(path: Sequence[str | int]) -> Any:
    """What stands at a path of the whole configuration; None when there is no such place."""
    annotation = ROOT
    for part in path:
        annotation = below(annotation, part)
        if annotation is None:
            return None
    return annotation


def takes(annotation: Any, kind: Any) -> bool:
    """Whether a value may be of this type."""
    return kind in alternatives(annotation)


def holds_secrets(annotation: Any) -> bool:
    """Whether a value of this kind is a secret, or may have one in it."""
    inside = (listed(annotation), named(annotation), *keys_of(annotation).values())
    return takes(annotation, SecretStr) or any(holds_secrets(inner) for inner in inside if inner is not None)


def takes_text(annotation: Any) -> bool:
    """Whether a value may be a text, a secret or a path."""
    return any(takes(annotation, kind) for kind in (str, SecretStr, Path))


def every_key(annotation: Any = ROOT, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All paths of keys; `*` stands for a free name, `[]` for a list's entry."""
    for name, inner in keys_of(annotation).items():
        path = (*above, name)
        yield path
        yield from _inside(inner, path)


def _inside(annotation: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield from every_key(annotation, path)
    for inner, sign in ((named(annotation), "*"), (listed(annotation), "[]")):
        if inner is not None:
            yield from _inside(inner, (*path, sign))
