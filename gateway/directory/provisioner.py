"""Provisioning: the account of a person who signed in, found or created.

An account is looked up in this order: by the link (issuer and subject) that we store, by the link that the directory stores, by the verified
e-mail address. Once a person is linked, the address does not count: it may change, and another person may get it. An account without a
person is one where neither we nor the directory store a link of another person; that is checked at each sign-in, however it was found. An
account that is gone is ignored; a suspended one is refused, and no other account is searched. `creation` creates accounts.

In shadow mode accounts are looked up and checked as always, and nothing is written: a person without an account signs in without one.
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
    """Finds and creates accounts. `policy.timeout` bounds one `ensure` with all its look-ups and waits."""

    def __init__(
        self,
        directory: Directory | None,
        leases: Leases,
        audit: Audit,
        *,
        markers: CreationMarkers,
        links: AccountLinks,
        policy: ProvisioningPolicy,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._leases = leases
        self._markers = markers
        self._links = links
        self._audit = audit
        self._policy = policy
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
        """The identity with the directory's facts about the person.

        `skip`: unchanged, without a call. `create`: a person without an account gets one. `refuse`: is refused.
        Raises NotRegistered, AccountSuspended, AccountLinkedElsewhere, AccountAmbiguous, DirectoryUnavailable, StoreUnavailable.
        """
        if self._directory is None or registration == "skip":
            return identity
        sign_in = _SignInEvents(self._audit, app, request_id, identity.email)
        person = Person(identity=identity, claims=claims, app=app)
        try:
            account = await self._in_time(self._find_or_create(self._directory, person, registration, sign_in))
        except DirectoryUnavailable as error:
            sign_in.emit_failed(error)
            raise
        except AccountAmbiguous:
            sign_in.emit(events.ACCOUNT_REFUSED, reason="ambiguous")
            raise
        except WriteHeld as held:
            sign_in.emit_planned("create", held)
            return identity
        if account is None:
            why = "not_registered" if person.email else "email_unverified" if identity.email else "no_email"
            sign_in.emit(events.ACCOUNT_REFUSED, reason=why)
            raise NotRegistered(f"the directory has no account of this person ({why})")
        self._refuse_suspended(account, sign_in)
        await self._link(self._directory, account, person, sign_in)
        if self._policy.update:
            await self._update_fields(self._directory, account, person, sign_in)
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
        """The identity with the directory's present facts about the account of `known`, at a token refresh.

        Where the directory's links are made of claims, which only a sign-in has, the link is not checked again.
        Raises NotRegistered, AccountSuspended and AccountLinkedElsewhere, which end the session; DirectoryUnavailable, which does not.
        """
        account_id = known.directory.get("id")
        if self._directory is None or registration == "skip" or account_id is None:
            return identity.with_directory(known.directory)
        sign_in = _SignInEvents(self._audit, app, request_id, identity.email)
        try:
            account = await self._in_time(self._directory.fetch(account_id))
        except DirectoryUnavailable as error:
            sign_in.emit_failed(error)
            raise
        if account is None:
            sign_in.emit(events.ACCOUNT_REFUSED, reason="gone", account=account_id)
            raise NotRegistered(f"account {account_id} is gone")
        self._refuse_suspended(account, sign_in)
        person = Person(identity=identity, app=app)
        if account.link is not None and self._directory.link_for(person) is not None:
            self._refuse_elsewhere(self._directory, account, person, sign_in)
        return with_account(identity, account)

    async def known(self, identity: Identity) -> Account | None:
        """The account that a sign-in would find, without creating or linking anything; None where it is another person's.

        Raises AccountAmbiguous, DirectoryUnavailable, StoreUnavailable.
        """
        if self._directory is None:
            return None
        directory, person = self._directory, Person(identity=identity)
        account = await self._find_linked(directory, person)
        if account is None and person.email is not None:
            account = await directory.find(person.email, person)
            account = None if account is None else await with_link(directory, account)
        if account is None or self._policy.shared:
            return account
        mine = not is_elsewhere(account, directory.link_for(person)) and await self._links.allows(
            person.link, account.id
        )
        return account if mine else None

    async def _find_or_create(
        self, directory: Directory, person: Person, registration: Registration, sign_in: "_SignInEvents"
    ) -> Account | None:
        account = await self._find_linked(directory, person)
        if account is None and person.email is not None:
            account = await directory.find(person.email, person)
            if account is None and registration == "create":
                creation = Creation(directory, self._leases, self._markers, person, person.email, sign_in.emit_created)
                account = await creation.find_or_create()
                if creation.created:
                    if account.link is None and directory.can("link"):
                        log.warning("account %s was created, and the directory does not show its link", account.id)
                    return account
            account = None if account is None else await with_link(directory, account)
        if account is not None:
            sign_in.emit(events.ACCOUNT_FOUND, account=account.id)
        return account

    async def _find_linked(self, directory: Directory, person: Person) -> Account | None:
        """The account by the link that we store, or that the directory stores."""
        account_id = await self._links.read(person.link)
        if account_id is not None:
            account = await directory.fetch(account_id)
            if account is not None:
                return account
            log.warning("account %s, linked to a person, is gone: looking for another one", account_id)
            await self._links.forget(person.link)
        return await directory.find_linked(person.link, person) if directory.can("link") else None

    async def _link(self, directory: Directory, account: Account, person: Person, sign_in: "_SignInEvents") -> None:
        """Link person and account. Raises AccountLinkedElsewhere."""
        self._refuse_elsewhere(directory, account, person, sign_in)
        # SECURITY: an address that another person had before, or has at another provider, gives no right to the account.
        if not await self._links.claim(person.link, account.id, shared=self._policy.shared):
            sign_in.emit(events.ACCOUNT_REFUSED, reason="linked_elsewhere", account=account.id)
            raise AccountLinkedElsewhere(f"account {account.id} belongs to another person, who signed in to it here")
        await self._links.mark_seen(account.id, self._now())

    async def _update_fields(
        self, directory: Directory, account: Account, person: Person, sign_in: "_SignInEvents"
    ) -> None:
        """Write the fields that changed. A failure of the directory does not prevent the sign-in."""
        changes = directory.changes(account, person)
        if not changes:
            return
        names = ",".join(change.name for change in changes)
        try:
            await self._in_time(directory.update(account, changes))
        except DirectoryUnavailable as error:
            sign_in.emit_failed(error, account=account.id)
        except WriteHeld as held:
            sign_in.emit_planned("update", held, account=account.id, fields=names)
        else:
            sign_in.emit(events.ACCOUNT_UPDATED, account=account.id, fields=names)

    def _refuse_suspended(self, account: Account, sign_in: "_SignInEvents") -> None:
        if not account.active:
            sign_in.emit(events.ACCOUNT_REFUSED, reason="suspended", account=account.id)
            raise AccountSuspended(f"account {account.id} is not active")

    def _refuse_elsewhere(
        self, directory: Directory, account: Account, person: Person, sign_in: "_SignInEvents"
    ) -> None:
        """Raises AccountLinkedElsewhere where the account's link field in the directory names another person."""
        if account.link is None or self._policy.shared or not is_elsewhere(account, directory.link_for(person)):
            return
        sign_in.emit(events.ACCOUNT_REFUSED, reason="linked_elsewhere", account=account.id)
        raise AccountLinkedElsewhere(f"account {account.id} belongs to another person by its link in the directory")

    async def _in_time(self, work: Any) -> Any:
        try:
            async with asyncio.timeout(self._policy.timeout.total_seconds()):
                return await work
        except TimeoutError as error:
            seconds = self._policy.timeout.total_seconds()
            raise DirectoryUnavailable("timeout", f"no result in {seconds:g} s") from error


def with_account(identity: Identity, account: Account) -> Identity:
    """The identity with the account's facts. `email` is not among them: the one from the provider counts."""
    return identity.with_directory({**account.facts, "id": account.id})


@dataclass(frozen=True, slots=True)
class _SignInEvents:
    """Events about one sign-in."""

    audit: Audit
    app: str
    request_id: str | None
    email: str | None

    def emit(self, name: str, **facts: str) -> None:
        self.audit.emit(name, app=self.app, request_id=self.request_id, email=self.email, **facts)

    def emit_created(self, account_id: str) -> None:
        self.emit(events.ACCOUNT_CREATED, account=account_id)

    def emit_failed(self, error: DirectoryUnavailable, **facts: str) -> None:
        log.warning("the directory failed: %s (%s)", error.reason, error.detail)
        self.emit(events.DIRECTORY_FAILED, reason=error.reason, **facts)

    def emit_planned(self, what: str, held: WriteHeld, **facts: str) -> None:
        log.info("shadow: would %s with %s %s", what, held.planned.method, held.planned.url)
        self.emit(events.ACCOUNT_PLANNED, what=what, **facts)


def recheck_of(config: Config, provisioner: Provisioner) -> Recheck:
    """The Recheck of a configuration, for people whose tokens were renewed."""
    if config.directory.kind == "none" or config.directory.recheck == "login":
        return keep_directory_facts

    async def recheck(session: Session, identity: Identity) -> Identity:
        app = config.apps.get(session.app)
        mode = "skip" if app is None else registration(config.openid, app.surface, config.directory.kind)
        return await provisioner.recheck(session.identity, identity, app=session.app, registration=mode)

    return recheck
