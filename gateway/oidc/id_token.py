"""The ID Token: the checks that make one the proof of this sign-in.

Pure. Every check of OpenID Connect Core 1.0 section 3.1.3.7, none of them optional; the signature is verified although
the token came over TLS from the token endpoint.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from gateway.errors.signing_in import IdTokenInvalid, StepUpUnmet
from gateway.oidc.registered_claims import (
    Verification,
    optional_text,
    require_audience,
    require_issuer,
    require_text,
    require_times,
    seconds,
)
from gateway.oidc.signatures import JwtInvalid, verified_claims
from gateway.oidc.strict_json import parse_object


def validate_id_token(
    token: str,
    verification: Verification,
    *,
    nonce: str,
    access_token: str | None = None,
    max_age: int | None = None,
    acr: Sequence[str] = (),
) -> dict[str, Any]:
    """The claims. Raises IdTokenInvalid, whose `reason` names the check that failed.

    `max_age` (seconds) and `acr` are those of the authorization request.
    """
    try:
        header, claims = verified_claims(token, verification.keys, (verification.metadata.id_token_alg,))
        require_issuer(claims, verification.metadata.issuer_for(claims))
        require_audience(claims, verification.client_id, authorized_party=True)
        require_times(claims, verification.now, verification.skew)
        require_text(claims, "sub", "subject")
        optional_text(claims, "sid", "session")
        _require_nonce(claims, nonce)
        _require_at_hash(claims, header.alg, access_token)
        authenticated = authentication_time(claims)
        latest = (verification.now + verification.skew).timestamp()
        if authenticated is not None and authenticated > latest:
            raise JwtInvalid("auth_time", "in the future")
        context = optional_text(claims, "acr", "acr")
    except JwtInvalid as error:
        raise IdTokenInvalid(error.reason, error.detail) from error
    # SECURITY: the parameters alone are not enough: the provider may return an old or weak sign-in all the same.
    now, skew = verification.now.timestamp(), verification.skew.total_seconds()
    if max_age is not None and (authenticated is None or authenticated + max_age + skew < now):
        raise StepUpUnmet("auth_time", "missing" if authenticated is None else "longer ago than max_age")
    if acr and context not in acr:
        raise StepUpUnmet("acr", "not one of acr_values")
    return claims


def validate_refreshed_id_token(
    token: str,
    verification: Verification,
    *,
    issuer: str,
    subject: str,
    before: Mapping[str, Any],
    access_token: str | None = None,
) -> dict[str, Any]:
    """The claims of an ID Token from a refresh (section 12.2). Raises IdTokenInvalid.

    `issuer` and `subject` are the session's, `before` the claims of its last ID Token. `auth_time` may differ, though the specification
    says otherwise: some providers write the time of the refresh. It is not used: the session keeps that of its sign-in.
    """
    try:
        header, claims = verified_claims(token, verification.keys, (verification.metadata.id_token_alg,))
        # SECURITY: the new token must be about the person of the session.
        require_issuer(claims, issuer)
        if require_text(claims, "sub", "subject") != subject:
            raise JwtInvalid("subject", "another person's")
        require_audience(claims, verification.client_id, authorized_party=True)
        require_times(claims, verification.now, verification.skew)
        optional_text(claims, "sid", "session")
        _require_at_hash(claims, header.alg, access_token)
        if before and claims.get("azp") != before.get("azp"):
            raise JwtInvalid("authorized_party", "another one than at the sign-in")
        if "nonce" in claims and claims["nonce"] != before.get("nonce"):
            raise JwtInvalid("nonce", "another one than at the sign-in")
    except JwtInvalid as error:
        raise IdTokenInvalid(error.reason, error.detail) from error
    return claims


def read_unverified(token: str | None) -> dict[str, Any]:
    """The claims of a token that is not verified, none where it cannot be read: to select keys, or from our own sealed records."""
    try:
        segment = (token or "").split(".")[1].encode()
        return parse_object(urlsafe_b64decode(segment))
    except (ValueError, IndexError):
        return {}


def _require_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    # SECURITY: the nonce binds the token to this browser's login: a code injected from another one does not match.
    value = claims.get("nonce")
    if not isinstance(value, str) or not hmac.compare_digest(value.encode("utf-8", "replace"), nonce.encode()):
        raise JwtInvalid("nonce")


def _require_at_hash(claims: Mapping[str, Any], alg: str, access_token: str | None) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.6: the left half of the hash of the token's algorithm."""
    if "at_hash" not in claims:
        return
    if access_token is None or claims["at_hash"] != left_hash(alg, access_token):
        raise JwtInvalid("at_hash")


def left_hash(alg: str, text: str) -> str:
    """`at_hash` of `text` for a token signed with `alg`."""
    size = alg[-3:] if alg[-3:] in ("256", "384", "512") else "512"  # Ed25519 hashes with SHA-512
    digest = hashlib.new(f"sha{size}", text.encode("ascii", "replace")).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode("ascii")


def authentication_time(claims: Mapping[str, Any]) -> float | None:
    """`auth_time`, in seconds since 1970; None where the provider does not know it, which some write as 0 or null. Raises JwtInvalid."""
    value = claims.get("auth_time")
    if value is None or (value == 0 and not isinstance(value, bool)):
        return None
    return seconds(claims, "auth_time", "auth_time")
