"""Provisioning: the one place where a person who signed in meets the directory.

Who somebody is in the directory is answered in this order: the link (issuer and subject) that we keep, the link that the directory
keeps, the verified e-mail address. Once linked, the address decides nothing any more: it may change, and somebody else may get it. An
account is nobody's while neither we nor the directory keep anybody for it; whoever found it, and however, that is asked each time. One
that is gone is as if it had never been; a suspended one is refused, whatever else would be found. `creation` makes accounts.

In shadow mode everybody is looked up and judged as always, and nothing is written: whoever would be created comes in without an account.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.account import Account, Directory, is_elsewhere, with_link
from gateway.directory.account_links import AccountLinks
from gateway.directory.api.calls import WriteHeld
from gateway.directory.creation import Creation
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.person import Person
from gateway.errors.signing_in import (
    AccountAmbiguous,
    AccountLinkedElsewhere,
    AccountSuspended,
    DirectoryUnavailable,
    NotRegistered,
)
from gateway.identity.claims import Identity
from gateway.observability import events as events
from gateway.observability.events import Audit
from gateway.redis_client.leases import Leases
from gateway.sessions.renewal_hook import Recheck, keep_directory_facts
from gateway.sessions.session import Session

log = logging.getLogger("doorward.directory")

Registration = Literal["skip", "create", "refuse"]
_NO_CLAIMS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningPolicy:
    """`shared`: an account may have several persons. `update`: the fields are written at every sign-in."""

    timeout: timedelta = timedelta(seconds=10)
    shared: bool = False
    update: bool = False


class Provisioner:
    """`habits.timeout` bounds one `ensure` with all its look-ups and waits."""

    def __init__(
        self,
        directory: Directory | None,
        leases: Leases,
        audit: Audit,
        *,
        notes: CreationMarkers,
        links: AccountLinks,
        habits: ProvisioningPolicy,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._notes = notes
        self._links = links
        self._audit = audit
        self._habits = habits
        self._now = now

    async def ensure(
        self,
        identity: Identity,
        *,
        app: str,
        registration: Registration,
        request_id: str | None = None,
        claims: Mapping[str, Any] = _NO_CLAIMS,
    ) -> Identity:
        """The identity with what the directory knows of the person.

        `skip`: unchanged, the directory is not asked. `create`: an unknown person gets an account. `refuse`: does not.
        Raises NotRegistered, AccountSuspended, AccountLinkedElsewhere, AccountAmbiguous, DirectoryUnavailable, StoreUnavailable.
        """
        if self._directory is None or registration == "skip":
            return identity
        told = _Told(self._audit, app, request_id, identity.email)
        person = Person(identity=identity, claims=claims, app=app)
        try:
            account = await self._in_time(self._meet(self._directory, person, registration, told))
        except DirectoryUnavailable as error:
            told.failed(error)
            raise
        except AccountAmbiguous:
            told.event(events.ACCOUNT_REFUSED, reason="ambiguous")
            raise
        except WriteHeld as held:
            told.planned("create", held)
            return identity
        if account is None:
            why = "not_registered" if person.email else "email_unverified" if identity.email else "no_email"
            told.event(events.ACCOUNT_REFUSED, reason=why)
            raise NotRegistered(f"the directory does not know this person ({why})")
        self._refuse_suspended(account, told)
        await self._bind(self._directory, account, person, told)
        if self._habits.update:
            await self._keep_up(self._directory, account, person, told)
        return with_account(identity, account)

    async def recheck(
        self,
        known: Identity,
        identity: Identity,
        *,
        app: str,
        registration: Registration,
        request_id: str | None = None,
    ) -> Identity:
        """The identity with what the directory says now of the account that `known` has, at a token refresh.

        Where the directory's links are made of claims, which only a sign-in brings, the link is not judged again.
        Raises NotRegistered, AccountSuspended and AccountLinkedElsewhere, which end the session; DirectoryUnavailable, which does not.
        """
        account_id = known.directory.get("id")
        if self._directory is None or registration == "skip" or account_id is None:
            return identity.with_directory(known.directory)
        told = _Told(self._audit, app, request_id, identity.email)
        try:
            account = await self._in_time(self._directory.fetch(account_id))
        except DirectoryUnavailable as error:
            told.failed(error)
            raise
        if account is None:
            told.event(events.ACCOUNT_REFUSED, reason="gone", account=account_id)
            raise NotRegistered(f"account {account_id} is gone")
        self._refuse_suspended(account, told)
        person = Person(identity=identity, app=app)
        if account.link is not None and self._directory.link_for(person) is not None:
            self._refuse_elsewhere(self._directory, account, person, told)
        return with_account(identity, account)

    async def known(self, identity: Identity) -> Account | None:
        """The account that a sign-in would find, without creating or linking anything; None where it is somebody else's.

        Raises AccountAmbiguous, DirectoryUnavailable, StoreUnavailable.
        """
        if self._directory is None:
            return None
        directory, person = self._directory, Person(identity=identity)
        account = await self._linked(directory, person)
        if account is None and person.email is not None:
            account = await directory.find(person.email, person)
            account = None if account is None else await with_link(directory, account)
        if account is None or self._habits.shared:
            return account
        mine = not is_elsewhere(account, directory.link_for(person)) and await self._links.allows(
            person.link, account.id
        )
        return account if mine else None

    async def _meet(
        self, directory: Directory, person: Person, registration: Registration, told: "_Told"
    ) -> Account | None:
        account = await self._linked(directory, person)
        if account is None and person.email is not None:
            account = await directory.find(person.email, person)
            if account is None and registration == "create":
                creation = Creation(directory, self._leases, self._notes, person, person.email, told.made)
                account = await creation.once()
                if creation.created:
                    if account.link is None and directory.can("link"):
                        log.warning("account %s was made, and the directory does not show whose it is", account.id)
                    return account
            account = None if account is None else await with_link(directory, account)
        if account is not None:
            told.event(events.ACCOUNT_FOUND, account=account.id)
        return account

    async def _linked(self, directory: Directory, person: Person) -> Account | None:
        """By the link that we keep, or that the directory keeps."""
        account_id = await self._links.read(person.link)
        if account_id is not None:
            account = await directory.fetch(account_id)
            if account is not None:
                return account
            log.warning("account %s, linked to a person, is gone: looking for another one", account_id)
            await self._links.forget(person.link)
        return await directory.find_linked(person.link, person) if directory.can("link") else None

    async def _bind(self, directory: Directory, account: Account, person: Person, told: "_Told") -> None:
        """Link person and account. Raises AccountLinkedElsewhere."""
        self._refuse_elsewhere(directory, account, person, told)
        # SECURITY: an address that somebody else had before, or has at another provider, is no claim to the account.
        if not await self._links.claim(person.link, account.id, shared=self._habits.shared):
            told.event(events.ACCOUNT_REFUSED, reason="linked_elsewhere", account=account.id)
            raise AccountLinkedElsewhere(f"account {account.id} belongs to another person, who signed in to it here")
        await self._links.see(account.id, self._now())

    async def _keep_up(self, directory: Directory, account: Account, person: Person, told: "_Told") -> None:
        """Write the fields that changed. A directory that does not take them keeps nobody out."""
        changes = directory.changes(account, person)
        if not changes:
            return
        names = ",".join(change.name for change in changes)
        try:
            await self._in_time(directory.update(account, changes))
        except DirectoryUnavailable as error:
            told.failed(error, account=account.id)
        except WriteHeld as held:
            told.planned("update", held, account=account.id, fields=names)
        else:
            told.event(events.ACCOUNT_UPDATED, account=account.id, fields=names)

    def _refuse_suspended(self, account: Account, told: "_Told") -> None:
        if not account.active:
            told.event(events.ACCOUNT_REFUSED, reason="suspended", account=account.id)
            raise AccountSuspended(f"account {account.id} is not active")

    def _refuse_elsewhere(self, directory: Directory, account: Account, person: Person, told: "_Told") -> None:
        """Raises AccountLinkedElsewhere where the directory itself keeps another person in the account."""
        if account.link is None or self._habits.shared or not is_elsewhere(account, directory.link_for(person)):
            return
        told.event(events.ACCOUNT_REFUSED, reason="linked_elsewhere", account=account.id)
        raise AccountLinkedElsewhere(f"account {account.id} belongs to another person, as the directory keeps it")

    async def _in_time(self, work: Any) -> Any:
        try:
            async with asyncio.timeout(self._habits.timeout.total_seconds()):
                return await work
        except TimeoutError as error:
            seconds = self._habits.timeout.total_seconds()
            raise DirectoryUnavailable("timeout", f"nothing came of it in {seconds:g} s") from error


def with_account(identity: Identity, account: Account) -> Identity:
    """The identity with the account's facts. `email` is not among them: the provider's is the person's."""
    return identity.with_directory({**account.facts, "id": account.id})


@dataclass(frozen=True, slots=True)
class _Told:
    """Events about one sign-in."""

    audit: Audit
    app: str
    request_id: str | None
    email: str | None

    def event(self, name: str, **facts: str) -> None:
        self.audit.emit(name, app=self.app, request_id=self.request_id, email=self.email, **facts)

    def made(self, account_id: str) -> None:
        self.event(events.ACCOUNT_CREATED, account=account_id)

    def failed(self, error: DirectoryUnavailable, **facts: str) -> None:
        log.warning("the directory failed: %s (%s)", error.reason, error.detail)
        self.event(events.DIRECTORY_FAILED, reason=error.reason, **facts)

    def planned(self, what: str, held: WriteHeld, **facts: str) -> None:
        log.info("shadow: would %s with %s %s", what, held.planned.method, held.planned.url)
        self.event(events.ACCOUNT_PLANNED, what=what, **facts)


def recheck_of(config: Config, provisioner: Provisioner) -> Recheck:
    """What `config` says is asked about a person whose tokens were renewed."""
    if config.directory.kind == "none" or config.directory.recheck == "login":
        return keep_directory_facts

    async def ask_again(session: Session, identity: Identity) -> Identity:
        app = config.apps.get(session.app)
        asked = "skip" if app is None else registration(config.openid, app.surface, config.directory.kind)
        return await provisioner.recheck(session.identity, identity, app=session.app, registration=asked)

    return ask_again
