"""The creation of one person's account, once, however many sign-ins of that person arrive at the same moment, in however many processes.

The process that creates holds a lease in Redis, looks again under it, writes a marker that a creation begins, and only then creates. Each of
the three covers what the others cannot: the lease (one creator at a time), the second look-up (another process was quicker), the marker (the
list lags, the response was lost, the creator died). Where none of them is conclusive, no account is created and the person tries again later.
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

_PATIENCE: Final = timedelta(milliseconds=250)  # waiting for the lease, before the marker is read again


class Creation:
    """One request's attempt to create a person's account, or to find it when another one does. `on_created` is called with a new id."""

    def __init__(
        self,
        directory: Directory,
        leases: Leases,
        markers: CreationMarkers,
        person: Person,
        email: str,
        on_created: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._markers = markers
        self._person = person
        self._email = email
        self._on_created = on_created
        self._name = hashlib.sha256(fold_email(email).encode()).hexdigest()
        self.created = False

    async def find_or_create(self) -> Account:
        """The account. Waits for the lease or for a marker, whichever comes first; the caller bounds the time. Raises DirectoryUnavailable,
        AccountAmbiguous, StoreUnavailable, WriteHeld.
        """
        while True:
            account = await self._marked_account()
            if account is not None:
                return account
            try:
                async with self._leases.hold(f"account:{self._name}", wait=_PATIENCE) as lease:
                    return await self._create_under_lease(lease)
            except LeaseBusy:
                continue

    async def _create_under_lease(self, lease: Lease) -> Account:
        """Raises DirectoryUnavailable where a creation could be the second one."""
        account = await self._marked_account()
        if account is not None:
            return account
        account = await self._find()
        if account is not None:
            return account
        # A lease that expired meanwhile may have another holder: then the marker prevents a second creation.
        if lease.lost.is_set() or not await self._markers.begin(self._name):
            raise DirectoryUnavailable("incomplete", "an earlier creation has not shown its result yet")
        return await self._create()

    async def _find(self) -> Account | None:
        return await self._directory.find(self._email, self._person)

    async def _create(self) -> Account:
        try:
            account_id = await self._directory.create(self._person)
        except CreationUncertain as error:
            log.warning("a creation was sent without a response (%s): looking again", error.detail)
            return await self._look_again(error)
        except AlreadyThere as error:
            await self._markers.withdraw(self._name)
            return await self._find_existing(error)
        except (DirectoryUnavailable, WriteHeld):
            await self._markers.withdraw(self._name)
            raise
        await self._record_created(account_id)
        account = await self._directory.fetch(account_id)
        if account is None:
            raise DirectoryUnavailable("incomplete", f"account {account_id} was created and cannot be read")
        return account

    async def _look_again(self, error: CreationUncertain) -> Account:
        """The marker stays when no account is found: only its expiry makes another creation safe."""
        account = await self._find()
        if account is None:
            raise DirectoryUnavailable(
                error.reason, f"unknown whether an account was created: {error.detail}"
            ) from error
        await self._record_created(account.id)
        return account

    async def _find_existing(self, error: AlreadyThere) -> Account:
        """The directory has the account already: look once more. Raises DirectoryUnavailable when the look-up does not show it."""
        account = await self._find()
        if account is None and self._directory.can("link"):
            account = await self._directory.find_linked(self._person.link, self._person)
        if account is None:
            detail = f"the account exists already, and the look-up does not show it: {error.detail}"
            raise DirectoryUnavailable("rejected", detail) from error
        return account

    async def _record_created(self, account_id: str) -> None:
        self.created = True
        self._on_created(account_id)
        await self._markers.finish(self._name, account_id)

    async def _marked_account(self) -> Account | None:
        """The account that a marker names, confirmed by the directory; None: no marker names one."""
        marker = await self._markers.read(self._name)
        if marker is None or marker.account_id is None:
            return None
        account = await self._directory.fetch(marker.account_id)
        if account is None or not account.has(self._email):
            raise DirectoryUnavailable("incomplete", f"account {marker.account_id}, just created, cannot be read")
        return account
