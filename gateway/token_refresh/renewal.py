"""One attempt to refresh one session, by whoever holds its lease.

Tokens that came are stored at once, under the old clock, so that nothing which fails later loses them: then the claims are
asked for, and only they make the session fresh. OpenID Connect Core 1.0 section 12.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import ProviderFault, ProviderUnavailable, RefreshRefused, SignInFailed
from gateway.identity.claims import Identity, identity_from_claims, validate_email_domain
from gateway.oidc.refresh import RefreshClient
from gateway.oidc.token_response import TokenResponse
from gateway.sessions.records import Stored
from gateway.sessions.renewal_hook import Recheck
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.token_refresh.schedule import access_times

_log = logging.getLogger("doorward.refresh")

_WRITING_SECONDS: Final = 600.0  # how long tokens that came are kept in hand while Redis does not take them
_SLOWEST_RETRY: Final = 2.0


class SessionOver(Exception):
    """The session ended while its tokens were renewed; the provider's answer belongs to nobody."""


class Overtaken(Exception):
    """Somebody else renewed it meanwhile: theirs counts."""


@dataclass(frozen=True, slots=True)
class Renewed:
    session: Session
    before: Session


class Renewal:
    """`clock` is monotonic, `now` the wall clock."""

    def __init__(
        self, store: SessionStore, recheck: Recheck, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._recheck = recheck
        self._clock = clock
        self._now = now

    async def attempt(self, key: str, stored: Stored, client: RefreshClient) -> Renewed:
        """Raises SignInFailed (RefreshRefused among them) or a 403 where the session must end; ProviderUnavailable,
        ProviderFault, StoreUnavailable where it may go on as it is; SessionOver, Overtaken."""
        before = stored.session
        tokens = await client.refresh(before.refresh_token or "")
        asked_at = self._now()
        try:
            stored = await self._keep(key, stored, tokens, lambda session: with_tokens(session, tokens))
            claims = await client.claims(before, tokens)
            settings = client.settings
            identity = identity_from_claims(
                claims, settings.claims, settings.require_verified_email, settings.verified_email_domains
            )
            identity = await self._rechecked(before, validate_email_domain(identity, settings.email_domains))

            def renew(session: Session) -> Session:
                times = access_times(tokens.expires_in, session.refresh_token, asked_at)
                id_token = tokens.id_token or session.id_token
                told, sid = claims.userinfo_told, claims.provider_sid
                return replace(
                    session, identity=identity, id_token=id_token, provider_sid=sid, userinfo_told=told, **times
                )

            stored = await self._keep(key, stored, tokens, renew)
        except SessionOver:
            await client.revoke(tokens.refresh_token, tokens.access_token)
            raise
        return Renewed(stored.session, before)

    async def _rechecked(self, before: Session, identity: Identity) -> Identity:
        try:
            return await self._recheck(before, identity)
        except Refusal as refusal:
            if refusal.status == 403:
                raise
            _log.warning("a person could not be rechecked, what was known stays: %s (%s)", refusal.code, refusal.detail)
            return identity.with_directory(before.identity.directory)

    async def _keep(
        self, key: str, stored: Stored, tokens: TokenResponse, change: Callable[[Session], Session]
    ) -> Stored:
        """Write `change` of the session as it is in Redis. Raises SessionOver, Overtaken, StoreUnavailable."""
        ours = (stored.session.refresh_token, tokens.refresh_token)
        host, app = stored.session.key_host, stored.session.app
        deadline, pause = self._clock() + _WRITING_SECONDS, 0.05
        while True:
            try:
                wanted = change(stored.session)
                if wanted == stored.session:
                    return stored
                await self._store.rewrite(key, stored, wanted)
                # Written or not (its keys were changed, somebody ended it): what is there now decides, and its very bytes.
                found = await self._store.fetch(key, host, app)
            except StoreUnavailable:
                # The answer of the provider exists nowhere but here.
                if self._clock() > deadline:
                    _log.error("new tokens of a session could not be stored and are lost")
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, _SLOWEST_RETRY)
                continue
            if found is None:
                raise SessionOver
            if found.session.refresh_token not in ours:
                raise Overtaken
            stored = found


def with_tokens(session: Session, tokens: TokenResponse) -> Session:
    """The new tokens under the old clock: still due. A provider that does not rotate says no refresh token: the old one stays."""
    return replace(
        session, access_token=tokens.access_token, refresh_token=tokens.refresh_token or session.refresh_token
    )


def ends_the_session(error: Exception) -> str | None:
    """The reason, where this outcome of an attempt ends the session; None where it may go on as it is."""
    if isinstance(error, RefreshRefused):
        return error.reason
    if isinstance(error, SignInFailed):
        # No published key fits: the keys could not be had yet (their throttle), which says nothing about the person.
        return None if error.reason == "key" else error.reason
    if isinstance(error, Refusal) and error.status == 403:
        return error.code
    return None


def failure_of(error: Exception) -> str:
    """A stable word for events."""
    if isinstance(error, ProviderUnavailable | ProviderFault | StoreUnavailable | Refusal):
        return error.code
    return "defect"
