"""Client authentication at the token endpoint.

client_secret_basic and client_secret_post (RFC 6749 section 2.3.1; `client_secret_basic_raw` leaves out its urlencoding),
private_key_jwt (RFC 7523, OpenID Connect Core 1.0 section 9), tls_client_auth and self_signed_tls_client_auth (RFC 8705: the connection
presents the certificate, and the form names the client), and none, for public clients.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote_plus

from joserfc.util import urlsafe_b64encode

from gateway.config.schema import ProviderKeys
from gateway.oidc.client_signature import ClientSigner
from gateway.oidc.metadata import ProviderMetadata

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ASSERTION_LIFETIME: Final = timedelta(minutes=1)


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
        self._signer = ClientSigner(openid) if self._method == "private_key_jwt" else None
        self._alg = openid.token_endpoint_auth_signing_alg
        self._audience = openid.assertion_audience
        if self._method.startswith("client_secret") and not self._secret:
            raise ValueError("openid.client_secret is missing")

    def prove(self, metadata: ProviderMetadata) -> Proof:
        """The fields for one request. Raises ProviderFault when the provider supports no algorithm of our key."""
        client = [("client_id", self._client_id)]
        if self._method.startswith("client_secret_basic"):
            return Proof(headers={"Authorization": self._basic()}, form=[])
        if self._method == "client_secret_post":
            return Proof(headers={}, form=[*client, ("client_secret", self._secret)])
        if self._signer is None:
            return Proof(headers={}, form=client)
        assertion = self._assertion(self._signer, metadata)
        form = [*client, ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]
        return Proof(headers={}, form=form)

    def _basic(self) -> str:
        # SECURITY: form-urlencoded first: a colon or a percent sign in them would be parsed as another pair.
        pair = f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}"
        if self._method == "client_secret_basic_raw":
            pair = f"{self._client_id}:{self._secret}"  # some providers expect it, against the RFC; used only when configured
        return "Basic " + b64encode(pair.encode()).decode("ascii")

    def _assertion(self, signer: ClientSigner, metadata: ProviderMetadata) -> str:
        issued_at = int(self._now().timestamp())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            # SECURITY: one value, never a list: an assertion for two servers lets each be this client at the other.
            "aud": metadata.issuer if self._audience == "issuer" else metadata.token_endpoint,
            "jti": urlsafe_b64encode(self._random(24)).decode("ascii"),
            "iat": issued_at,
            "exp": issued_at + int(_ASSERTION_LIFETIME.total_seconds()),
        }
        return signer.sign(claims, announced=metadata.client_assertion_algs, configured=self._alg)
