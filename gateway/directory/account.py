"""An Account is one record of the directory; a Directory finds and creates them.

Invariant: an error is never an empty result. `find` returns None only when the directory's response was complete and had no
account; every other outcome is a `DirectoryUnavailable` with a reason. No row counts as the person's because a filter
returned it: the address, or the link, is compared here.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from gateway.directory.person import Person
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.observability.redaction import hide_addresses

Reason = Literal[
    "throttled",
    "timeout",
    "unreachable",
    "unauthorized",
    "not_json",
    "rejected",
    "incomplete",
    "no_login",
    "unsupported",
]
#: Abilities that not every API has. `link`: an account has a field for the link of its person, and is found by it. `brief`: it has that
#: field, and the account that `find` returns may be a row of a list without it.
Ability = Literal["create", "update", "suspend", "sign_in_token", "link", "list", "brief"]

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person's record. `facts` become the identity's `directory` values beside `id`, as `user_id` and
    `business_id`. `link` is the value of the directory's link field, in any form; None: the field is empty. `addresses` are
    others besides `email`; `record` is the record as the API returned it.
    """

    id: str
    email: str
    user_id: str | None = None
    active: bool = True
    link: str | None = None
    addresses: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def has(self, email: str) -> bool:
        """Whether this is one of its addresses."""
        return any(same_email(own, email) for own in (self.email, *self.addresses))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field to update, with both values as the API writes them."""

    name: str
    before: Any = field(repr=False)
    after: Any = field(repr=False)


class Directory(Protocol):
    """All methods raise `DirectoryUnavailable` without a complete response of the directory."""

    def can(self, ability: Ability) -> bool:
        """Whether the API has the ability, and the configuration allows it. Methods of other abilities raise `unsupported`."""

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        """The account of the person with this address; an inactive one only when there is no active one.

        `person`, where it is known, helps to choose among several. Raises AccountAmbiguous where several match and no rule chooses.
        """

    def link_for(self, person: Person) -> str | None:
        """The value of the link field in this person's account. None: there is no such field, or a part of the value is not known."""

    async def find_linked(self, link: str, person: Person | None = None) -> Account | None:
        """The account whose link field names this person. `link` is issuer and subject; `person`, where it is known, has the claims."""

    async def fetch(self, account_id: str) -> Account | None:
        """The account with this id; None when it is gone."""

    async def create(self, person: Person) -> str:
        """Create an account and return its id. Raises `CreationUncertain` when it may have been created all the same,
        `AlreadyThere` when it exists already.
        """

    def changes(self, account: Account, person: Person) -> tuple[Change, ...]:
        """The fields to update for this person. No call to the API."""

    async def update(self, account: Account, changes: tuple[Change, ...]) -> None:
        """Write these fields and leave all others as they are."""

    async def suspend(self, account: Account) -> None:
        """Make the account inactive. Accounts are never deleted."""

    async def sign_in_token(self, account: Account) -> str:
        """A token that opens the upstream's own session of this account, once. No error and no log has it."""

    def accounts(self) -> AsyncIterator[Account]:
        """Every account, inactive ones too; bounded."""

    async def ping(self) -> None:
        """Check that the directory replies and accepts our credentials; returns or raises."""

    async def close(self) -> None: ...


class CreationUncertain(DirectoryUnavailable):
    """A creation was sent, and it is not known whether it took effect: none may be sent until it is."""


class AlreadyThere(DirectoryUnavailable):
    """The directory has an account of this person already."""


def unsupported(ability: Ability) -> DirectoryUnavailable:
    """The error for an ability that a directory does not have."""
    return DirectoryUnavailable("unsupported", f"this directory has no {ability}", retry_after=None)


def kept_link(value: object) -> str | None:
    """The value of a link field as text; None: the field is empty.

    Pure. A list of one text is that text. A value of another type becomes a text that matches no person: it begins with NUL.
    """
    several = [entry for entry in value if entry not in (None, "")] if isinstance(value, list) else [value]
    only = several[0] if len(several) == 1 else None
    if not several or value is None or value in ("", {}):
        return None
    if isinstance(only, str | int) and not isinstance(only, bool):
        return str(only)
    return "\0" + json.dumps(value, default=str)


def is_elsewhere(account: Account, own: str | None) -> bool:
    """Whether the account's link field names another person. `own`: its value for the person who signs in."""
    # SECURITY: any other value of the link field is another person's, in any form and from any writer.
    return account.link is not None and account.link != own


async def with_link(directory: Directory, account: Account) -> Account:
    """An account that was found by its address, with its link field. Raises DirectoryUnavailable."""
    if account.link is not None or not directory.can("brief"):
        return account
    # SECURITY: a list that leaves the link out would show every account as one without a person.
    whole = await directory.fetch(account.id)
    if whole is None:
        raise DirectoryUnavailable("incomplete", f"a list shows account {account.id}, and it cannot be read")
    return replace(account, link=whole.link)


def fold_email(address: str) -> str:
    """The form in which two spellings of one address are equal.

    Pure. Case only, character by character: the local part's other differences (dots, `+tags`) are different people.
    """
    # SECURITY: Unicode folding turns other letters (KELVIN SIGN) into ASCII ones: the account of another person.
    return "".join(low if (low := letter.lower()).isascii() == letter.isascii() else letter for letter in address)


def same_email(one: object, address: str) -> bool:
    """Whether a value from the directory is this address. Pure."""
    return isinstance(one, str) and fold_email(one.strip(" ")) == fold_email(address)


def quotable(text: str, limit: int = 200) -> str:
    """A foreign text for the log: one bounded line, without addresses. Pure."""
    return hide_addresses(_UNPRINTABLE.sub(" ", text[: 4 * limit]))[:limit].strip()
