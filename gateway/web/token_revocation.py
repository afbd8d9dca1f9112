"""Tokens of sessions that were signed out are given back to the provider (RFC 7009): the refresh token first, then the access token.

As well as it can be done in two seconds: the sessions are over here whatever the provider says, and nobody waits longer. What could not be
given back is an event. Nobody but us ever held these tokens, and our records of them are gone.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.errors.refusal import Refusal
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.providers import Providers
from gateway.sessions.session import Session

_SECONDS: Final = 2.0
_MOST: Final = (
    50  # sessions of one sign-out: a person whose robot signs in all day must not become a flood at the provider
)


class TokenRevocation:
    """Raises nothing."""

    def __init__(self, providers: Providers, audit: Audit) -> None:
        self._providers = providers
        self._audit = audit

    async def __call__(self, sessions: Sequence[Session], request_id: str) -> None:
        await asyncio.gather(*(self._of(session, request_id) for session in sessions[:_MOST]))

    async def _of(self, session: Session, request_id: str) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                reason = await self._revoke(session)
        except TimeoutError:
            reason = "timeout"
        except Refusal as refusal:
            reason = refusal.code
        if reason is not None:
            self._audit.event(
                audit.TOKEN_REVOCATION_FAILED,
                app=session.app,
                session=session.sid,
                request_id=request_id,
                reason=reason,
            )

    async def _revoke(self, session: Session) -> str | None:
        """Why not, as a stable word; None: done, or the provider has no such endpoint."""
        held = [(session.refresh_token, "refresh_token"), (session.access_token, "access_token")]
        client = self._providers.of(session)
        if client is None or not client.tokens.can_revoke:
            return None
        done = [await client.tokens.revoke(token, hint) for token, hint in held if token is not None]
        return None if all(done) else "refused"
