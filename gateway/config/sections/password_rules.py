"""The `password_routes` of an app: rule packs by name or by file, and rules written out."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from gateway.config import values
from gateway.config.sections.fields import Route, Section

#: What such a request is about: a password, a sign-up or another account, a sign-in without a password, whether an address is registered.
PasswordKind = Literal["password", "account", "passwordless", "enumeration"]
#: What a browser gets for the page of a closed route: the sign-in, or a refusal.
PasswordAnswer = Literal["sign_in", "refuse"]


def _kind_of_entry(value: Any) -> str:
    if isinstance(value, str):
        return "pack"
    return "pack file" if isinstance(value, PackFile) or (isinstance(value, dict) and "rules" in value) else "rule"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; allowed: a few words")
    return text


class PasswordWhen(Section):
    """Field name to the value of a password request; `*` is any value but an empty one. All fields must match."""

    form: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, str] = Field(default_factory=dict, alias="json")
    query: dict[str, str] = Field(default_factory=dict)
    header: dict[str, str] = Field(default_factory=dict)


class PasswordKnown(Section):
    """Field name to the values that are no password request; any other value, and a missing field, is refused.

    `query` applies to GET and HEAD without a body.
    """

    form: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    query: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class PasswordRule(Section):
    """Requests that take, set, reset or go around a password. `reason` is for people and logs, `source` names where the route is documented."""

    match: Route
    when: PasswordWhen | None = None
    known: PasswordKnown = PasswordKnown()
    kind: PasswordKind = "password"
    answer: PasswordAnswer = "refuse"
    reason: str = ""
    source: str = ""


class PackRule(PasswordRule):
    """A rule in a file, which must name its reason and its source."""

    reason: Annotated[str, AfterValidator(_not_blank)]
    source: Annotated[str, AfterValidator(_not_blank)]


class PackFile(Section):
    """The rules of a file. `file` is its path in the configuration; `reading.packs` makes this, and a configuration cannot contain it."""

    file: str
    rules: tuple[PackRule, ...]


PasswordEntry = Annotated[
    Annotated[str, AfterValidator(values.parse_pack_name), Tag("pack")]
    | Annotated[PackFile, Tag("pack file")]
    | Annotated[PasswordRule, Tag("rule")],
    Discriminator(_kind_of_entry),
]
