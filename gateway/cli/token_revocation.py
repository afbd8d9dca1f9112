"""Tokens of sessions that an operator ended, given back to their providers (RFC 7009) where the operator asks for that."""

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

GiveBack = Callable[[Sequence[Session]], Awaitable[None]]


@asynccontextmanager
async def token_return(config: Config, events: Audit) -> AsyncIterator[GiveBack]:
    """What takes ended sessions, a few at a time. What a provider does not take is an event, and stops nothing."""
    providers = open_providers(config, lambda: datetime.now(UTC))
    revoke = TokenRevocation(providers, events)

    async def give_back(sessions: Sequence[Session]) -> None:
        for start in range(0, len(sessions), _AT_ONCE):
            await revoke(sessions[start : start + _AT_ONCE], "-")

    try:
        for client in providers:
            try:
                await client.provider.ping()
            except Refusal as refusal:
                err.print(f"provider {client.name}: {refusal.detail}")
        yield give_back
    finally:
        await providers.close()


@asynccontextmanager
async def no_return() -> AsyncIterator[GiveBack]:
    """Nobody is asked."""

    async def keep(sessions: Sequence[Session]) -> None:
        return None

    yield keep
