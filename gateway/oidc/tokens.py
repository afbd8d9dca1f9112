"""The token endpoint, userinfo and revocation: Claims for a code.

The invariant: Claims exist only for a code from `validate_authorization_response`, after the ID Token passed
every check and userinfo named the same subject. OpenID Connect Core 1.0 sections 3.1.3 and 5.3, RFC 6749, RFC 7009.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from gateway.config.schema import ProviderKeys
from gateway.config.sections.openid import DEFAULT_PROVIDER
from gateway.errors.signing_in import IdTokenInvalid, ProviderFault, ProviderUnavailable, SignInFailed
from gateway.identity.claims import CLAIM_INVALID, Claims, Identity, identity_from_claims, validate_email_domain
from gateway.oidc.authorization import AuthorizationCode
from gateway.oidc.calls import ProviderResponse
from gateway.oidc.client_authentication import ClientAuthentication
from gateway.oidc.dpop import DpopProofs, derive_dpop_key
from gateway.oidc.id_token import authentication_time, validate_id_token
from gateway.oidc.missing_claims import MappedClaimLog, missing_claims
from gateway.oidc.provider import Provider
from gateway.oidc.token_response import TokenResponse, parse_token_response
from gateway.oidc.userinfo import (
    is_disputed,
    merge_claims,
    validate_userinfo,
    validate_userinfo_jwt,
    words_in_both,
)
from gateway.redis_client.sightings import Sightings

logger = logging.getLogger("doorward.oidc")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResult:
    """The tokens and claims for a code; `expires_in` in seconds, of the access token; `dpop_key`: the private JWK that it is bound to."""

    claims: Claims
    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)
    expires_in: int | None = None
    dpop_key: str | None = field(repr=False, default=None)


class TokenClient:
    """The client of a provider's endpoints. Raises ValueError when the client's secret or key is missing."""

    def __init__(
        self,
        provider: Provider,
        settings: ProviderKeys,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = secrets.token_bytes,
        name: str = DEFAULT_PROVIDER,
        sightings: Sightings | None = None,
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._now = now
        self._authentication = ClientAuthentication(settings, now, random)
        self._dpop = DpopProofs(now, random)
        self._claim_log = MappedClaimLog(name, settings.claims, lambda: now().timestamp(), sightings)

    async def redeem(
        self, code: AuthorizationCode, redirect_uri: str, settle: Callable[[], Awaitable[None]] | None = None
    ) -> TokenResult:
        """Redeem a code. `settle` runs as soon as the provider has redeemed or refused it: the code is spent.

        Raises SignInFailed (IdTokenInvalid among them), ProviderUnavailable, ProviderFault, and what `settle` raises.
        """
        # SECURITY: a code is sent only to the provider that issued it.
        if code.issuer != self._provider.metadata.issuer:
            raise SignInFailed("issuer_mismatch")
        form = [
            ("grant_type", "authorization_code"),
            ("code", code.code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", code.attempt.verifier),
        ]
        dpop_key = self.dpop_key(code.attempt.dpop_seed)
        response = await self.post("token", self._provider.metadata.token_endpoint, form, dpop_key)
        try:
            tokens = parse_token_response(response, _refused_code, dpop_key)
        except SignInFailed:
            await _run(settle)
            raise
        await _run(settle)
        if tokens.id_token is None:
            raise IdTokenInvalid("missing", "the token response has no ID Token")
        id_claims = await self._id_token_claims(tokens.id_token, tokens.access_token, code)
        userinfo = await self._userinfo_at_sign_in(tokens, id_claims)
        names = self._settings.claims
        values = merge_claims(id_claims, userinfo, names)
        await self._claim_log.log(values)
        return TokenResult(
            claims=Claims(
                issuer=id_claims["iss"],
                subject=id_claims["sub"],
                values=values,
                email_disputed=is_disputed(id_claims, userinfo, names.email),
                userinfo_told=words_in_both(id_claims, userinfo, names),
                provider_sid=id_claims.get("sid"),
                auth_time=None if (signed_in := authentication_time(id_claims)) is None else int(signed_in),
                acr=id_claims.get("acr"),
            ),
            id_token=tokens.id_token,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_in=tokens.expires_in,
            dpop_key=tokens.dpop_key,
        )

    async def refresh(
        self, refresh_token: str, refusal_of: Callable[[str], SignInFailed | None], dpop_key: str | None
    ) -> TokenResponse:
        """New tokens for a refresh token; raises as `parse_token_response`, and ProviderUnavailable.

        `dpop_key`: the session's; a session from before the setting gets one.
        """
        dpop_key = (dpop_key or self.dpop_key()) if self._settings.uses_dpop else None
        form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        response = await self.post("token", self._provider.metadata.token_endpoint, form, dpop_key)
        return parse_token_response(response, refusal_of, dpop_key)

    def dpop_key(self, seed: bytes | None = None) -> str | None:
        """The key, a private JWK, that follows from the seed of a LoginAttempt; without one a random key. None: DPoP is off."""
        if not self._settings.uses_dpop:
            return None
        alg = self._provider.metadata.dpop_alg
        return self._dpop.new_key(alg) if seed is None else derive_dpop_key(seed, alg)

    async def identify(self, claims: Claims) -> Identity:
        """The identity of claims that were redeemed or refreshed here. Raises SignInFailed, EmailNotVerified, EmailDomainForeign."""
        try:
            identity = identity_from_claims(claims, self._settings)
        except SignInFailed as refusal:
            if refusal.reason == CLAIM_INVALID:
                await self._claim_log.log_malformed(refusal.detail)
            raise
        return validate_email_domain(identity, self._settings.email_domains)

    @property
    def can_revoke(self) -> bool:
        """Whether the provider has a revocation endpoint. Raises ProviderUnavailable while that is not known."""
        return self._provider.metadata.revocation_endpoint is not None

    async def revoke(self, token: str, hint: str) -> bool:
        """Revoke a token (RFC 7009). `hint`: access_token or refresh_token. False: it was not revoked."""
        try:
            endpoint = self._provider.metadata.revocation_endpoint
            if endpoint is None:
                return False
            response = await self.post("revocation", endpoint, [("token", token), ("token_type_hint", hint)])
        except (ProviderUnavailable, ProviderFault) as refusal:
            logger.warning("a token was not revoked: %s", refusal.detail)
            return False
        return response.status == 200

    async def post(
        self, what: str, url: str, form: list[tuple[str, str]], dpop_key: str | None = None
    ) -> ProviderResponse:
        """POST a form to an endpoint of the provider, with client authentication, and with a DPoP proof where there is a key.

        Raises ProviderUnavailable, ProviderFault.
        """

        async def send(fields: Mapping[str, str]) -> ProviderResponse:
            proof = self._authentication.prove(self._provider.metadata)  # an assertion is used once
            pairs = [*form, *(pair for pair in proof.form if pair not in form)]  # client_id may be in both
            body = urlencode(pairs).encode("ascii")
            return await self._provider.calls.post(what, url, body, {**proof.headers, **fields})

        return await self._dpop.send(send, "POST", url, dpop_key)

    async def _id_token_claims(self, id_token: str, access_token: str, code: AuthorizationCode) -> dict[str, Any]:
        attempt = code.attempt
        return await self._provider.verify(
            id_token,
            self._now,
            lambda verification: validate_id_token(
                id_token,
                verification,
                nonce=attempt.nonce,
                access_token=access_token,
                max_age=attempt.max_age,
                acr=attempt.acr,
            ),
            from_endpoint=True,
        )

    async def _userinfo_at_sign_in(self, tokens: TokenResponse, id_claims: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return await self.userinfo_beside(tokens, id_claims, id_claims["sub"])
        except (ProviderUnavailable, ProviderFault) as refusal:
            # SECURITY: without userinfo nothing that decides may be missing: a group or an unverified address.
            if missing_claims(id_claims, self._settings):
                raise
            logger.warning("a sign-in goes on without userinfo, since the ID Token has all claims: %s", refusal.detail)
            return {}

    async def userinfo_beside(
        self, tokens: TokenResponse, id_claims: Mapping[str, Any], subject: str
    ) -> Mapping[str, Any]:
        """The userinfo claims beside those of an ID Token, {} where there is none; the setting `userinfo` says when they are fetched.

        Raises SignInFailed, ProviderUnavailable, ProviderFault.
        """
        when = self._settings.userinfo
        if when == "never" or (
            when == "when_needed" and not missing_claims(id_claims, self._settings, all_mapped=True)
        ):
            return {}
        return await self._fetch_userinfo(tokens, subject)

    async def _fetch_userinfo(self, tokens: TokenResponse, subject: str) -> Mapping[str, Any]:
        endpoint = self._provider.metadata.userinfo_endpoint
        if endpoint is None:
            return {}
        key, scheme = tokens.dpop_key, "Bearer" if tokens.dpop_key is None else "DPoP"
        fields = {
            "Authorization": f"{scheme} {tokens.access_token}",
            "Accept": "application/json, application/jwt",
        }

        async def send(proof: Mapping[str, str]) -> ProviderResponse:
            return await self._provider.calls.get("userinfo", endpoint, {**fields, **proof})

        response = await self._dpop.send(send, "GET", endpoint, key, tokens.access_token)
        if response.status != 200:
            raise ProviderFault(f"userinfo: status {response.status}")
        if response.content_type != "application/jwt":
            return validate_userinfo(response.json(), subject)
        token = response.body.decode("ascii", "replace")
        userinfo = await self._provider.verify(
            token,
            self._now,
            lambda verification: validate_userinfo_jwt(token, verification),
            from_endpoint=True,
        )
        return validate_userinfo(userinfo, subject)


async def _run(settle: Callable[[], Awaitable[None]] | None) -> None:
    if settle is not None:
        await settle()


def _refused_code(error: str) -> SignInFailed | None:
    if error != "invalid_grant":
        return None
    return SignInFailed("code_refused", "token: the provider refused the code")
