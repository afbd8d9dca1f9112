"""All configured providers, each with us as its client: settings, keys, token endpoint.

The invariant: nothing of one provider is used for another. Each has its own metadata, key cache, connections (a private
CA is trusted for its own provider alone) and client authentication.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import aiohttp

from gateway.config.providers import offered_by_app, providers_of
from gateway.config.schema import Config, ProviderKeys
from gateway.identity.claims import EMAIL_CLAIM, Identity, is_at
from gateway.observability.counters import Durations
from gateway.oidc.authorization_client import AuthorizationClient
from gateway.oidc.calls import Calls, open_session
from gateway.oidc.provider import Provider
from gateway.oidc.refresh import RefreshClient
from gateway.oidc.request_object import RequestObjects
from gateway.oidc.tokens import TokenClient
from gateway.redis_client.sightings import Sightings
from gateway.sessions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderClient:
    """One provider, and us as its client."""

    name: str
    settings: ProviderKeys
    provider: Provider
    authorization: AuthorizationClient
    tokens: TokenClient
    refresh: RefreshClient


def provider_client(
    name: str,
    settings: ProviderKeys,
    provider: Provider,
    now: Callable[[], datetime],
    sightings: Sightings | None = None,
) -> ProviderClient:
    """Raises ValueError when the client's secret or key is missing."""
    tokens = TokenClient(provider, settings, now=now, name=name, sightings=sightings)
    refresh = RefreshClient(provider, settings, tokens, now)
    objects = RequestObjects(settings, now) if settings.request_object_signing_alg is not None else None
    authorization = AuthorizationClient(provider, settings.client_id, tokens, objects)
    return ProviderClient(
        name=name, settings=settings, provider=provider, authorization=authorization, tokens=tokens, refresh=refresh
    )


class Providers:
    """By name, in the order of the configuration; `offered` has the providers of each app. To be made in a running loop."""

    def __init__(
        self,
        settings: Mapping[str, ProviderKeys],
        offered: Mapping[str, Sequence[str]],
        now: Callable[[], datetime],
        *,
        allow_insecure_http: bool = False,
        durations: Durations | None = None,
        sightings: Sightings | None = None,
    ) -> None:
        self._offered = offered
        self._accepted: set[tuple[str, str, str]] = set()  # (app, provider, issuer); a few, as the configuration names
        self._mapped = {
            name: keys.verified_email_domains for name, keys in settings.items() if keys.claims.email != EMAIL_CLAIM
        }
        self._connections: Final[list[aiohttp.ClientSession]] = []
        self._clients: Final[dict[str, ProviderClient]] = {}
        for name, keys in settings.items():
            http = open_session(keys.ca, keys.client_tls.files)
            self._connections.append(http)
            calls = Calls(http, timer=partial((durations or Durations()).of, "provider", name))
            provider = Provider(keys, http, allow_insecure_http=allow_insecure_http, calls=calls)
            self._clients[name] = provider_client(name, keys, provider, now, sightings)

    def __iter__(self) -> Iterator[ProviderClient]:
        return iter(self._clients.values())

    def __getitem__(self, name: str) -> ProviderClient:
        return self._clients[name]

    def get(self, name: str) -> ProviderClient | None:
        return self._clients.get(name)

    def of(self, session: Session) -> ProviderClient | None:
        """The provider that a session began at; None when the configuration does not have it any more."""
        return self._clients.get(session.provider)

    def refresh_client_of(self, session: Session) -> RefreshClient | None:
        """The refresh client of a session's provider; None when the configuration does not have it any more."""
        client = self.of(session)
        return client.refresh if client is not None else None

    def accepts(self, session: Session) -> bool:
        """Whether the configuration still allows a sign-in to the session's app as this session began."""
        # SECURITY: the configuration of now decides: a session ends when its app no longer offers its provider, or when another
        # provider has the same name now.
        if session.provider in self._mapped and not self._email_still_verified(session.provider, session.identity):
            return False
        origin = (session.app, session.provider, session.identity.issuer)
        if origin in self._accepted:
            return True
        client = self._clients.get(session.provider)
        if client is None or session.provider not in self._offered.get(session.app, ()):
            return False
        if session.identity.issuer not in client.settings.issuers:
            return False
        self._accepted.add(origin)
        return True

    def _email_still_verified(self, provider: str, identity: Identity) -> bool:
        """Whether the session's verified address would still be verified, at a provider whose `claims.email` is another claim."""
        # SECURITY: earlier releases took such an address for verified, and a domain may have left the list since.
        address = identity.vouched_email
        return address is None or is_at(address, self._mapped[provider])

    def of_issuer(self, issuer: str, audience: object) -> ProviderClient | None:
        """The provider whose keys may verify a token with this `iss` and `aud`; None: no provider has this issuer."""
        found = [client for client in self if issuer in client.settings.issuers]
        named = audience if isinstance(audience, list) else [audience]
        return next((client for client in found if client.settings.client_id in named), found[0] if found else None)

    def start(self) -> None:
        """Begin to fetch metadata and keys, in the running loop."""
        for client in self:
            client.provider.start()

    async def wait_for_first_fetch(self, seconds: float) -> None:
        """Wait until each provider was fetched once, successfully or not, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for client in self:
                    await client.provider.attempted.wait()

    async def close(self) -> None:
        await asyncio.gather(*(client.provider.close() for client in self))
        await asyncio.gather(*(http.close() for http in self._connections))


def open_providers(
    config: Config,
    now: Callable[[], datetime],
    durations: Durations | None = None,
    sightings: Sightings | None = None,
) -> Providers:
    """The providers of a configuration; none where no person can sign in.

    `durations`: where the calls to them are timed; `sightings`: where it is kept which claims they sent.
    """
    settings = providers_of(config) if config.has_sign_in else {}
    return Providers(
        settings, offered_by_app(config), now, allow_insecure_http=config.allow_insecure_http, durations=durations,
        sightings=sightings,
    )  # fmt: skip
