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


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; allowed: a few words")
    return text


class PasswordWhen(Section):
    """All that are given must hold: field name -> the value that is a password request, `*`: any but an empty one."""

    form: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, str] = Field(default_factory=dict, alias="json")
    query: dict[str, str] = Field(default_factory=dict)
    header: dict[str, str] = Field(default_factory=dict)


class PasswordKnown(Section):
    """Field name -> the values that are no password request; any other value, and none at all, is refused.

    `query` holds for requests that only read and have no body.
    """

    form: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    query: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class PasswordRule(Section):
    match: Route
    when: PasswordWhen | None = None
    known: PasswordKnown = PasswordKnown()
    kind: PasswordKind = "password"
    answer: PasswordAnswer = "refuse"
    reason: str = ""
    source: str = ""


class PackRule(PasswordRule):
    """A rule in a file, which others than its author will read: it says why it is there and how that is known."""

    reason: Annotated[str, AfterValidator(_said)]
    source: Annotated[str, AfterValidator(_said)]


class PackFile(Section):
    """The rules of a file. `file` is its path as the configuration gives it; nobody writes this into a configuration."""

    file: str
    rules: tuple[PackRule, ...]


PasswordEntry = Annotated[
    Annotated[str, AfterValidator(values.parse_pack_name), Tag("pack")]
    | Annotated[PackFile, Tag("pack file")]
    | Annotated[PasswordRule, Tag("rule")],
    Discriminator(_kind_of_entry),
]
