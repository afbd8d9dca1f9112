"""The identity header lines of a person, and which fields are ours alone.

The invariant: no claim adds a header, splits one or forges a group. Every value is UTF-8; bytes other than printable ASCII,
`%`, blanks at the ends, and in groups the comma are percent-encoded. Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from gateway.config.field_names import IDENTITY_FIELDS, OUR_PREFIXES
from gateway.config.placeholders import IN_HEADERS, listed
from gateway.config.sections.app import HeaderNames
from gateway.identity.claims import Identity

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OURS: Final = frozenset(name.encode() for name in IDENTITY_FIELDS)
_OUR_PREFIXES: Final = tuple(prefix.encode() for prefix in OUR_PREFIXES)
_ALIKE: Final = bytes(byte if chr(byte).isascii() and chr(byte).isalnum() else 0x2D for byte in range(256))

#: The encoded value of one placeholder; None: the person has none.
_Fact = Callable[[Identity], str | None]


def normalise_name(name: bytes) -> bytes:
    """A field name as a CGI-like upstream compares it: in lower case, everything but letters and digits a hyphen."""
    return name.translate(_ALIKE).lower()


def is_identity_name(name: bytes, extra_normalised: frozenset[bytes] = frozenset()) -> bool:
    """Whether Doorward alone sends this field. `extra_normalised`: the names in `headers` of the apps, through `normalise_name`."""
    # SECURITY: X_Forwarded_User, X.Forwarded.User and X-Forwarded-User are one variable to WSGI, CGI and Rack (C-30).
    alike = normalise_name(name)
    return alike in _OURS or alike in extra_normalised or alike.startswith(_OUR_PREFIXES)


class IdentityHeaders:
    """The header lines of one app. `extra`: field name to template, as `{"X-Customer": "{directory.id}"}`; `names` as `header_names` of an app.

    Raises ValueError for an invalid name, an unknown placeholder, and a text that is not printable ASCII (C-33).
    """

    def __init__(self, extra: Mapping[str, str], names: HeaderNames = "doorward") -> None:
        self._lines: list[tuple[str, _Fact]] = [
            (f"{name}: ", fact) for style, name, fact in _NAMED if names in (style, "both")
        ]
        for name, template in extra.items():
            if not _FIELD_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no field name")
            self._lines.append((f"{name}: ", _compiled(template)))

    def render(self, identity: Identity) -> bytes:
        """The lines, each with its CRLF; a value that is missing gives no line (C-31). Raises ValueError for more than one line."""
        return "".join([
            f"{start}{value}\r\n" for start, fact in self._lines if (value := fact(identity)) and _is_one_line(value)
        ]).encode("ascii")  # fmt: skip


def _is_one_line(value: str) -> bool:
    # SECURITY: a last check before the wire: each value is one field on one line (C-33).
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header would hold more than printable ASCII")
    return True


def _user(person: Identity) -> str | None:
    return _encode(person.user or person.subject)


def _subject(person: Identity) -> str | None:
    return _encode(person.subject)


def _issuer(person: Identity) -> str | None:
    return _encode(person.issuer)


def _email(person: Identity) -> str | None:
    return _encode(person.vouched_email)


def _name(person: Identity) -> str | None:
    return _encode(person.name)


def _preferred_username(person: Identity) -> str | None:
    return _encode(person.preferred_username)


def _groups(person: Identity) -> str | None:
    return ",".join([encoded for group in person.groups if (encoded := _encode(group, ","))]) or None


_NAMED: Final[Sequence[tuple[HeaderNames, str, _Fact]]] = (
    ("doorward", "X-Forwarded-User", _user),
    ("doorward", "X-Forwarded-Email", _email),
    ("doorward", "X-Forwarded-Groups", _groups),
    ("doorward", "X-Forwarded-Preferred-Username", _preferred_username),
    ("doorward", "X-Forwarded-Name", _name),
    ("oauth2-proxy", "X-Auth-Request-User", _user),
    ("oauth2-proxy", "X-Auth-Request-Email", _email),
    ("oauth2-proxy", "X-Auth-Request-Groups", _groups),
    ("oauth2-proxy", "X-Auth-Request-Preferred-Username", _preferred_username),
)


def _directory_fact(name: str, person: Identity) -> str | None:
    return _encode(person.directory.get(name))


_FACTS: Final[Mapping[str, _Fact]] = {
    "user": _user,
    "subject": _subject,
    "issuer": _issuer,
    "email": _email,
    "name": _name,
    "preferred_username": _preferred_username,
    "groups": _groups,
}


def _compiled(template: str) -> _Fact:
    """Raises ValueError."""
    texts = _PLACEHOLDER.split(template)  # literal, name, literal, name, ... literal
    facts = [_fact(name) for name in texts[1::2]]
    literals = texts[::2]
    if not all(text.isascii() and text.isprintable() for text in literals):
        raise ValueError("a header's template holds more than printable ASCII")

    def fill(person: Identity) -> str | None:
        filled = literals[0]
        for fact, literal in zip(facts, literals[1:], strict=True):
            value = fact(person)
            if value is None:
                return None
            filled += value + literal
        return filled

    return fill


def _fact(name: str) -> _Fact:
    """Raises ValueError."""
    fact = _FACTS.get(name)
    if fact is None:
        kind, _, fact_name = name.partition(".")
        if kind != "directory":
            raise ValueError(f"unknown placeholder {{{name}}}; allowed: {listed(IN_HEADERS)}")
        fact = partial(_directory_fact, fact_name)
    return fact


def _encode(value: str | None, also: str = "%") -> str | None:
    if not value:
        return None
    if value.isascii() and value.isprintable() and "%" not in value and also not in value and value == value.strip(" "):
        return value
    raw = value.encode("utf-8", "surrogatepass")
    last = len(raw) - 1
    return "".join(
        chr(byte)
        if (0x21 <= byte <= 0x7E and chr(byte) not in ("%", also)) or (byte == 0x20 and 0 < index < last)
        else f"%{byte:02X}"
        for index, byte in enumerate(raw)
    )
