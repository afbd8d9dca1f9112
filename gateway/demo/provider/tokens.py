"""What codes, refresh tokens and access tokens stand for, and the rules of their use.

A code is good once, for a minute. A refresh token is replaced at each use. Either one used a second time ends everything
of the same sign-in: another client has it (RFC 6749 section 4.1.2, RFC 9700 section 4.14).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from gateway.demo.provider.vault import Vault

ACCESS_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grant:
    """One person's sign-in to one client: the claims of every token that is issued for it."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    subject: str
    sid: str
    auth_time: int
    acr: str | None
    nonce: str | None
    code_challenge: str


@dataclass(slots=True)
class _Ticket:
    """A code or a refresh token. It stays known after its use, so that a second use is noticed."""

    grant: Grant
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)


class GrantRefused(Exception):
    """invalid_grant."""


class Tokens:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._codes: Vault[_Ticket] = Vault(timedelta(seconds=60), now)
        self._refresh: Vault[_Ticket] = Vault(timedelta(days=7), now)
        self._access: Vault[Grant] = Vault(ACCESS_LIFETIME, now)

    def code_for(self, grant: Grant) -> str:
        return self._codes.put(_Ticket(grant))

    def redeem(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> tuple[Grant, Issued]:
        """Raises GrantRefused."""
        grant = self._use(self._codes, code, client_id)
        try:
            challenge = create_s256_code_challenge(verifier)
        except UnicodeEncodeError as error:
            raise GrantRefused from error
        if grant.redirect_uri != redirect_uri or challenge != grant.code_challenge:
            raise GrantRefused
        return grant, self._issue(grant)

    def refresh(self, token: str, client_id: str) -> tuple[Grant, Issued]:
        """Raises GrantRefused."""
        grant = self._use(self._refresh, token, client_id)
        return grant, self._issue(grant)

    def access(self, token: str) -> Grant | None:
        return self._access.get(token)

    def revoke(self, token: str, client_id: str) -> None:
        """RFC 7009: a refresh token takes everything of its grant with it."""
        grant = self._access.get(token)
        if grant is not None and grant.client_id == client_id:
            self._access.pop(token)
        ticket = self._refresh.get(token)
        if ticket is not None and ticket.grant.client_id == client_id:
            self._end(ticket.grant)

    def end_session(self, sid: str) -> None:
        self._codes.drop(lambda ticket: ticket.grant.sid == sid)
        self._refresh.drop(lambda ticket: ticket.grant.sid == sid)
        self._access.drop(lambda grant: grant.sid == sid)

    def _use(self, vault: Vault[_Ticket], name: str, client_id: str) -> Grant:
        ticket = vault.get(name)
        if ticket is None or ticket.grant.client_id != client_id:
            raise GrantRefused
        if ticket.used:
            self._end(ticket.grant)
            raise GrantRefused
        ticket.used = True
        return ticket.grant

    def _issue(self, grant: Grant) -> Issued:
        offline = "offline_access" in grant.scopes
        return Issued(
            access_token=self._access.put(grant),
            refresh_token=self._refresh.put(_Ticket(grant)) if offline else None,
        )

    def _end(self, grant: Grant) -> None:
        self._refresh.drop(lambda ticket: ticket.grant is grant)
        self._access.drop(lambda other: other is grant)
