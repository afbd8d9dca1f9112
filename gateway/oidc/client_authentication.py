"""Client authentication at the token endpoint.

client_secret_basic and client_secret_post (RFC 6749 section 2.3.1; `client_secret_basic_raw` leaves out its urlencoding),
private_key_jwt (RFC 7523, OpenID Connect Core 1.0 section 9), and none, for public clients.
"""

import json
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote_plus

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from gateway.config.schema import ProviderKeys
from gateway.errors.signing_in import ProviderFault
from gateway.oidc.metadata import ProviderMetadata

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ASSERTION_LIFETIME: Final = timedelta(minutes=1)
_EC_ALGORITHMS: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The fields that authenticate one request."""

    headers: dict[str, str]
    form: list[tuple[str, str]]


class ClientAuthentication:
    """Authenticates requests. The constructor raises ValueError when the secret or the key that the method needs is missing or unusable."""

    def __init__(self, openid: ProviderKeys, now: Callable[[], datetime], random: Callable[[int], bytes]) -> None:
        self._method = openid.client_authentication
        self._client_id = openid.client_id
        self._secret = openid.client_secret.get_secret_value() if openid.client_secret else ""
        self._now = now
        self._random = random
        self._key = _private_key(openid) if self._method == "private_key_jwt" else None
        if self._method.startswith("client_secret") and not self._secret:
            raise ValueError("openid.client_secret is missing")

    def prove(self, metadata: ProviderMetadata) -> Proof:
        """The fields for one request. Raises ProviderFault when the provider supports no algorithm of our key."""
        client = [("client_id", self._client_id)]
        if self._method.startswith("client_secret_basic"):
            return Proof(headers={"Authorization": self._basic()}, form=[])
        if self._method == "client_secret_post":
            return Proof(headers={}, form=[*client, ("client_secret", self._secret)])
        if self._key is None:
            return Proof(headers={}, form=client)
        assertion = self._assertion(self._key, metadata)
        form = [*client, ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]
        return Proof(headers={}, form=form)

    def _basic(self) -> str:
        # SECURITY: form-urlencoded first: a colon or a percent sign in them would be parsed as another pair.
        pair = f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}"
        if self._method == "client_secret_basic_raw":
            pair = f"{self._client_id}:{self._secret}"  # some providers expect it, against the RFC; used only when configured
        return "Basic " + b64encode(pair.encode()).decode("ascii")

    def _assertion(self, key: Key, metadata: ProviderMetadata) -> str:
        announced = metadata.client_assertion_algs
        able = _algorithms(key)
        alg = next((alg for alg in able if announced is None or alg in announced), None)
        if alg is None:
            raise ProviderFault(
                f"openid.client_private_key signs {', '.join(able)}; the provider supports none of them"
            )
        issued_at = int(self._now().timestamp())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": metadata.token_endpoint,
            "jti": urlsafe_b64encode(self._random(24)).decode("ascii"),
            "iat": issued_at,
            "exp": issued_at + int(_ASSERTION_LIFETIME.total_seconds()),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is the old name of Ed25519, and the usual one
            return jwt.encode({"alg": alg, "kid": key.kid}, claims, key, algorithms=[alg])


def _algorithms(key: Key) -> Sequence[str]:
    named = key.get("alg")
    if isinstance(named, str):
        return (named,)
    if isinstance(key, RSAKey):
        return ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512")
    if isinstance(key, ECKey) and key.curve_name in _EC_ALGORITHMS:
        return (_EC_ALGORITHMS[key.curve_name],)
    return ("EdDSA", "Ed25519") if isinstance(key, OKPKey) and key.curve_name == "Ed25519" else ()


def _private_key(openid: ProviderKeys) -> Key:
    """The key from a JWK or PEM. Raises ValueError, without any part of the key in its text."""
    text = openid.client_private_key.get_secret_value().strip() if openid.client_private_key else ""
    key: Key | None = None
    if text.startswith("{"):
        try:
            key = JWKRegistry.import_key(json.loads(text))
        except (JoseError, ValueError, TypeError, KeyError):
            key = None
    else:
        key = next((key for kind in (RSAKey, ECKey, OKPKey) if (key := _from_pem(kind, text)) is not None), None)
    if key is None or not key.is_private or not _algorithms(key):
        raise ValueError(
            "openid.client_private_key is not a private key; allowed: PEM or JWK, RSA, P-256/384/521 or Ed25519"
        )
    key.ensure_kid()
    return key


def _from_pem(kind: type[RSAKey] | type[ECKey] | type[OKPKey], text: str) -> Key | None:
    try:
        return kind.import_key(text)
    except (JoseError, ValueError, TypeError):
        return None
