"""A dry run for one person; and the difference between the accounts of the directory and the people who sign in.

Both read a real directory. A plan's writes are held (`calls.WriteHeld`), so that it has the very call that would be sent.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from gateway.directory.account import Account, Change, Directory, is_elsewhere, with_link
from gateway.directory.api.calls import Planned, WriteHeld
from gateway.directory.person import Person

What = Literal["nothing", "create", "update", "suspend"]
Why = Literal["never seen", "not seen", "gone"]

_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPlan:
    """`call` is the write of `what`; None: there is nothing to write. `elsewhere`: the account is another person's by its link in the
    directory.
    """

    what: What
    account: Account | None
    changes: tuple[Change, ...] = ()
    call: Planned | None = None
    elsewhere: bool = False


async def plan(directory: Directory, person: Person, *, suspend: bool = False, shared: bool = False) -> AccountPlan:
    """The plan for one person. `directory` must hold its writes. Raises DirectoryUnavailable, AccountAmbiguous."""
    account = await known_account(directory, person)
    try:
        if account is None:
            if not suspend:
                await directory.create(person)
            return AccountPlan(what="nothing", account=None)
        if suspend:
            if account.active:
                await directory.suspend(account)
            return AccountPlan(what="nothing", account=account)
        # Without a subject there is no link: the operator chose the account of this address, with any link.
        if person.link and not shared and is_elsewhere(account, directory.link_for(person)):
            return AccountPlan(what="nothing", account=account, elsewhere=True)
        changes = directory.changes(account, person)
        if changes:
            await directory.update(account, changes)
        return AccountPlan(what="nothing", account=account, changes=changes)
    except WriteHeld as held:
        what: What = "create" if account is None else "suspend" if suspend else "update"
        changes = directory.changes(account, person) if account is not None and what == "update" else ()
        return AccountPlan(what=what, account=account, changes=changes, call=held.planned)


async def known_account(directory: Directory, person: Person) -> Account | None:
    """The account by the link that the directory stores, else by address. Raises DirectoryUnavailable, AccountAmbiguous."""
    if person.link and directory.can("link"):
        account = await directory.find_linked(person.link, person)
        if account is not None:
            return account
    account = await directory.find(person.email or "", person)
    return None if account is None else await with_link(directory, account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """An account whose person does not sign in, or a person whose account is gone (`account` None)."""

    why: Why
    account_id: str
    account: Account | None
    seen_at: datetime | None


async def strays(directory: Directory, seen: Mapping[str, datetime], since: datetime) -> AsyncIterator[Stray]:
    """The differences. `seen`: the last sign-in by account. Raises DirectoryUnavailable."""
    there: set[str] = set()
    async for account in directory.accounts():
        there.add(account.id)
        at = seen.get(account.id)
        if at is None or at < since:
            why: Why = "never seen" if at is None else "not seen"
            yield Stray(why=why, account_id=account.id, account=account, seen_at=at)
        if len(there) >= _MOST:
            return
    for account_id, at in seen.items():
        if account_id not in there:
            yield Stray(why="gone", account_id=account_id, account=None, seen_at=at)
