"""The person who signed in, as the directory needs them: identity, claims and app; and the placeholders of the configuration.

Pure. Texts with placeholders are filled in here, and here only. A claim counts where it is a plain value: a text of one bounded
line, a number, true or false, or a list of such texts. A claim of any other form counts as missing.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.config import schema
from gateway.config.placeholders import Placeholder, parse
from gateway.identity.claims import Identity

Known = Callable[[str], Any]

_LONGEST: Final = 512
_MOST: Final = 1000
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """`claims` are all claims from the provider, `app` is the app of the sign-in."""

    identity: Identity
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    app: str = ""

    @property
    def email(self) -> str | None:
        """The verified address: no other one finds, creates or fills an account."""
        return self.identity.vouched_email

    @property
    def link(self) -> str:
        """Issuer and subject in one text; empty without a subject."""
        return link_of(self.identity)

    def known(self, name: str) -> Any:
        """The value of a placeholder; None: there is none."""
        if name.startswith("claims."):
            return plain(_claim(self.claims, name.removeprefix("claims.")))
        values: dict[str, Any] = self.identity.facts() | {
            "email_local": (self.email or "").rpartition("@")[0],
            "groups": list(self.identity.groups),
            "link": self.link,
        }
        return values.get(name) or None


def link_of(identity: Identity) -> str:
    """Issuer and subject in one text, as directories store it; empty without a subject. An issuer is a URL and has no `|` in it."""
    if not identity.subject:
        return ""
    return f"{identity.issuer}|{identity.subject}"


def known_of(link: str, person: Person | None) -> Known:
    """The values of placeholders about the person with this link; claims only where `person` is given."""
    issuer, _, subject = link.partition("|")
    values = {"link": link, "issuer": issuer, "subject": subject}

    def known(name: str) -> Any:
        return values.get(name) or (None if person is None else person.known(name))

    return known


def filled_link(template: str, known: Known) -> str | None:
    """The value of a person's link field. None: a part of it is missing, or the text is empty."""
    value = fill(template, known)
    text = "" if value is None else as_text(value)
    # SECURITY: an empty text is in every account without a person, and would match all of them.
    return text if text.strip() and "\0" not in text else None


def is_link(text: str | None) -> bool:
    """Whether a value is a link of this form, and not an id of another provisioner."""
    return text is not None and text.startswith(("https://", "http://")) and "|" in text


def plain(value: Any) -> Any:
    """The value where it is a plain one; None otherwise."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        # SECURITY: line breaks, NUL and megabytes of a claim end here, before any record or request.
        return value if 0 < len(value) <= _LONGEST and not _UNPRINTABLE.search(value) else None
    if isinstance(value, list) and 0 < len(value) <= _MOST:
        texts = [plain(entry) for entry in value]
        return texts if all(isinstance(text, str) for text in texts) else None
    return None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this name; where there is none, dots lead into objects."""
    if name in claims:
        return claims[name]
    first, dot, rest = name.partition(".")
    inner = claims.get(first)
    return _claim(inner, rest) if dot and isinstance(inner, Mapping) else None


def fill(text: str, known: Known, more: tuple[str, ...] = ()) -> Any:
    """A text filled in; None when a value is missing. A text that is one placeholder keeps its value's type."""
    pieces = parse(text, more)
    if len(pieces) == 1 and isinstance(pieces[0], Placeholder) and not pieces[0].quoting:
        return _value(pieces[0], known)
    written = [piece if isinstance(piece, str) else _written(piece, known) for piece in pieces]
    return None if None in written else "".join(piece for piece in written if piece is not None)


def _value(placeholder: Placeholder, known: Known) -> Any:
    return next((value for name in placeholder.names if (value := known(name)) is not None), None)


def _written(placeholder: Placeholder, known: Known) -> str | None:
    value = _value(placeholder, known)
    if value is None:
        return None
    text = as_text(value)
    if placeholder.quoting == "dquote":
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("'", "''") if placeholder.quoting == "squote" else text


def as_text(value: Any) -> str:
    """A plain value inside a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)


def applies(entry: schema.Default, person: Person) -> bool:
    """Whether an entry of `directory.defaults` is for this person."""
    domain = (person.email or "").rpartition("@")[2].lower()
    return (
        (not entry.groups or not set(entry.groups).isdisjoint(person.identity.groups))
        and (not entry.email_domains or domain in {name.lower() for name in entry.email_domains})
        and (not entry.apps or person.app in entry.apps)
    )


def own_fields(fields: Mapping[str, Any], person: Person) -> dict[str, Any]:
    """The fields whose placeholders all have values, filled in."""
    filled = {name: fill(value, person.known) if isinstance(value, str) else value for name, value in fields.items()}
    return {name: value for name, value in filled.items() if value is not None}


def all_fields(config: schema.RemoteDirectory, person: Person) -> dict[str, Any]:
    """The fields of a new account: those of the claims, then the defaults; the first that applies goes before the others."""
    found = own_fields(config.fields, person)
    entries: Iterable[schema.Default] = config.defaults
    for entry in entries:
        if applies(entry, person):
            found = own_fields(entry.fields, person) | found
    return found
