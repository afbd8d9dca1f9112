"""What placeholders may name, and the texts that the directory's settings fill in: `Ana {claims.family_name|name}`.

In such a text a placeholder names a fact, or several with `|` between them: the first that is known counts. `:dquote` and `:squote` escape
a value for the inside of a text in double or single quotes, as query languages need. `{{` and `}}` are braces. `parse` is the one parser,
for the checks and for the directory. Templates of `headers` and `hand_off` have no alternatives and no quoting; `values.parse_template` and
`sections.hand_off` parse them. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Quoting = Literal["", "dquote", "squote"]

#: What every template may name: one text each about a person.
PERSON: Final = ("email", "name", "subject", "user", "preferred_username", "issuer")
#: In `headers` of an app; `identity.headers` fills them in.
IN_HEADERS: Final = (*PERSON, "groups", "directory.NAME")
#: In an app's `hand_off`.
IN_HAND_OFF: Final = (*PERSON, "token", "return_to", "directory.NAME")
#: In the provider's `log_out_url`.
IN_LOG_OUT_URL: Final = ("id_token_hint", "client_id", "return_to")
#: In the `directory` section.
IN_DIRECTORY: Final = (*PERSON, "email_local", "groups", "link", "claims.NAME")

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAMES = re.compile(r"[A-Za-z0-9_.:/-]+(?:\|[A-Za-z0-9_.:/-]+)*")
_OPEN = re.compile(r"(?:claims|fields)\.[A-Za-z0-9_.:/-]+")
_LONGEST: Final = 4000


def listed(names: Iterable[str]) -> str:
    """The names as an operator writes them: `{email} {name}`."""
    return " ".join(f"{{{name}}}" for name in names)


_ALLOWED: Final = f"allowed: a text with the placeholders {listed(IN_DIRECTORY)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """`names` are tried in order."""

    names: tuple[str, ...]
    quoting: Quoting = ""


Piece = str | Placeholder


def parse(text: str, more: tuple[str, ...] = ()) -> tuple[Piece, ...]:
    """The pieces of a text. `more`: placeholders that this key allows besides IN_DIRECTORY. Raises ValueError."""
    allowed = f"{_ALLOWED} {listed(more)}" if more else _ALLOWED
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
    """The names in all placeholders of a text. Raises ValueError."""
    return {name for piece in parse(text, more) if isinstance(piece, Placeholder) for name in piece.names}


def _placeholder(inside: str, more: tuple[str, ...], allowed: str) -> Placeholder:
    names, _, suffix = inside.rpartition(":")
    if suffix not in ("dquote", "squote") or not names:
        names, suffix = inside, ""
    if not _NAMES.fullmatch(names):
        raise ValueError(f"has a placeholder that cannot be read; {allowed}")
    known = {*IN_DIRECTORY, *more}
    for name in names.split("|"):
        if name not in known and not _OPEN.fullmatch(name):
            raise ValueError(f"has an unknown placeholder; {allowed}")
    quoting: Quoting = "dquote" if suffix == "dquote" else "squote" if suffix == "squote" else ""
    return Placeholder(names=tuple(names.split("|")), quoting=quoting)
