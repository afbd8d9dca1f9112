"""The providers whose tokens an app accepts: its own, and further ones by their issuer alone.

A further issuer has a key cache and connections of its own, as each provider has, and its claims are read as those of the app's first
provider. We are no client there: it is no way to sign in.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from gateway.config.providers import offered
from gateway.config.schema import App, BearerSettings, Config, ProviderKeys
from gateway.oidc.calls import open_session
from gateway.oidc.introspection import IntrospectionClient
from gateway.oidc.provider import Provider
from gateway.oidc.providers import Providers


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """One issuer for one app: the keys, and how its claims are read. `name` is the provider's in the file, else the issuer itself."""

    name: str
    provider: Provider
    settings: ProviderKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIssuers:
    """Whose tokens one app accepts. `by_issuer` has each `iss`; `introspection` asks the app's first provider, None where it is off."""

    bearer: BearerSettings
    by_issuer: Mapping[str, TokenIssuer]
    first: TokenIssuer
    introspection: IntrospectionClient | None


class TokenIssuers:
    """Those of all apps with a `bearer` section. To be made in a running loop; `on_keys()` is called when an issuer has other keys."""

    def __init__(self, config: Config, providers: Providers, on_keys: Callable[[], None]) -> None:
        self._connections: Final[list[aiohttp.ClientSession]] = []
        self._further: Final[dict[tuple[str, str], Provider]] = {}
        self._on_keys = on_keys
        self._insecure = config.allow_insecure_http
        self.by_app: Mapping[str, AppIssuers] = {
            name: self._of(config, app, app.bearer, providers)
            for name, app in config.apps.items()
            if app.bearer is not None
        }

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._further.values())

    def start(self) -> None:
        """Begin to fetch keys, in the running loop."""
        for provider in self:
            provider.start()

    async def close(self) -> None:
        await asyncio.gather(*(provider.close() for provider in self))
        await asyncio.gather(*(http.close() for http in self._connections))

    def _of(self, config: Config, app: App, bearer: BearerSettings, providers: Providers) -> AppIssuers:
        names = offered(config, app)
        clients = [providers[name] for name in names]
        for client in clients:
            client.provider.on_keys = self._on_keys
        own = [TokenIssuer(name=each.name, provider=each.provider, settings=each.settings) for each in clients]
        first = own[0]
        found = {issuer: each for each in reversed(own) for issuer in each.settings.issuers}
        for issuer in bearer.issuers:
            found.setdefault(issuer, self._further_issuer(issuer, names[0], first.settings))
        asks = IntrospectionClient(first.provider, clients[0].tokens) if bearer.introspection is not None else None
        return AppIssuers(bearer=bearer, by_issuer=found, first=first, introspection=asks)

    def _further_issuer(self, issuer: str, name: str, like: ProviderKeys) -> TokenIssuer:
        # SECURITY: nothing that makes us a client of one provider is used at another: no secret, no certificate, no tenant (D-32).
        settings = ProviderKeys(
            authority_url=issuer, issuer=issuer, client_id=like.client_id, claims=like.claims, groups_filter=like.groups_filter,
            require_verified_email=like.require_verified_email, verified_email_domains=like.verified_email_domains,
            email_domains=like.email_domains, clock_skew=like.clock_skew,
        )  # fmt: skip
        provider = self._further.get((issuer, name))
        if provider is None:
            http = open_session()
            self._connections.append(http)
            provider = Provider(settings, http, allow_insecure_http=self._insecure)
            provider.on_keys = self._on_keys
            self._further[issuer, name] = provider
        return TokenIssuer(name=issuer, provider=provider, settings=settings)
