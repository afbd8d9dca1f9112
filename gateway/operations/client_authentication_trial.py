"""The trial of our client authentication at a provider: would its token endpoint accept this secret or key?

A made-up code is redeemed. RFC 6749 section 5.2: a server that accepts the client answers `invalid_grant`, one that does not `invalid_client`.
Some answer otherwise: Keycloak 401 with `unauthorized_client`, Auth0 401 with `access_denied`.
"""

import secrets
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from gateway.config.client_keys import client_keys
from gateway.config.providers import key_of, offered_by_app
from gateway.config.schema import Config, ProviderKeys
from gateway.directory.account import quotable
from gateway.errors.signing_in import ProviderFault, ProviderUnavailable
from gateway.gate.site import app_routes
from gateway.oidc.calls import ProviderResponse
from gateway.oidc.provider import Provider
from gateway.oidc.tokens import TokenClient

_REFUSALS: Final = frozenset({"invalid_client", "unauthorized_client", "access_denied"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthenticationTrial:
    """What the token endpoint made of us. `seen` is one line: its status, and its error with the description."""

    verdict: Literal["accepted", "refused", "unknown"]
    seen: str


async def try_client_authentication(
    config: Config, name: str, settings: ProviderKeys, provider: Provider, *, control: bool = False
) -> ClientAuthenticationTrial:
    """One trial at the provider called `name`, whose metadata are known.

    `control`: where the answer is `invalid_grant`, try a made-up secret too. A server that answers the same then has looked at the code
    first, so nothing is known.
    """
    redirect_uri = _redirect_uri(config, name)
    trial = await _try(TokenClient(provider, settings), provider, redirect_uri)
    if trial.verdict != "accepted":
        return _explained(trial, key_of(name))
    if control and settings.client_authentication != "none":
        made_up = _with_made_up_credentials(settings)
        if (await _try(TokenClient(provider, made_up), provider, redirect_uri)).verdict == "accepted":
            seen = f"it answers a made-up code alike with our secret and with a made-up one ({trial.seen})"
            return ClientAuthenticationTrial(verdict="unknown", seen=seen)
    return trial


async def _try(client: TokenClient, provider: Provider, redirect_uri: str) -> ClientAuthenticationTrial:
    form = [
        ("grant_type", "authorization_code"),
        ("code", secrets.token_urlsafe(32)),
        ("redirect_uri", redirect_uri),
        ("code_verifier", secrets.token_urlsafe(48)),
    ]
    try:
        return _judge(await client.post("token", provider.metadata.token_endpoint, form, client.dpop_key()))
    except (ProviderUnavailable, ProviderFault) as refusal:
        return ClientAuthenticationTrial(verdict="unknown", seen=refusal.detail)


def _judge(response: ProviderResponse) -> ClientAuthenticationTrial:
    try:
        body = response.json()
    except ProviderFault:
        body = {}
    error, text = body.get("error"), body.get("error_description")
    said = ": ".join(quotable(part) for part in (error, text) if isinstance(part, str) and part)
    seen = f"status {response.status}, {said or 'no OAuth error'}"
    if error == "invalid_grant":
        return ClientAuthenticationTrial(verdict="accepted", seen=seen)
    refused = error in _REFUSALS or response.status == 401
    return ClientAuthenticationTrial(verdict="refused" if refused else "unknown", seen=seen)


def _explained(trial: ClientAuthenticationTrial, place: str) -> ClientAuthenticationTrial:
    if trial.verdict != "refused":
        return trial
    keys = f"{place}.client_id, its secret or key, and {place}.client_authentication"
    return ClientAuthenticationTrial(
        verdict="refused", seen=f"sign-ins fail: compare {keys} with the provider's ({trial.seen})"
    )


def _redirect_uri(config: Config, name: str) -> str:
    """One that is registered for this provider, because some compare it before the rest."""
    routes = {route.name: route for route in app_routes(config)}
    app = next((app for app, names in offered_by_app(config).items() if name in names), next(iter(routes)))
    return routes[app].redirect_uri(name)


def _with_made_up_credentials(settings: ProviderKeys) -> ProviderKeys:
    """The same client with another secret, or another key of the same kind; another client where a certificate authenticates it."""
    update: dict[str, SecretStr | str] = {}
    if settings.client_authentication in ("tls_client_auth", "self_signed_tls_client_auth"):
        update["client_id"] = secrets.token_urlsafe(16)
    if settings.client_secret is not None:
        update["client_secret"] = SecretStr(secrets.token_urlsafe(32))
    if keys := client_keys(settings):
        made = _key_like(keys[0].key.private_key)
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        update["client_private_key"] = SecretStr(pem.decode("ascii"))
    return settings.model_copy(update=update)


def _key_like(key: object) -> RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey:
    if isinstance(key, EllipticCurvePrivateKey):
        return generate_private_key(key.curve)
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
