"""Provisioning: the one place where a person who signed in meets the directory, and where an account is made, once.

The first look-up needs no lock. Whoever must create holds a lease in Redis, looks again under it, announces the
creation in a note, and only then creates. Each of the three guards what the others cannot: the lease (one creator at a
time), the second look-up (somebody was quicker), the note (the list lags, the answer got lost, the creator died).
Where none of them can tell, nothing is created and the person is asked to come back.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from gateway import audit as events
from gateway.audit import Audit
from gateway.directory.account import Account, CreationUncertain, Directory, fold_email
from gateway.directory.notes import Notes
from gateway.errors import AccountSuspended, DirectoryUnavailable, NotRegistered
from gateway.identity import Identity
from gateway.leases import Lease, LeaseBusy, Leases

log = logging.getLogger("doorward.directory")

Registration = Literal["skip", "create", "refuse"]

_PATIENCE: Final = timedelta(milliseconds=250)  # with the lock, before the note is read again


class Provisioner:
    """`timeout` bounds one `ensure` with all its look-ups and waits: a person is looking at a blank page meanwhile."""

    def __init__(
        self, directory: Directory | None, leases: Leases, audit: Audit, *, notes: Notes, timeout: timedelta
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._notes = notes
        self._audit = audit
        self._timeout = timeout

    async def ensure(
        self, identity: Identity, *, app: str, registration: Registration, request_id: str | None = None
    ) -> Identity:
        """The identity with what the directory knows of the person.

        `skip`: unchanged, the directory is not asked. `create`: an unknown person gets an account. `refuse`: does not.
        Raises NotRegistered, AccountSuspended, DirectoryUnavailable, StoreUnavailable.
        """
        if self._directory is None or registration == "skip":
            return identity
        told = _Told(self._audit, app, request_id, identity.email)
        try:
            account = await self._meet(self._directory, identity, registration, told)
        except DirectoryUnavailable as error:
            log.warning("the directory failed: %s (%s)", error.reason, error.detail)
            told.event(events.DIRECTORY_FAILED, reason=error.reason)
            raise
        if account is None:
            told.event(events.ACCOUNT_REFUSED, reason="not_registered" if identity.email else "no_email")
            raise NotRegistered("the directory does not know this person")
        if not account.active:
            told.event(events.ACCOUNT_REFUSED, reason="suspended", account=account.id)
            raise AccountSuspended(f"account {account.id} is not active")
        return identity.with_directory({"id": account.id, **account.facts})

    async def _meet(
        self, directory: Directory, identity: Identity, registration: Registration, told: "_Told"
    ) -> Account | None:
        if identity.email is None:
            return None
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                account = await directory.find(identity.email)
                if account is None and registration == "create":
                    return await _Creation(directory, self._leases, self._notes, identity, identity.email, told).once()
        except TimeoutError as error:
            seconds = self._timeout.total_seconds()
            raise DirectoryUnavailable("timeout", f"nothing came of it in {seconds:g} s") from error
        if account is not None:
            told.event(events.ACCOUNT_FOUND, account=account.id)
        return account


@dataclass(frozen=True, slots=True)
class _Told:
    """Events about one sign-in."""

    audit: Audit
    app: str
    request_id: str | None
    email: str | None

    def event(self, name: str, **facts: str) -> None:
        self.audit.event(name, app=self.app, request_id=self.request_id, email=self.email, **facts)


class _Creation:
    """The attempt of one request to be, or to meet, the maker of one person's account."""

    def __init__(
        self, directory: Directory, leases: Leases, notes: Notes, identity: Identity, email: str, told: _Told
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._notes = notes
        self._identity = identity
        self._email = email
        self._told = told
        self._name = hashlib.sha256(fold_email(email).encode()).hexdigest()

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
        account = await self._directory.find(self._email)
        if account is not None:
            return self._found(account)
        # A lease that ran out while we looked has another holder by now: the note stops what the lock did not.
        if lease.lost.is_set() or not await self._notes.begin(self._name):
            raise DirectoryUnavailable("incomplete", "an earlier creation has not shown its result yet")
        return await self._create()

    async def _create(self) -> Account:
        try:
            account_id = await self._directory.create(self._identity)
        except CreationUncertain as error:
            log.warning("a creation was sent and not answered (%s): looking again", error.detail)
            return await self._look_again(error)
        except DirectoryUnavailable:
            await self._notes.withdraw(self._name)
            raise
        await self._made(account_id)
        account = await self._directory.fetch(account_id, self._email)
        if account is None:
            raise DirectoryUnavailable("incomplete", f"account {account_id} was made and cannot be read")
        return account

    async def _look_again(self, error: CreationUncertain) -> Account:
        """The note stays when nobody is found: only its end makes another creation safe."""
        account = await self._directory.find(self._email)
        if account is None:
            raise DirectoryUnavailable(error.reason, f"unknown whether an account was made: {error.detail}") from error
        await self._made(account.id)
        return account

    async def _made(self, account_id: str) -> None:
        self._told.event(events.ACCOUNT_CREATED, account=account_id)
        await self._notes.finish(self._name, account_id)

    async def _noted(self) -> Account | None:
        """The account that a note names, confirmed by the directory."""
        note = await self._notes.read(self._name)
        if note is None or note.account_id is None:
            return None
        account = await self._directory.fetch(note.account_id, self._email)
        if account is None:
            raise DirectoryUnavailable("incomplete", f"account {note.account_id}, just made, cannot be read")
        return self._found(account)

    def _found(self, account: Account) -> Account:
        self._told.event(events.ACCOUNT_FOUND, account=account.id)
        return account
