"""The identity header lines of a person, and which fields are ours alone.

The invariant: no claim adds a header, splits one or forges a group. Every value is UTF-8; bytes other than printable ASCII,
`%`, blanks at the ends, and in groups the comma are percent-encoded. Lines that are too long together are left out by a fixed order, each
as a whole: a part of a list would look like all of it. Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

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
#: Which lines are left out first where all are too long; those without a place always travel.
_GROUPS, _NAME, _PREFERRED_USERNAME, _OWN = range(4)
OMITTED: Final = "X-Doorward-Omitted"


def normalise_name(name: bytes) -> bytes:
    """A field name as a CGI-like upstream compares it: in lower case, everything but letters and digits a hyphen."""
    return name.translate(_ALIKE).lower()


def is_identity_name(name: bytes, extra_normalised: frozenset[bytes] = frozenset()) -> bool:
    """Whether Doorward alone sends this field. `extra_normalised`: the names in `headers` of the apps, through `normalise_name`."""
    # SECURITY: X_Forwarded_User, X.Forwarded.User and X-Forwarded-User are one variable to WSGI, CGI and Rack (C-30).
    alike = normalise_name(name)
    return alike in _OURS or alike in extra_normalised or alike.startswith(_OUR_PREFIXES)


class _Field(NamedTuple):
    """`place`: a number of those above; None: never left out."""

    name: str
    fact: _Fact
    place: int | None


class IdentityHeaders:
    """The header lines of one app. `extra`: field name to template, as `{"X-Customer": "{directory.id}"}`; `names` as `header_names` of an app;
    `limit`: bytes of all lines together.

    Raises ValueError for an invalid name, an unknown placeholder, and a text that is not printable ASCII (C-33).
    """

    def __init__(self, extra: Mapping[str, str], names: HeaderNames = "doorward", limit: int = 4096) -> None:
        self._limit = limit
        self._fields = [
            _Field(name, fact, _PLACES.get(fact)) for style, name, fact in _NAMED if names in (style, "both")
        ]
        for name, template in extra.items():
            if not _FIELD_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no field name")
            self._fields.append(_Field(name, _compiled(template), _GROUPS if "{groups}" in template else _OWN))

    def render(self, identity: Identity) -> bytes:
        """The lines, each with its CRLF; a value that is missing gives no line (C-31). Raises ValueError for more than one line.

        Beyond the limit, lines are left out whole: those with groups, then name, preferred username and the app's own ones; never user and
        address. OMITTED names what is left out.
        """
        raw = "".join([
            f"{field.name}: {value}\r\n" for field in self._fields if (value := field.fact(identity)) and _is_one_line(value)
        ])  # fmt: skip
        return (raw if len(raw) <= self._limit else self._shortened(raw)).encode("ascii")

    def _shortened(self, raw: str) -> str:
        lines = dict(line.split(": ", 1) for line in raw.split("\r\n")[:-1])
        omitted: list[str] = []
        for field in sorted(
            (field for field in self._fields if field.place is not None), key=lambda field: field.place or 0
        ):
            if len(raw) > self._limit and lines.pop(field.name, None) is not None:
                omitted.append(field.name)
                raw = "".join(f"{name}: {value}\r\n" for name, value in {**lines, OMITTED: ", ".join(omitted)}.items())
        return raw


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
_PLACES: Final[Mapping[_Fact, int]] = {_groups: _GROUPS, _name: _NAME, _preferred_username: _PREFERRED_USERNAME}


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
