"""One person's account is made once, however many sign-ins of that person arrive at the same moment, in however many processes.

Whoever must create holds a lease in Redis, looks again under it, announces the creation in a note, and only then creates. Each of the
three guards what the others cannot: the lease (one creator at a time), the second look-up (somebody was quicker), the note (the list
lags, the answer got lost, the creator died). Where none of them can tell, nothing is created and the person is asked to come back.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from gateway.directory.account import Account, AlreadyThere, CreationUncertain, Directory, fold_email
from gateway.directory.api.calls import WriteHeld
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.person import Person
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.redis_client.leases import Lease, LeaseBusy, Leases

log = logging.getLogger("doorward.directory")

_PATIENCE: Final = timedelta(milliseconds=250)  # with the lock, before the note is read again


class Creation:
    """The attempt of one request to be, or to meet, the maker of one person's account. `made` is told of a new one."""

    def __init__(
        self,
        directory: Directory,
        leases: Leases,
        notes: CreationMarkers,
        person: Person,
        email: str,
        made: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._notes = notes
        self._person = person
        self._email = email
        self._tell_made = made
        self._name = hashlib.sha256(fold_email(email).encode()).hexdigest()
        self.created = False

    async def once(self) -> Account:
        """Wait for the lock or for a note, whichever comes first. Ends when the caller's time is up."""
        while True:
            account = await self._noted()
            if account is not None:
                return account
            try:
                async with self._leases.hold(f"account:{self._name}", wait=_PATIENCE) as lease:
                    return await self._alone(lease)
            except LeaseBusy:
                continue

    async def _alone(self, lease: Lease) -> Account:
        """Under the lock. Raises DirectoryUnavailable where a creation could be the second one."""
        account = await self._noted()
        if account is not None:
            return account
        account = await self._find()
        if account is not None:
            return account
        # A lease that ran out while we looked has another holder by now: the note stops what the lock did not.
        if lease.lost.is_set() or not await self._notes.begin(self._name):
            raise DirectoryUnavailable("incomplete", "an earlier creation has not shown its result yet")
        return await self._create()

    async def _find(self) -> Account | None:
        return await self._directory.find(self._email, self._person)

    async def _create(self) -> Account:
        try:
            account_id = await self._directory.create(self._person)
        except CreationUncertain as error:
            log.warning("a creation was sent and not answered (%s): looking again", error.detail)
            return await self._look_again(error)
        except AlreadyThere as error:
            await self._notes.withdraw(self._name)
            return await self._met(error)
        except (DirectoryUnavailable, WriteHeld):
            await self._notes.withdraw(self._name)
            raise
        await self._made(account_id)
        account = await self._directory.fetch(account_id)
        if account is None:
            raise DirectoryUnavailable("incomplete", f"account {account_id} was made and cannot be read")
        return account

    async def _look_again(self, error: CreationUncertain) -> Account:
        """The note stays when nobody is found: only its end makes another creation safe."""
        account = await self._find()
        if account is None:
            raise DirectoryUnavailable(error.reason, f"unknown whether an account was made: {error.detail}") from error
        await self._made(account.id)
        return account

    async def _met(self, error: AlreadyThere) -> Account:
        """Somebody else made it: once more, then it is hidden from us, and nobody is created instead."""
        account = await self._find()
        if account is None and self._directory.can("link"):
            account = await self._directory.find_linked(self._person.link, self._person)
        if account is None:
            detail = f"an account is said to be there, and the look-up does not show it: {error.detail}"
            raise DirectoryUnavailable("rejected", detail) from error
        return account

    async def _made(self, account_id: str) -> None:
        self.created = True
        self._tell_made(account_id)
        await self._notes.finish(self._name, account_id)

    async def _noted(self) -> Account | None:
        """The account that a note names, confirmed by the directory."""
        note = await self._notes.read(self._name)
        if note is None or note.account_id is None:
            return None
        account = await self._directory.fetch(note.account_id)
        if account is None or not account.has(self._email):
            raise DirectoryUnavailable("incomplete", f"account {note.account_id}, just made, cannot be read")
        return account
