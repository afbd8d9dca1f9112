"""Every provider that people may sign in at, each with us as its client: its settings, its keys, its token endpoint.

The invariant: nothing of one provider is ever used for another. Each has its own metadata, key cache, connections (a private
CA is trusted for its own provider alone) and client authentication.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp

from gateway.config.providers import offered_by_app, providers_of
from gateway.config.schema import Config, ProviderKeys
from gateway.identity.claims import EMAIL_CLAIM, Identity, is_at
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.oidc.refresh import RefreshClient
from gateway.oidc.tokens import TokenClient
from gateway.sessions.session import Session


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


def is_issuer(issuer: str, settings: ProviderKeys) -> bool:
    """As metadata are judged: a slash at the end makes no difference."""
    return issuer.removesuffix("/") == settings.authority_url.removesuffix("/")


class Providers:
    """By name, in the order of the configuration; `offered` says which of them each app offers. To be made in a running loop."""

    def __init__(
        self,
        settings: Mapping[str, ProviderKeys],
        offered: Mapping[str, Sequence[str]],
        now: Callable[[], datetime],
        *,
        allow_insecure_http: bool = False,
    ) -> None:
        self._offered = offered
        self._believed: set[tuple[str, str, str]] = set()  # few: what the configuration names
        self._mapped = {
            name: keys.verified_email_domains for name, keys in settings.items() if keys.claims.email != EMAIL_CLAIM
        }
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

    def of(self, session: Session) -> ProviderClient | None:
        """The provider that a session began at; None when the configuration does not have it any more."""
        return self._clients.get(session.provider)

    def refreshing(self, session: Session) -> RefreshClient | None:
        client = self.of(session)
        return client.refresh if client is not None else None

    def accepts(self, session: Session) -> bool:
        """Whether people may still sign in to the session's app as this session began."""
        # SECURITY: who is believed is decided by the configuration of now: a provider that an app no longer offers, or that
        # has become another one under the same name, vouches for nobody there.
        if session.provider in self._mapped and not self._vouches(session.provider, session.identity):
            return False
        facts = (session.app, session.provider, session.identity.issuer)
        if facts in self._believed:
            return True
        client = self._clients.get(session.provider)
        if client is None or session.provider not in self._offered.get(session.app, ()):
            return False
        if not is_issuer(session.identity.issuer, client.settings):
            return False
        self._believed.add(facts)
        return True

    def _vouches(self, provider: str, identity: Identity) -> bool:
        """Whether an address that counts as verified would still do so, at a provider whose `claims.email` is another claim."""
        # SECURITY: releases before this one took such an address for verified, and a domain may have left the list since.
        address = identity.vouched_email
        return address is None or is_at(address, self._mapped[provider])

    def issuing(self, issuer: str, audience: object) -> ProviderClient | None:
        """Who could have issued a token that says this of itself; the token is yet to be verified."""
        able = [client for client in self if is_issuer(issuer, client.settings)]
        named = audience if isinstance(audience, list) else [audience]
        return next((client for client in able if client.settings.client_id in named), able[0] if able else None)

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


def open_providers(config: Config, now: Callable[[], datetime]) -> Providers:
    """Those of a configuration; none where nobody signs in."""
    settings = providers_of(config) if config.openid.enabled else {}
    return Providers(settings, offered_by_app(config), now, allow_insecure_http=config.allow_insecure_http)
