"""What `/ready` tells of each dependency: asked again and again in the background, remembered by name."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from gateway.config.openid import DEFAULT_PROVIDER
from gateway.directory.account import Directory
from gateway.errors import ProviderUnavailable, Refusal
from gateway.oidc.provider import Provider
from gateway.oidc.providers import Providers
from gateway.sessions.store import SessionStore

_SECONDS: Final = 2.0
_ASK_EVERY: Final = 30  # rounds: providers and the directory are asked once a minute


def dependency_of(provider: str) -> str:
    """What a provider is called where dependencies are listed."""
    return "provider" if provider == DEFAULT_PROVIDER else f"provider:{provider}"


class Health:
    """`states`: a dependency's name to `ok`, or the code of what is wrong."""

    def __init__(self, store: SessionStore, providers: Providers, directory: Directory | None) -> None:
        self.states: dict[str, str] = {}
        self._store = store
        self._providers = providers
        self._directory = directory

    async def watch(self) -> None:
        """Until cancelled."""
        rounds = 0
        while True:
            await self._check("redis", self._store.ping())
            for client in self._providers:
                await self._check(
                    dependency_of(client.name), _ask_provider(client.provider, now=rounds % _ASK_EVERY == 0)
                )
            if self._directory is not None and rounds % _ASK_EVERY == 0:
                await self._check("directory", self._directory.ping())
            rounds += 1
            await asyncio.sleep(_SECONDS)

    async def _check(self, name: str, question: Coroutine[Any, Any, object]) -> None:
        try:
            await question
        except Refusal as refusal:
            self.states[name] = refusal.code
        else:
            self.states[name] = "ok"


async def _ask_provider(provider: Provider, *, now: bool) -> None:
    """What was heard last; asked anew now and then. Raises ProviderUnavailable or ProviderFault."""
    if now and provider.ready:
        await provider.ping()
    elif not provider.ready or provider.problem is not None:
        raise ProviderUnavailable(provider.problem or "keys not fetched yet")
