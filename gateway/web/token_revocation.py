"""Revokes the tokens of ended sessions at the provider (RFC 7009): the refresh token first, then the access token.

The provider has two seconds to answer; the sessions have ended in any case. A failure is an event. No one else ever held these
tokens, and our records of them are deleted.
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
_MOST: Final = 50  # sessions of one sign-out: a script that signs in all day must not flood the provider


class TokenRevocation:
    """Revokes tokens of many sessions at once. Raises nothing."""

    def __init__(self, providers: Providers, audit: Audit) -> None:
        self._providers = providers
        self._audit = audit

    async def __call__(self, sessions: Sequence[Session], request_id: str) -> None:
        await asyncio.gather(*(self._revoke_or_emit(session, request_id) for session in sessions[:_MOST]))

    async def _revoke_or_emit(self, session: Session, request_id: str) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                reason = await self._revoke(session)
        except TimeoutError:
            reason = "timeout"
        except Refusal as refusal:
            reason = refusal.code
        if reason is not None:
            self._audit.emit(
                audit.TOKEN_REVOCATION_FAILED,
                app=session.app,
                session=session.sid,
                request_id=request_id,
                reason=reason,
            )

    async def _revoke(self, session: Session) -> str | None:
        """The reason of a failure, as a stable word; None when it succeeded, or the provider has no revocation endpoint."""
        held = [(session.refresh_token, "refresh_token"), (session.access_token, "access_token")]
        client = self._providers.of(session)
        if client is None or not client.tokens.can_revoke:
            return None
        done = [await client.tokens.revoke(token, hint) for token, hint in held if token is not None]
        return None if all(done) else "refused"
