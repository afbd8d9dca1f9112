"""An Account is one record of the directory; a Directory is whatever can find and create them.

Invariant: an error is never an empty result. `find` says None only when the directory answered completely and had
nobody; every other outcome is a `DirectoryUnavailable` with a reason word. No row counts as the person's because a
filter returned it: the address is compared here.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.errors import DirectoryUnavailable
from gateway.identity import Identity

Reason = Literal[
    "throttled", "timeout", "unreachable", "unauthorized", "not_json", "rejected", "incomplete", "no_login"
]

_ADDRESS = re.compile(r"[^\s@,;<>\"']+@[^\s@,;<>\"']+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person's record. `facts` become the identity's `directory` values beside `id`, as `user_id` and
    `business_id`.
    """

    id: str
    email: str
    user_id: str | None = None
    active: bool = True
    facts: dict[str, str] = field(default_factory=dict)


class Directory(Protocol):
    """All methods raise `DirectoryUnavailable` when the directory did not answer, or not completely."""

    async def find(self, email: str) -> Account | None:
        """The account of the person with this address; an inactive one only when there is no active one."""

    async def fetch(self, account_id: str, email: str) -> Account | None:
        """The account with this id, if it exists and has this address."""

    async def create(self, identity: Identity) -> str:
        """Make an account and return its id. Raises `CreationUncertain` when it may have been made all the same."""

    async def sign_in_token(self, account: Account) -> str:
        """A token that opens the upstream's own session of this account, once. It never stands in an error or a log."""

    async def ping(self) -> None:
        """Whether the directory answers and accepts our credentials; returns or raises."""

    async def close(self) -> None: ...


class CreationUncertain(DirectoryUnavailable):
    """A creation was sent, and nobody knows whether it took effect: nothing may be created until that is known."""


def fold_email(address: str) -> str:
    """The form in which two spellings of one address are equal.

    Pure. Case only, character by character: the local part's other differences (dots, `+tags`) are different people.
    """
    # SECURITY: Unicode folding turns other letters (KELVIN SIGN) into ASCII ones: the account of somebody else.
    return "".join(low if (low := letter.lower()).isascii() == letter.isascii() else letter for letter in address)


def same_email(one: object, address: str) -> bool:
    """Whether a value from the directory is this address. Pure."""
    return isinstance(one, str) and fold_email(one.strip(" ")) == fold_email(address)


def quotable(text: str, limit: int = 200) -> str:
    """A foreign text as the log may hold it: one bounded line, without addresses. Pure."""
    return _ADDRESS.sub("<address>", _UNPRINTABLE.sub(" ", text[: 4 * limit]))[:limit].strip()
