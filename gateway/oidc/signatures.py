"""Signed tokens: the keys and algorithms that may have signed one, and the verification of its signature.

Pure. The invariant: a token's own header chooses among the algorithms that we allow and the keys that the provider
published at its `jwks_uri`, and nothing else. Keys inside a header (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
JWS (RFC 7515), JWK (RFC 7517), JWA (RFC 7518), RFC 8037, RFC 8725.
"""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from gateway.oidc.strict_json import parse_object

#: Asymmetric ones only: with HS256 the published key, or the client secret, would be the signing key.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
LONGEST_TOKEN: Final = 64 * 1024

_LONGEST_HEADER: Final = 8 * 1024
_LONGEST_KID: Final = 512
_MOST_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8192 + 1)
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
_PUBLIC_MEMBERS: Final = frozenset(("kty", "n", "e", "crv", "x", "y", "use", "key_ops", "alg", "kid"))
_NUMBERS: Final = frozenset(("n", "e", "x", "y"))
_LONGEST_MEMBER: Final = 2048  # of a key: more than the modulus of 8192 bits


class JwtInvalid(Exception):
    """A token that failed a check; `reason` is a stable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields of a JOSE header that are used."""

    alg: str
    kid: str | None
    typ: str | None


def read_header(token: str, algorithms: Collection[str]) -> Header:
    """The header of a compact JWS, not verified yet. Raises JwtInvalid."""
    # SECURITY: nothing below decodes an unbounded token; five parts are a JWE, which is never decrypted.
    if len(token) > LONGEST_TOKEN or not token.isascii() or token.count(".") != 2:
        raise JwtInvalid("malformed", "not a compact JWS of a sane size")
    segment = token.partition(".")[0]
    if len(segment) > _LONGEST_HEADER:
        raise JwtInvalid("malformed", "header too long")
    try:
        header = parse_object(urlsafe_b64decode(segment.encode("ascii")))
    except ValueError as error:
        raise JwtInvalid("malformed", "header") from error
    # SECURITY: an extension that must be understood is not understood here, b64 included.
    if "crit" in header or "b64" in header:
        raise JwtInvalid("critical_header")
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    # SECURITY: none, HS* and all algorithms that the provider did not announce.
    if not isinstance(alg, str) or alg not in algorithms or alg not in ALGORITHMS:
        raise JwtInvalid("algorithm")
    if "kid" in header and not (isinstance(kid, str) and 0 < len(kid) <= _LONGEST_KID):
        raise JwtInvalid("key", "kid is not a short text")
    if "typ" in header and not isinstance(typ, str):
        raise JwtInvalid("type")
    return Header(alg=alg, kid=kid, typ=typ)


def verified_claims(token: str, keys: Sequence[Key], algorithms: Collection[str]) -> tuple[Header, dict[str, Any]]:
    """The header and payload of a token that one of `keys` signed. Raises JwtInvalid."""
    header = read_header(token, algorithms)
    able = candidates(keys, header.kid, header.alg)
    if not able:
        raise JwtInvalid("key", "no published key fits")
    payload = next(
        (payload for key in able if (payload := _verified_payload(token, key, header.alg)) is not None), None
    )
    if payload is None:
        raise JwtInvalid("signature")
    try:
        return header, parse_object(payload)
    except ValueError as error:
        raise JwtInvalid("malformed", "payload") from error


def candidates(keys: Sequence[Key], kid: str | None, alg: str) -> tuple[Key, ...]:
    """The keys that may have signed: of the right kind, use and algorithm, and with this `kid` where both have one.

    Without a `kid` in the token every key of the right kind is tried: the signature decides.
    """
    return tuple(key for key in keys if _fits(key, alg) and (kid is None or key.get("kid") in (None, kid)))


def parse_keys(raw: bytes) -> tuple[Key, ...]:
    """The usable keys of a JWK Set; others are ignored (RFC 7517 section 5). Raises ValueError for anything else."""
    entries = parse_object(raw).get("keys")
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
        raise ValueError("not a JWK Set of a sane size")
    return tuple(key for entry in entries if isinstance(entry, dict) and (key := _public_key(entry)) is not None)


def _public_key(entry: dict[str, Any]) -> Key | None:
    members = {name: value for name, value in entry.items() if name in _PUBLIC_MEMBERS}
    for name in _NUMBERS & members.keys():  # some providers write base64 with its padding
        if isinstance(members[name], str):
            members[name] = members[name].rstrip("=")
    if members.get("kty") not in ("RSA", "EC", "OKP") or any(
        len(str(value)) > _LONGEST_MEMBER for value in members.values()
    ):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # about short RSA keys, which are left out below
            key = JWKRegistry.import_key(members)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size not in _RSA_BITS:
        return None
    return key


def _fits(key: Key, alg: str) -> bool:
    if key.get("use") not in (None, "sig") or key.get("alg") not in (None, alg):
        return False
    operations = key.get("key_ops")
    if operations is not None and "verify" not in operations:
        return False
    if isinstance(key, ECKey | OKPKey):
        return _CURVES.get(alg) == key.curve_name
    return isinstance(key, RSAKey) and alg.startswith(("RS", "PS"))


def _verified_payload(token: str, key: Key, alg: str) -> bytes | None:
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length, registry.max_payload_length = _LONGEST_HEADER, LONGEST_TOKEN
    registry.max_signature_length = 2048
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SecurityWarning
            )  # EdDSA is the old name of Ed25519, and providers still use it
            return jws.deserialize_compact(token, key, registry=registry).payload
    except (JoseError, ValueError, TypeError):
        return None
