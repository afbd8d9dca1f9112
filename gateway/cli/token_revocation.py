"""Revokes the tokens of sessions that an operator ended, at their providers (RFC 7009); an option of the command."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from gateway.cli.printing import err
from gateway.config.schema import Config
from gateway.errors.refusal import Refusal
from gateway.observability.events import Audit
from gateway.oidc.providers import open_providers
from gateway.sessions.session import Session
from gateway.web.token_revocation import TokenRevocation

_AT_ONCE: Final = 20

RevokeTokens = Callable[[Sequence[Session]], Awaitable[None]]


@asynccontextmanager
async def token_revoker(config: Config, events: Audit) -> AsyncIterator[RevokeTokens]:
    """A function that revokes the tokens of ended sessions, 20 at a time. A failure is an event, and stops nothing."""
    providers = open_providers(config, lambda: datetime.now(UTC))
    revoke = TokenRevocation(providers, events)

    async def revoke_all(sessions: Sequence[Session]) -> None:
        for start in range(0, len(sessions), _AT_ONCE):
            await revoke(sessions[start : start + _AT_ONCE], "-")

    try:
        for client in providers:
            try:
                await client.provider.ping()
            except Refusal as refusal:
                err.print(f"provider {client.name}: {refusal.detail}")
        yield revoke_all
    finally:
        await providers.close()


@asynccontextmanager
async def no_revoker() -> AsyncIterator[RevokeTokens]:
    """A function that revokes nothing."""

    async def revoke_none(sessions: Sequence[Session]) -> None:
        return None

    yield revoke_none
