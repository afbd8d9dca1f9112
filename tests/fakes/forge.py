"""Tokens as honest and dishonest providers write them: any header, any payload, any signature."""

import hashlib
import hmac
import json
import warnings
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ALL = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")


@cache
def rsa_key(kid: str = "one") -> RSAKey:
    """One key a run and name: making them is slow."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@cache
def ec_key(curve: Any = "P-256", kid: str = "ec") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid, "use": "sig"})


@cache
def ed_key(kid: str = "ed") -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"})


def public(*keys: Key, **members: Any) -> dict[str, Any]:
    """A JWK Set of the public halves."""
    return {"keys": [key.as_dict(private=False, **members) for key in keys]}


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(claims: object, key: Key, alg: str = "RS256", **header: Any) -> str:
    """A correct signature under whatever header; a member that is None is left out."""
    members = {"alg": alg, "kid": key.kid, **header}
    return sign_raw(
        segment({name: value for name, value in members.items() if value is not None}), segment(claims), key, alg
    )


def sign_raw(header: str, payload: str, key: Key, alg: str) -> str:
    """Signs the two segments as they stand, however odd they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        model = jws.JWSRegistry(algorithms=list(ALL)).get_alg(alg)
    signature = model.sign(f"{header}.{payload}".encode(), key)
    return f"{header}.{payload}.{segment(signature)}"


def unsigned(claims: object, alg: str = "none", kid: str = "one") -> str:
    return f"{segment({'alg': alg, 'kid': kid})}.{segment(claims)}."


def hmac_signed(claims: object, secret: bytes, kid: str = "one") -> str:
    """HS256 with whatever an attacker may know: the published key in some form, or the client's secret."""
    body = f"{segment({'alg': 'HS256', 'kid': kid})}.{segment(claims)}"
    return f"{body}.{segment(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def altered(token: str) -> str:
    """The same token with one bit of its signature turned."""
    body, _, signature = token.rpartition(".")
    flipped = "A" if signature[10] != "A" else "B"
    return f"{body}.{signature[:10]}{flipped}{signature[11:]}"
