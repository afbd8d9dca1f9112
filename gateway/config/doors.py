"""The `password_routes` of an app: rule packs by name, and rules written out."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from gateway.config import values
from gateway.config.fields import Route, Section


def _kind_of_entry(value: Any) -> str:
    return "pack" if isinstance(value, str) else "rule"


class PasswordWhen(Section):
    """All that are given must hold: field name -> the value that is a password request, `*`: any but an empty one."""

    form: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, str] = Field(default_factory=dict, alias="json")
    query: dict[str, str] = Field(default_factory=dict)
    header: dict[str, str] = Field(default_factory=dict)


class PasswordKnown(Section):
    """Field name -> the values that are no password request; any other value, and none at all, is refused."""

    form: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class PasswordRule(Section):
    match: Route
    when: PasswordWhen | None = None
    known: PasswordKnown = PasswordKnown()
    kind: Literal["password", "account", "passwordless", "enumeration"] = "password"
    answer: Literal["sign_in", "refuse"] = "refuse"
    reason: str = ""
    source: str = ""


PasswordEntry = Annotated[
    Annotated[str, AfterValidator(values.parse_pack_name), Tag("pack")] | Annotated[PasswordRule, Tag("rule")],
    Discriminator(_kind_of_entry),
]
