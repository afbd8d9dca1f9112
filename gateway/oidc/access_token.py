"""Access tokens that programs present: the checks that make one proof of a person for this app.

Pure. `rfc9068`: JWT Profile for OAuth 2.0 Access Tokens. `jwt`: what providers send that do not follow it; such a token must not be an ID or
logout token. `id_token`: an ID Token (OpenID Connect Core 1.0 section 2), which programs present where a provider gives nothing else. Each
needs its issuer, an audience of the app and a time; a token that is bound to a key or a certificate is refused, since nothing here proves the
possession (RFC 9449 section 7.1, RFC 8705 section 3).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.errors.bearer import TokenInvalid
from gateway.oidc.id_token import authentication_time
from gateway.oidc.registered_claims import (
    Verification,
    optional_text,
    require_issuer,
    require_text,
    require_times,
    seconds,
)
from gateway.oidc.signatures import ALGORITHMS, Header, JwtInvalid, verified_claims

Profile = Literal["rfc9068", "jwt", "id_token"]

_ACCESS_TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
_MARKS_OF_OTHERS: Final = ("nonce", "at_hash", "c_hash", "s_hash", "events", "sub_jwk")
_MOST_SCOPES: Final = 200
_LONGEST_SCOPES: Final = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token that passed the checks. `expires` and `issued_at` are seconds since 1970, None where it is not said."""

    issuer: str
    subject: str
    claims: dict[str, Any]
    scopes: frozenset[str]
    expires: float | None
    issued_at: float | None
    auth_time: int | None
    acr: str | None


def validate_access_token(
    token: str, verification: Verification, profile: Profile, audiences: Collection[str]
) -> AccessToken:
    """Raises TokenInvalid, whose `reason` names the check that failed."""
    try:
        header, claims = verified_claims(token, verification.keys, ALGORITHMS)
        _require_type(header, claims, profile)
        issuer = require_issuer(claims, verification.metadata.issuer_for(claims))
        require_one_audience(claims, audiences)
        if profile == "id_token":
            _require_authorized_party(claims, audiences)
        if profile == "rfc9068":
            require_text(claims, "client_id", "client_id")
            require_text(claims, "jti", "jti")
        expires = require_times(claims, verification.now, verification.skew)
        return _accepted(issuer, claims, expires, set() if profile == "id_token" else scopes_of(claims))
    except JwtInvalid as error:
        raise TokenInvalid(error.reason, error.detail) from error


def validate_introspection(
    answer: Mapping[str, Any], verification: Verification, audiences: Collection[str]
) -> AccessToken:
    """The token that an introspection endpoint describes (RFC 7662 section 2.2). Raises TokenInvalid."""
    try:
        # SECURITY: "true" and 1 are not true: an endpoint that says anything else has not said that the token is good (D-34).
        if answer.get("active") is not True:
            raise JwtInvalid("inactive")
        claims = dict(answer)
        issuer = verification.metadata.issuer_for(claims)
        if issuer is None or claims.get("iss", issuer) != issuer:
            raise JwtInvalid("issuer")
        _refuse_bound(claims)
        require_one_audience(claims, audiences)
        now, skew = verification.now.timestamp(), verification.skew.total_seconds()
        expires = None if claims.get("exp") is None else seconds(claims, "exp", "expired")
        if expires is not None and expires + skew <= now:
            raise JwtInvalid("expired")
        if claims.get("nbf") is not None and seconds(claims, "nbf", "not_before", least=0) - skew > now:
            raise JwtInvalid("not_before")
        return _accepted(issuer, claims, expires, scopes_of(claims))
    except JwtInvalid as error:
        raise TokenInvalid(error.reason, error.detail) from error


def require_one_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    """`aud` names this app. Raises JwtInvalid."""
    value = claims.get("aud")
    named = [value] if isinstance(value, str) else value
    # SECURITY: a token of another application of the same provider is no key to this one (D-32).
    if not isinstance(named, list) or not any(isinstance(each, str) and each in audiences for each in named):
        raise JwtInvalid("audience")


def scopes_of(claims: Mapping[str, Any]) -> set[str]:
    """`scope` (RFC 8693 section 4.2), `scp` of Entra ID and Okta, `permissions` of Auth0, together. Raises JwtInvalid."""
    found: set[str] = set()
    size = 0
    for name in ("scope", "scp", "permissions"):
        value = claims.get(name)
        if value is None:
            continue
        listed = value.split() if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise JwtInvalid("scope", f"{name} is not a list of texts")
        size += sum(map(len, listed))
        found.update(listed)
    if len(found) > _MOST_SCOPES or size > _LONGEST_SCOPES:
        raise JwtInvalid("scope", "too many scopes")
    return found


def _require_type(header: Header, claims: Mapping[str, Any], profile: Profile) -> None:
    """The kind of token, by its header and by its claims. Raises JwtInvalid."""
    kind = (header.typ or "").lower()
    _refuse_bound(claims)
    if profile == "rfc9068":
        # SECURITY: an ID Token must not pass for an access token: people hand theirs to every client they use (D-33).
        if kind not in _ACCESS_TOKEN_TYPES:
            raise JwtInvalid("type", "the header's typ is not at+jwt")
        return
    if kind not in ("", "jwt"):
        raise JwtInvalid("type", "the header's typ is not JWT")
    called = claims.get("typ")
    if profile == "id_token":
        if "events" in claims or called not in (None, "ID"):
            raise JwtInvalid("type", "not an ID Token")
        return
    # SECURITY: without a type of its own, a token is refused that bears a mark of another kind (D-33).
    if any(mark in claims for mark in _MARKS_OF_OTHERS) or called not in (None, "Bearer"):
        raise JwtInvalid("type", "an ID, logout or refresh token")


def _refuse_bound(claims: Mapping[str, Any]) -> None:
    # SECURITY: a bound token in other hands is a stolen one, and no proof of possession comes with a Bearer (D-33).
    if "cnf" in claims:
        raise JwtInvalid("bound", "the token is bound to a key or a certificate")


def _require_authorized_party(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    value = claims.get("aud")
    several = isinstance(value, list) and len(value) > 1
    # SECURITY: an ID Token for another client that merely lists us is not ours.
    if (several or "azp" in claims) and claims.get("azp") not in audiences:
        raise JwtInvalid("authorized_party")


def _accepted(issuer: str, claims: dict[str, Any], expires: float | None, scopes: Collection[str]) -> AccessToken:
    authenticated = authentication_time(claims)
    return AccessToken(
        issuer=issuer,
        subject=require_text(claims, "sub", "subject"),
        claims=claims,
        scopes=frozenset(scopes),
        expires=expires,
        issued_at=None if claims.get("iat") is None else seconds(claims, "iat", "issued_at"),
        auth_time=None if authenticated is None else int(authenticated),
        acr=optional_text(claims, "acr", "acr"),
    )
