"""Texts with placeholders, as the directory's settings use them: `Ana {claims.family_name|name}`.

Pure. `parse` is the only reader of the form, for `doorward check` and for whoever fills it in. A placeholder names a fact, or several
with `|` between them: the first that is known counts. `:dquote` and `:squote` write a value for the inside of a text in double or
single quotes, as query languages have them. `{{` and `}}` are braces.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

Quoting = Literal["", "dquote", "squote"]

PERSON: Final = (
    "email",
    "email_local",
    "name",
    "subject",
    "issuer",
    "user",
    "preferred_username",
    "groups",
    "link",
    "claims.NAME",
)
_ALLOWED: Final = f"allowed: a text with the placeholders {' '.join(f'{{{name}}}' for name in PERSON)}"
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAMES = re.compile(r"[A-Za-z0-9_.:/-]+(?:\|[A-Za-z0-9_.:/-]+)*")
_OPEN = re.compile(r"(?:claims|fields)\.[A-Za-z0-9_.:/-]+")
_LONGEST: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """`names` are tried in order."""

    names: tuple[str, ...]
    quoting: Quoting = ""


Piece = str | Placeholder


def parse(text: str, more: tuple[str, ...] = ()) -> tuple[Piece, ...]:
    """The pieces of a text. `more`: placeholders of this place besides those of a person. Raises ValueError."""
    extra = f" {' '.join(f'{{{name}}}' for name in more)}" if more else ""
    allowed = _ALLOWED + extra
    if len(text) > _LONGEST or not text.isprintable():
        raise ValueError(f"is too long or holds invisible characters; {allowed}")
    pieces: list[Piece] = []
    for match in _PIECE.finditer(text):
        found = match[0]
        if found in ("{{", "}}"):
            pieces.append(found[0])
        elif match[1] is not None:
            pieces.append(_placeholder(match[1], more, allowed))
        elif found in ("{", "}"):
            raise ValueError(f"has a brace that belongs to no placeholder; {allowed}, and {{{{ for a brace")
        else:
            pieces.append(found)
    return tuple(pieces)


def names_in(text: str, more: tuple[str, ...] = ()) -> set[str]:
    """What a text's placeholders name."""
    return {name for piece in parse(text, more) if isinstance(piece, Placeholder) for name in piece.names}


def _placeholder(inside: str, more: tuple[str, ...], allowed: str) -> Placeholder:
    names, _, suffix = inside.rpartition(":")
    if suffix not in ("dquote", "squote") or not names:
        names, suffix = inside, ""
    if not _NAMES.fullmatch(names):
        raise ValueError(f"has a placeholder that cannot be read; {allowed}")
    known = {*PERSON, *more}
    for name in names.split("|"):
        if name not in known and not _OPEN.fullmatch(name):
            raise ValueError(f"has an unknown placeholder; {allowed}")
    quoting: Quoting = "dquote" if suffix == "dquote" else "squote" if suffix == "squote" else ""
    return Placeholder(names=tuple(names.split("|")), quoting=quoting)
