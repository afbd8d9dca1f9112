"""The token endpoint, userinfo and revocation: a code becomes Claims.

The invariant: Claims exist only for a code that `validate_authorization_response` gave out, after the ID Token passed
every check and userinfo named the same subject. OpenID Connect Core 1.0 sections 3.1.3 and 5.3, RFC 6749, RFC 7009.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from gateway.config.schema import OpenID
from gateway.errors import IdTokenInvalid, ProviderFault, ProviderUnavailable, SignInFailed
from gateway.identity import Claims
from gateway.oidc.authorization import AuthorizationCode
from gateway.oidc.calls import Answer
from gateway.oidc.client_authentication import ClientAuthentication
from gateway.oidc.id_token import validate_id_token
from gateway.oidc.provider import Provider
from gateway.oidc.userinfo import merge_claims, validate_userinfo, validate_userinfo_jwt

logger = logging.getLogger("doorward.oidc")

_LONGEST_TOKEN: Final = 64 * 1024
_OAUTH_ERRORS: Final = frozenset(
    (
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What a redeemed code gave; `expires_in` in seconds, of the access token."""

    claims: Claims
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)
    expires_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenResponse:
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None


class TokenClient:
    """Our side of the provider's back channel. Raises ValueError when the client's secret or key is missing."""

    def __init__(
        self,
        provider: Provider,
        openid: OpenID,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._provider = provider
        self._openid = openid
        self._now = now
        self._authentication = ClientAuthentication(openid, now, random)

    async def redeem(self, code: AuthorizationCode, redirect_uri: str) -> SignIn:
        """Raises SignInFailed (IdTokenInvalid among them), ProviderUnavailable, ProviderFault."""
        # SECURITY: a code goes back only to the provider that gave it.
        if code.issuer != self._provider.metadata.issuer:
            raise SignInFailed("issuer_mismatch")
        form = [
            ("grant_type", "authorization_code"),
            ("code", code.code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", code.attempt.verifier),
        ]
        tokens = _parse_tokens(await self._post("token", self._provider.metadata.token_endpoint, form))
        id_claims = await self._id_token_claims(tokens, code)
        said = await self._fetch_userinfo(tokens.access_token, id_claims["sub"])
        return SignIn(
            claims=Claims(
                issuer=id_claims["iss"],
                subject=id_claims["sub"],
                values=merge_claims(id_claims, said, self._openid.claims.email),
                provider_sid=id_claims.get("sid"),
                auth_time=int(id_claims["auth_time"]) if "auth_time" in id_claims else None,
                acr=id_claims.get("acr"),
            ),
            id_token=tokens.id_token,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_in=tokens.expires_in,
        )

    async def revoke(self, token: str, hint: str) -> bool:
        """Ask the provider to forget a token. `hint`: access_token or refresh_token. False: it did not, or cannot."""
        try:
            endpoint = self._provider.metadata.revocation_endpoint
            if endpoint is None:
                return False
            answer = await self._post("revocation", endpoint, [("token", token), ("token_type_hint", hint)])
        except (ProviderUnavailable, ProviderFault) as refusal:
            logger.warning("a token was not revoked: %s", refusal.detail)
            return False
        return answer.status == 200

    async def _post(self, what: str, url: str, form: list[tuple[str, str]]) -> Answer:
        proof = self._authentication.prove(self._provider.metadata)
        return await self._provider.calls.post(
            what, url, urlencode([*form, *proof.form]).encode("ascii"), proof.headers
        )

    async def _id_token_claims(self, tokens: _TokenResponse, code: AuthorizationCode) -> dict[str, Any]:
        return await self._provider.with_keys(
            tokens.id_token,
            lambda keys: validate_id_token(
                tokens.id_token,
                keys=keys,
                metadata=self._provider.metadata,
                client_id=self._openid.client_id,
                nonce=code.attempt.nonce,
                now=self._now(),
                skew=self._openid.clock_skew,
                access_token=tokens.access_token,
                max_age=code.attempt.max_age,
                acr=code.attempt.acr,
            ),
        )

    async def _fetch_userinfo(self, access_token: str, subject: str) -> Mapping[str, Any]:
        """What userinfo says about `subject`; nothing when the provider has no such endpoint."""
        endpoint = self._provider.metadata.userinfo_endpoint
        if endpoint is None:
            return {}
        answer = await self._provider.calls.get(
            "userinfo",
            endpoint,
            {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"},
        )
        if answer.status != 200:
            raise ProviderFault(f"userinfo: it answered {answer.status}")
        if answer.content_type != "application/jwt":
            return validate_userinfo(answer.json(), subject)
        token = answer.body.decode("ascii", "replace")
        said = await self._provider.with_keys(
            token,
            lambda keys: validate_userinfo_jwt(
                token,
                keys=keys,
                metadata=self._provider.metadata,
                client_id=self._openid.client_id,
                now=self._now(),
                skew=self._openid.clock_skew,
            ),
        )
        return validate_userinfo(said, subject)


def _parse_tokens(answer: Answer) -> _TokenResponse:
    """Raises SignInFailed when the code was refused, ProviderFault for everything else that is not a token response."""
    if answer.status in (400, 401):
        raise _token_error(answer.json().get("error"))
    if answer.status != 200:
        raise ProviderFault(f"token: it answered {answer.status}")
    body = answer.json()
    if "error" in body:
        raise _token_error(body["error"])
    token_type = body.get("token_type")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise ProviderFault("token: the token type is not Bearer")
    id_token = body.get("id_token")
    if not isinstance(id_token, str):
        raise IdTokenInvalid("missing", "the token response has no ID Token")
    refresh_token = body.get("refresh_token")
    return _TokenResponse(
        id_token=id_token,
        access_token=_opaque(body.get("access_token"), "access_token"),
        refresh_token=None if refresh_token is None else _opaque(refresh_token, "refresh_token"),
        expires_in=_lifetime(body.get("expires_in")),
    )


def _token_error(error: object) -> SignInFailed | ProviderFault:
    name = error if isinstance(error, str) and error in _OAUTH_ERRORS else "an error of its own"
    if name == "invalid_grant":
        return SignInFailed("code_refused", "token: the provider does not take this code (any more)")
    return ProviderFault(f"token: it answered {name}")


def _opaque(value: object, name: str) -> str:
    """A token that can travel in a header: visible ASCII, bounded."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TOKEN:
        raise ProviderFault(f"token: no {name}")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ProviderFault(f"token: the {name} is not a token")
    return value


def _lifetime(value: object) -> int | None:
    """Some providers write the number as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 10 else None
