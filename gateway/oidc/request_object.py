"""Authorization requests as request objects: JWTs that we sign, so that neither browser nor network can change them (RFC 9101).

The invariant: beside an object stand only parameters that OpenID Connect wants there too, with the same values.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc.util import urlsafe_b64encode

from gateway.config.schema import ProviderKeys
from gateway.oidc.client_signature import ClientSigner
from gateway.oidc.metadata import ProviderMetadata

TYP: Final = "oauth-authz-req+jwt"
LIFETIME: Final = timedelta(minutes=5)  # a browser that is asked for a certificate, or a slow phone, has time to arrive

_BESIDE: Final = ("response_type", "client_id", "scope")  # OpenID Connect Core 1.0 section 6.1
_NUMBERS: Final = ("max_age",)


class RequestObjects:
    """Signs requests with `request_object_signing_alg`. Raises ValueError when there is no usable key. `random` as in ClientAuthentication."""

    def __init__(
        self,
        settings: ProviderKeys,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._alg = settings.request_object_signing_alg
        self._skew = settings.clock_skew
        self._signer = ClientSigner(settings)
        self._now = now
        self._random = random

    def in_url(self, parameters: Sequence[tuple[str, str]], metadata: ProviderMetadata) -> list[tuple[str, str]]:
        """What a browser carries of a request. Raises ProviderFault when the provider lists no algorithm of ours."""
        beside = [(name, value) for name, value in parameters if name in _BESIDE]
        return [*beside, ("request", self._sign(parameters, metadata))]

    def pushed(self, parameters: Sequence[tuple[str, str]], metadata: ProviderMetadata) -> list[tuple[str, str]]:
        """What is pushed of a request (RFC 9126 section 3). Raises ProviderFault."""
        client = [(name, value) for name, value in parameters if name == "client_id"]
        return [*client, ("request", self._sign(parameters, metadata))]

    def _sign(self, parameters: Sequence[tuple[str, str]], metadata: ProviderMetadata) -> str:
        request = dict(parameters)
        issued_at = int(self._now().timestamp())
        claims: dict[str, Any] = {
            **request,
            **{name: int(request[name]) for name in _NUMBERS if name in request},
            # SECURITY: one audience and a short life: elsewhere, and later, the object is worth nothing.
            "iss": request["client_id"],
            "aud": metadata.issuer,
            "iat": issued_at,
            "nbf": issued_at - int(self._skew.total_seconds()),
            "exp": issued_at + int(LIFETIME.total_seconds()),
            "jti": urlsafe_b64encode(self._random(24)).decode("ascii"),
        }
        return self._signer.sign(claims, announced=metadata.request_object_algs, configured=self._alg, typ=TYP)
