"""A directory that knows nobody, in which nobody is to be made."""

from collections.abc import AsyncIterator

from gateway.directory.account import Ability, Account, Change
from gateway.directory.person import Person


class EmptyDirectory:
    def can(self, ability: Ability) -> bool:
        return False

    async def find(self, email: str, person: Person | None = None) -> Account | None:
        return None

    def link_for(self, person: Person) -> str | None:
        return None

    async def find_linked(self, link: str, person: Person | None = None) -> Account | None:
        return None

    async def fetch(self, account_id: str) -> Account | None:
        return None

    async def create(self, person: Person) -> str:
        raise AssertionError("nobody is to be created here")

    def changes(self, account: Account, person: Person) -> tuple[Change, ...]:
        return ()

    async def update(self, account: Account, changes: tuple[Change, ...]) -> None:
        raise AssertionError("nobody is to be changed here")

    async def suspend(self, account: Account) -> None:
        raise AssertionError("nobody is to be suspended here")

    async def sign_in_token(self, account: Account) -> str:
        raise AssertionError("nobody is to be signed in upstream here")

    async def accounts(self) -> AsyncIterator[Account]:
        none: tuple[Account, ...] = ()
        for account in none:
            yield account

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
