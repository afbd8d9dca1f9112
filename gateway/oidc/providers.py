"""Every provider that people may sign in at, each with us as its client: its settings, its keys, its token endpoint.

The invariant: nothing of one provider is ever used for another. Each has its own metadata, key cache, connections (a private
CA is trusted for its own provider alone) and client authentication.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp

from gateway.config.schema import ProviderKeys
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.oidc.refresh import RefreshClient
from gateway.oidc.tokens import TokenClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderClient:
    """One provider, and us as its client."""

    name: str
    settings: ProviderKeys
    provider: Provider
    tokens: TokenClient
    refresh: RefreshClient


def provider_client(
    name: str, settings: ProviderKeys, provider: Provider, now: Callable[[], datetime]
) -> ProviderClient:
    """Raises ValueError when the client's secret or key is missing."""
    tokens = TokenClient(provider, settings, now=now)
    refresh = RefreshClient(provider, settings, tokens, now)
    return ProviderClient(name=name, settings=settings, provider=provider, tokens=tokens, refresh=refresh)


class Providers:
    """By name, in the order of the configuration. To be made in a running loop."""

    def __init__(
        self, settings: Mapping[str, ProviderKeys], now: Callable[[], datetime], *, allow_insecure_http: bool = False
    ) -> None:
        self._connections: Final[list[aiohttp.ClientSession]] = []
        self._clients: Final[dict[str, ProviderClient]] = {}
        for name, keys in settings.items():
            http = open_session(keys.ca)
            self._connections.append(http)
            provider = Provider(keys, http, allow_insecure_http=allow_insecure_http)
            self._clients[name] = provider_client(name, keys, provider, now)

    def __iter__(self) -> Iterator[ProviderClient]:
        return iter(self._clients.values())

    def __getitem__(self, name: str) -> ProviderClient:
        return self._clients[name]

    def get(self, name: str) -> ProviderClient | None:
        return self._clients.get(name)

    def start(self) -> None:
        for client in self:
            client.provider.start()

    async def wait_asked(self, seconds: float) -> None:
        """Until each was asked once, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for client in self:
                    await client.provider.asked.wait()

    async def close(self) -> None:
        await asyncio.gather(*(client.provider.close() for client in self))
        await asyncio.gather(*(http.close() for http in self._connections))
