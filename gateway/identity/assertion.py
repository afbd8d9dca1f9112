"""The signed assertion of a person's identity, for upstreams that verify it: a JWT (RFC 7519) with ES256, its keys a JWK Set (RFC 7517).

The invariant: every assertion names its app (`aud`), its origin (`iss`) and its end (`exp`), and is at most LONGEST bytes: many servers refuse
a request whose fields are 8 KiB together. Pure, except for the randomness of a signature.
"""

import binascii
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey

from gateway.identity.claims import Identity

ASSERTION_LIFETIME: Final = timedelta(minutes=5)
LONGEST: Final = 4096
OMITTED: Final = "omitted"  # the claim that names those that are left out
#: Claims that are left out of an assertion that would be too long, each as a whole: a part of a list would look like all of it.
_LEFT_OUT_FIRST: Final = ("groups", "name", "preferred_username")
_SIGNATURE: Final = 2 + 86  # its base64url, and the dots
_SECONDS: Final = int(ASSERTION_LIFETIME.total_seconds())
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_ECDSA: Final = ECDSA(SHA256())


class Assertion(NamedTuple):
    """`token` is a compact JWT; `omitted` names the claims that it has no room for."""

    token: bytes
    omitted: tuple[str, ...]


class AssertionSigner:
    """Signs assertions. Each ring key has a key pair that is derived from it, so that all workers have the same.

    `header` is the encoded JOSE header, which every assertion begins with.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: the raw ring keys. The first signs, all are published. Raises ValueError without any."""
        if not keys:
            raise ValueError("no keys")
        self._keys = tuple(_derive(key) for key in keys)
        private_key = self._keys[0].private_key
        assert private_key is not None
        self._private_key = private_key
        header = {"typ": "JWT", "alg": "ES256", "kid": self._keys[0].kid}
        self.header = _base64url(json.dumps(header, separators=(",", ":")).encode())
        self._room = (LONGEST - len(self.header) - _SIGNATURE) * 3 // 4  # for the payload

    @property
    def kids(self) -> tuple[str, ...]:
        """The key ids (RFC 7638 thumbprints), in the order of the ring."""
        return tuple(str(key.kid) for key in self._keys)

    def sign(
        self, identity: Identity, *, issuer: str, audience: str, sid: str, now: datetime, groups: bool = True
    ) -> Assertion:
        """An assertion that is valid for five minutes. `issuer`: our origin; `audience`: the app; `sid`: the session's public handle.

        `groups`: whether it has them. Its claim OMITTED names what is left out for its length.
        """
        issued_at = int(now.timestamp())
        facts = {
            "iss": issuer,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + _SECONDS,
            "sub": identity.subject,
            "email": identity.vouched_email,
            "name": identity.name,
            "preferred_username": identity.preferred_username,
            "groups": identity.groups if groups else None,
            "provider": identity.issuer,
            "sid": sid,
        }
        claims = {name: value for name, value in facts.items() if value is not None}
        payload = msgspec.json.encode(claims)
        omitted: list[str] = []
        if len(payload) > self._room:
            payload = self._shortened(claims, omitted)
        # RFC 7515 section 5.1 written out: signing is the most expensive part of a request whose session is new to all workers.
        signed = b"%b.%b" % (self.header, _base64url(payload))
        r, s = decode_dss_signature(self._private_key.sign(signed, _ECDSA))
        token = b"%b.%b" % (signed, _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big")))  # RFC 7518 section 3.4
        return Assertion(token, tuple(omitted))

    def _shortened(self, claims: dict[str, Any], omitted: list[str]) -> bytes:
        """The payload, as short as it may be; what is left out is appended to `omitted`."""
        payload = msgspec.json.encode(claims)
        for name in _LEFT_OUT_FIRST:
            if len(payload) > self._room and claims.pop(name, None) is not None:
                omitted.append(name)
                payload = msgspec.json.encode({**claims, OMITTED: omitted})
        return payload

    def jwks(self) -> dict[str, Any]:
        """The public keys, for `/.well-known/doorward/jwks.json`."""
        return {"keys": [key.as_dict(private=False) for key in self._keys]}


def _base64url(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


def _derive(ring_key: bytes) -> ECKey:
    # No salt: the ring key is uniformly random already.
    options = {"salt": None, "info": b"doorward assertion es256"}
    return ECKey.derive_key(ring_key, "P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True, kdf_options=options)
