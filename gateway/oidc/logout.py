"""Logout at the provider, and logout tokens from the provider.

The invariant: a logout token ends sessions only after every check; one that fails a check ends none.
OpenID Connect RP-Initiated Logout 1.0, OpenID Connect Back-Channel Logout 1.0 section 2.6.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from authlib.common.urls import add_params_to_uri

from gateway.config.schema import ProviderKeys
from gateway.errors.signing_in import LogoutTokenInvalid
from gateway.oidc.metadata import ProviderMetadata
from gateway.oidc.provider import Provider
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

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_LIFETIME_WITHOUT_EXP: Final = 300.0
_LONGEST_HINT: Final = 5000  # beyond that, servers answer 414 to the whole URL


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutClaims:
    """The sessions to end: those of one session at the provider (`sid`), or all sessions of `sub`.

    `jti` may be used once; after `exp` (clock skew included) the token is refused anyway. A token without `exp`, which drafts of the
    specification allowed, ends five minutes after `iat`.
    """

    issuer: str
    sid: str | None
    sub: str | None
    jti: str
    issued_at: datetime
    exp: datetime


def logout_url(
    openid: ProviderKeys,
    metadata: ProviderMetadata | None,
    *,
    id_token_hint: str | None,
    client_id: str,
    return_to: str,
    state: str | None = None,
) -> str | None:
    """The URL at which the browser signs out of the provider, or None when the provider has none.

    `metadata` is None while the provider cannot be reached; `return_to` is a registered post_logout_redirect_uri.
    """
    hint = id_token_hint if id_token_hint and len(id_token_hint) <= _LONGEST_HINT else None
    if openid.log_out_url is not None:
        return _filled(
            openid.log_out_url, {"id_token_hint": hint or "", "client_id": client_id, "return_to": return_to}
        )
    if metadata is None or metadata.end_session_endpoint is None:
        return None
    parameters = [("client_id", client_id), ("post_logout_redirect_uri", return_to)]
    parameters += [("id_token_hint", hint)] if hint else []
    parameters += [("state", state)] if state else []
    return str(add_params_to_uri(metadata.end_session_endpoint, parameters))


def _filled(template: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        # Encoded values hold no braces, so that none is taken for a placeholder.
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


async def receive_logout_token(token: str, provider: Provider, now: datetime) -> LogoutClaims:
    """The claims of a logout token, verified with the provider's keys. Raises LogoutTokenInvalid, ProviderUnavailable, ProviderFault."""
    return await provider.verify(token, lambda: now, lambda verification: validate_logout_token(token, verification))


def validate_logout_token(token: str, verification: Verification) -> LogoutClaims:
    """The claims. Raises LogoutTokenInvalid, whose `reason` names the check that failed."""
    metadata, now = verification.metadata, verification.now
    try:
        header, claims = verified_claims(token, verification.keys, (metadata.id_token_alg,))
        # SECURITY: an ID Token, or any other token that the provider signs, must not pass for a logout token.
        if header.typ is not None and header.typ.lower().removeprefix("application/") not in ("logout+jwt", "jwt"):
            raise JwtInvalid("type")
        if "nonce" in claims:
            raise JwtInvalid("nonce")
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
            raise JwtInvalid("events")
        issuer = require_issuer(claims, metadata.issuer_for(claims))
        require_audience(claims, verification.client_id, authorized_party=False)
        if "exp" not in claims:
            # SECURITY: without an end it could be used again once its jti is forgotten.
            claims["exp"] = seconds(claims, "iat", "issued_at") + _LIFETIME_WITHOUT_EXP
        expires = require_times(claims, now, verification.skew)
        sid, sub = optional_text(claims, "sid", "session"), optional_text(claims, "sub", "subject")
        if sid is None and sub is None:
            raise JwtInvalid("subject", "neither sid nor sub")
        jti = require_text(claims, "jti", "token_id")
        issued_at = datetime.fromtimestamp(seconds(claims, "iat", "issued_at"), now.tzinfo)
    except JwtInvalid as error:
        raise LogoutTokenInvalid(error.reason, error.detail) from error
    exp = datetime.fromtimestamp(expires, now.tzinfo) + verification.skew
    return LogoutClaims(issuer=issuer, sid=sid, sub=sub, jti=jti, issued_at=issued_at, exp=exp)
