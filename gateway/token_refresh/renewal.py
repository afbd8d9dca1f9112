"""One attempt to refresh one session, by the holder of its lease.

New tokens are stored at once, still due, so that no later failure loses them; then the claims are fetched, and only they make the
session fresh. OpenID Connect Core 1.0 section 12.
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
from gateway.identity.claims import Identity
from gateway.oidc.refresh import RefreshClient
from gateway.oidc.token_response import TokenResponse
from gateway.sessions.records import Stored
from gateway.sessions.renewal_hook import Recheck
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.token_refresh.schedule import access_times

_log = logging.getLogger("doorward.refresh")

_WRITING_SECONDS: Final = 600.0  # how long writing new tokens is tried while Redis fails
_SLOWEST_RETRY: Final = 2.0


class SessionOver(Exception):
    """The session ended while its tokens were renewed; the new tokens are not stored."""


class Overtaken(Exception):
    """Another attempt renewed the session meanwhile: its tokens count."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The session after and before an attempt."""

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
        """Refresh the tokens, then the claims, of the session that is stored under `key`.

        Raises SignInFailed (RefreshRefused among them) or a Refusal with status 403 where the session must end; ProviderUnavailable,
        ProviderFault, StoreUnavailable where it may go on as it is; SessionOver, Overtaken.
        """
        before = stored.session
        tokens = await client.refresh(before.refresh_token or "", before.dpop_key)
        received_at = self._now()
        try:
            stored = await self._keep(key, stored, tokens, lambda session: with_tokens(session, tokens))
            claims = await client.claims(before, tokens)
            identity = await self._rechecked(before, await client.identify(claims))

            def renew(session: Session) -> Session:
                times = access_times(tokens.expires_in, session.refresh_token, received_at)
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
            _log.warning(
                "a person could not be rechecked, the directory facts stay as they were: %s (%s)",
                refusal.code,
                refusal.detail,
            )
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
                # Written or not (it was sealed with a new key, or ended): the record that is there now decides.
                found = await self._store.fetch(key, host, app)
            except StoreUnavailable:
                # The new tokens exist nowhere but here.
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
    """The session with new tokens, its refresh still due. A provider that does not rotate sends no refresh token: the old one stays."""
    refresh_token = tokens.refresh_token or session.refresh_token
    return replace(session, access_token=tokens.access_token, refresh_token=refresh_token, dpop_key=tokens.dpop_key)


def ends_the_session(error: Exception) -> str | None:
    """The reason, where an error of an attempt ends the session; None where it may go on as it is."""
    if isinstance(error, RefreshRefused):
        return error.reason
    if isinstance(error, SignInFailed):
        # No published key fits: the keys could not be fetched yet (their throttle), which is no verdict on the person.
        return None if error.reason == "key" else error.reason
    if isinstance(error, Refusal) and error.status == 403:
        return error.code
    return None


def failure_of(error: Exception) -> str:
    """The error's code, for events."""
    if isinstance(error, ProviderUnavailable | ProviderFault | StoreUnavailable | Refusal):
        return error.code
    return "defect"
