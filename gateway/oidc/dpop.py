"""Proofs that we hold the key to which an access token is bound (DPoP, RFC 9449).

A sign-in has a key of its own: it follows from the secrets of the LoginAttempt, so that each worker finds it again, and stands as a JWK in the
sealed record of the session once there is a refresh token. The invariant: a token that was asked for with a proof is used with proofs alone.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, KeyParameters, OKPKey
from joserfc.util import urlsafe_b64encode

from gateway.errors.signing_in import ProviderFault
from gateway.oidc.calls import ProviderResponse
from gateway.oidc.strict_json import parse_object

_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # section 8.1
_MOST_ORIGINS: Final = 16


def derive_dpop_key(seed: bytes, alg: str) -> str:
    """The private key that follows from 32 secret bytes, as a JWK."""
    parameters: KeyParameters = {"alg": alg}
    key = (
        ECKey.derive_key(seed, _CURVES[alg], parameters)
        if alg in _CURVES
        else OKPKey.derive_key(seed, "Ed25519", parameters)
    )
    return json.dumps(key.as_dict(private=True), separators=(",", ":"))


def dpop_jkt(key: str) -> str:
    """The thumbprint (RFC 7638) of a key from `derive_dpop_key`: the parameter of an authorization request (section 10)."""
    return _import(key).thumbprint()


class DpopProofs:
    """The proofs for one provider, with the nonces that it gave. `random(n)` gives n random bytes."""

    def __init__(self, now: Callable[[], datetime], random: Callable[[int], bytes]) -> None:
        self._now = now
        self._random = random
        self._nonces: dict[str, str] = {}  # by origin

    def new_key(self, alg: str) -> str:
        """A random key, as a JWK."""
        return derive_dpop_key(self._random(32), alg)

    def proof(self, key: str, method: str, url: str, access_token: str | None = None) -> str:
        """The value of the field `DPoP` of one request (section 4.2). Raises ProviderFault for a key that is none."""
        private = _import(key)
        alg, parts = str(private.get("alg")), urlsplit(url)
        claims: dict[str, Any] = {
            "jti": urlsafe_b64encode(self._random(24)).decode("ascii"),
            "htm": method,
            "htu": urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            "iat": int(self._now().timestamp()),
        }
        if access_token is not None:
            digest = hashlib.sha256(access_token.encode("ascii")).digest()
            claims["ath"] = urlsafe_b64encode(digest).decode("ascii")
        if (nonce := self._nonces.get(_origin(url))) is not None:
            claims["nonce"] = nonce
        public = {
            name: value for name, value in private.as_dict(private=False).items() if name in ("kty", "crv", "x", "y")
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA is the old name of Ed25519, and the usual one
            return jwt.encode({"typ": "dpop+jwt", "alg": alg, "jwk": public}, claims, private, algorithms=[alg])

    async def send(
        self,
        send: Callable[[Mapping[str, str]], Awaitable[ProviderResponse]],
        method: str,
        url: str,
        key: str | None,
        access_token: str | None = None,
    ) -> ProviderResponse:
        """The response to a request, which `send` sends with the given fields: with a proof where there is a key.

        It is sent once more, with a new proof, where the provider asks for its nonce (section 8). Raises what `send` raises.
        """
        if key is None:
            return await send({})
        response = await send({"DPoP": self.proof(key, method, url, access_token)})
        # Once: a provider that asks again and again gets no third request.
        if self._keep_nonce(url, response) and _asks_for_nonce(response):
            response = await send({"DPoP": self.proof(key, method, url, access_token)})
            self._keep_nonce(url, response)
        return response

    def _keep_nonce(self, url: str, response: ProviderResponse) -> bool:
        """Keep the nonce of a response for the next request to the same origin; True: it is a new one."""
        nonce, origin = response.dpop_nonce, _origin(url)
        if nonce is None or not _NONCE.fullmatch(nonce):
            return False
        if origin not in self._nonces and len(self._nonces) >= _MOST_ORIGINS:
            self._nonces.clear()
        known, self._nonces[origin] = self._nonces.get(origin), nonce
        return nonce != known


def _asks_for_nonce(response: ProviderResponse) -> bool:
    if response.status not in (400, 401):
        return False
    if "use_dpop_nonce" in response.www_authenticate:
        return True
    try:
        return parse_object(response.body).get("error") == "use_dpop_nonce"
    except ValueError:
        return False


def _import(key: str) -> ECKey | OKPKey:
    try:
        private = JWKRegistry.import_key(json.loads(key))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ProviderFault("the DPoP key of the session cannot be read") from error
    if not isinstance(private, ECKey | OKPKey) or not private.is_private:
        raise ProviderFault("the DPoP key of the session is no private key")
    return private


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
