"""The private keys by which the gateway authenticates at a provider: read from PEM or JWK, with the algorithms that each signs with.

The invariant: a key that is weaker than its algorithms ask for is none, and no part of a key is in a message. Pure.
RFC 7517, RFC 7518 section 3, RFC 8037, RFC 9864; for `profile: fapi2` FAPI 2.0 Security Profile section 5.4.1.
"""

import hashlib
import json
import re
import warnings
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

from gateway.config.sections.openid import ProviderKeys

#: PS256, ES256 and EdDSA with Ed25519, which has two names (RFC 9864).
FAPI_ALGORITHMS: Final = ("PS256", "ES256", "EdDSA", "Ed25519")

_RSA_ALGORITHMS: Final = ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512")
_EC_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}  # P-256, P-384, P-521
_FEWEST_RSA_BITS: Final = 2048
_PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e")
_PRIVATE_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_UNUSED_KIND: Final = "is of a kind that is not used here"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """A private key. `algorithms`: what it signs with, the preferred one first. `certificate`: base64 of the DER, where its PEM has one."""

    kid: str
    key: Key = field(repr=False)
    algorithms: tuple[str, ...]
    certificate: str | None = None

    @property
    def header(self) -> dict[str, str]:
        """The members of a JWS header that name the key (RFC 7515 section 4.1)."""
        if self.certificate is None:
            return {"kid": self.kid}
        thumbprint = hashlib.sha256(b64decode(self.certificate)).digest()
        return {"kid": self.kid, "x5t#S256": urlsafe_b64encode(thumbprint).decode("ascii")}

    def public_jwk(self) -> dict[str, Any]:
        """The public half, for the provider; `alg` only where the key has one algorithm."""
        members = self.key.as_dict(private=False)
        # SECURITY: members that are not public by name, d and the primes among them, do not leave this module (C-48).
        public: dict[str, Any] = {name: members[name] for name in _PUBLIC_MEMBERS if name in members}
        alg = {"alg": self.algorithms[0]} if len(self.algorithms) == 1 else {}
        chain = {"x5c": [self.certificate]} if self.certificate is not None else {}
        return {**public, "kid": self.kid, "use": "sig", **alg, **chain}


def client_keys(settings: ProviderKeys) -> tuple[ClientKey, ...]:
    """The keys of a provider's settings, in their order. Raises ValueError, whose text says what is wrong with one."""
    ids = settings.client_key_id
    return tuple(
        parse_client_key(text, kid=ids[place] if place < len(ids) else None, fapi=settings.profile == "fapi2")
        for place, text in enumerate(settings.client_private_keys)
    )


def certificate_key(certificate: str, private_key: str) -> ClientKey:
    """The key of a TLS client certificate, both in PEM: for a provider that knows it by itself (RFC 8705 section 2.2.2). Raises ValueError."""
    return parse_client_key(private_key + "\n" + certificate)


def parse_client_key(text: str, *, kid: str | None = None, fapi: bool = False) -> ClientKey:
    """The key in a PEM or JWK. Without `kid` it has the JWK's own, or its thumbprint (RFC 7638). Raises ValueError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # about short RSA keys, which are refused below
        key = _from_jwk(text) if text.lstrip().startswith("{") else _from_pem(text)
    able = tuple(_algorithms(key))
    if not able:
        raise ValueError(_UNUSED_KIND)
    named = key.get("alg")
    if named is not None:
        able = tuple(alg for alg in able if alg == named)
    if fapi:
        able = tuple(alg for alg in FAPI_ALGORITHMS if alg in able)
    if not able:
        raise ValueError(
            f"signs with none of {', '.join(FAPI_ALGORITHMS)}" if fapi else "has an alg that is not its own"
        )
    own = key.get("kid")
    kid = kid or (own if isinstance(own, str) and own else key.thumbprint())
    return ClientKey(kid=kid, key=key, algorithms=able, certificate=_certificate(text, key))


def _from_jwk(text: str) -> RSAKey | ECKey | OKPKey:
    try:
        jwk = json.loads(text)
    except ValueError as error:
        raise ValueError("is not JSON") from error
    try:
        key = JWKRegistry.import_key(jwk)
        if not isinstance(key, RSAKey | ECKey | OKPKey) or not key.is_private:
            raise ValueError
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError("is not a private JWK") from error
    return key


def _from_pem(text: str) -> RSAKey | ECKey | OKPKey:
    block = _PRIVATE_BLOCK.search(text)
    try:
        key = load_pem_private_key((block[0] if block else text).encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("is not a private key without a passphrase") from error
    if isinstance(key, RSAPrivateKey):
        return RSAKey(key, key)
    if isinstance(key, EllipticCurvePrivateKey):
        return ECKey(key, key)
    if isinstance(key, Ed25519PrivateKey):
        return OKPKey(key, key)
    raise ValueError(_UNUSED_KIND)


def _certificate(text: str, key: RSAKey | ECKey | OKPKey) -> str | None:
    """That of a PEM which has the key and its certificate. Raises ValueError."""
    if "-----BEGIN CERTIFICATE-----" not in text:
        return None
    try:
        certificate = load_pem_x509_certificates(text.encode())[0]
        own = certificate.public_key() == key.public_key
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("has a certificate that cannot be read") from error
    if not own:
        raise ValueError("has a certificate of another key")
    return b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")


def _algorithms(key: RSAKey | ECKey | OKPKey) -> Sequence[str]:
    if isinstance(key, OKPKey):
        return ("EdDSA", "Ed25519") if key.curve_name == "Ed25519" else ()
    private = key.private_key
    if isinstance(private, RSAPrivateKey):
        # SECURITY: a shorter one can be factored, and then another is this client.
        if private.key_size < _FEWEST_RSA_BITS:
            raise ValueError("is too short")
        return _RSA_ALGORITHMS
    # SECURITY: only the curves of the algorithms: a P-192, or a curve of another family, signs nothing.
    name = private.curve.name if private is not None else ""
    return (_EC_ALGORITHMS[name],) if name in _EC_ALGORITHMS else ()
