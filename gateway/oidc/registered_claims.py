"""The registered claims that every token of the provider is checked for: iss, aud, azp, exp, iat, nbf, sub, sid.

Pure. Each function raises JwtInvalid with the name of its check. RFC 7519 section 4.1, OpenID Connect Core 1.0
section 3.1.3.7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from joserfc.jwk import Key

from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.signatures import JwtInvalid

_END_OF_TIME: Final = 253_400_000_000.0  # late in the year 9999, the last one of a datetime
_LONGEST_NAME: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What every token of one provider is verified with. `now` is aware; `skew` is the tolerated difference of the clocks."""

    keys: Sequence[Key]
    metadata: ProviderMetadata
    client_id: str
    now: datetime
    skew: timedelta


def require_issuer(claims: Mapping[str, Any], issuer: str | None) -> str:
    """The `iss`, which must be `issuer`; None: there is none that these claims may have."""
    if issuer is None or claims.get("iss") != issuer:
        raise JwtInvalid("issuer")
    return issuer


def require_audience(claims: Mapping[str, Any], client_id: str, *, authorized_party: bool) -> None:
    """`authorized_party`: whether `azp` is checked too (ID Tokens)."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or client_id not in audiences:
        raise JwtInvalid("audience")
    if not authorized_party:
        return
    # SECURITY: a token issued to another client that merely lists us is not a sign-in here.
    if ("azp" in claims or set(map(str, audiences)) != {client_id}) and claims.get("azp") != client_id:
        raise JwtInvalid("authorized_party")


def require_times(claims: Mapping[str, Any], now: datetime, skew: timedelta) -> float:
    """Check exp and iat, which are required, and nbf. Returns exp, in seconds since 1970."""
    present, leeway = now.timestamp(), skew.total_seconds()
    expires = seconds(claims, "exp", "expired")
    if expires + leeway <= present:
        raise JwtInvalid("expired")
    if seconds(claims, "iat", "issued_at") - leeway > present:
        raise JwtInvalid("issued_at", "in the future")
    if "nbf" in claims and seconds(claims, "nbf", "not_before", least=0) - leeway > present:
        raise JwtInvalid("not_before")
    return expires


def seconds(claims: Mapping[str, Any], name: str, reason: str, *, least: float = 1) -> float:
    """The NumericDate `name`, in seconds since 1970."""
    value = claims.get(name)
    # SECURITY: true is an int, "9999999999" compares with nothing, and 1e300 would never expire.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _END_OF_TIME:
        raise JwtInvalid(reason, f"{name} is not a date")
    return float(value)


def require_text(claims: Mapping[str, Any], name: str, reason: str) -> str:
    """As `optional_text`, for a required claim."""
    text = optional_text(claims, name, reason)
    if text is None:
        raise JwtInvalid(reason, f"{name} is missing")
    return text


def optional_text(claims: Mapping[str, Any], name: str, reason: str) -> str | None:
    """A short printable text, or None when the claim is missing."""
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > _LONGEST_NAME or not value.isprintable():
        raise JwtInvalid(reason, f"{name} is not a short text")
    return value
