"""A refresh: new tokens for a refresh token, and new Claims about the same person.

The invariant: Claims come only from an ID Token that names the issuer and subject of the session, or from userinfo about that
subject; a refresh never makes a sign-in fresher or stronger. RFC 6749 section 6, OpenID Connect Core 1.0 section 12.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.config.schema import ProviderKeys
from gateway.config.values import keeps_group
from gateway.errors.signing_in import RefreshRefused, SignInFailed
from gateway.identity.claims import Claims, Identity, groups_in
from gateway.oidc.id_token import read_unverified, validate_refreshed_id_token
from gateway.oidc.provider import Provider
from gateway.oidc.token_response import TokenResponse
from gateway.oidc.tokens import TokenClient
from gateway.oidc.userinfo import (
    is_disputed,
    is_disputed_by_older,
    merge_claims,
    renewed_words,
    without_removed_claims,
    words_in_both,
)
from gateway.sessions.session import Session

#: The grant has ended, we are no client any more, or the provider needs the person (A-72). Other errors may pass (A-73).
_FINAL: Final = frozenset(
    ("invalid_grant", "invalid_client", "interaction_required", "login_required", "consent_required")
)


class RefreshClient:
    """The two steps of one refresh: the tokens of the first are stored before the second may fail."""

    def __init__(
        self,
        provider: Provider,
        settings: ProviderKeys,
        tokens: TokenClient,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self._provider = provider
        self._tokens = tokens
        self._now = now

    async def refresh(self, refresh_token: str, dpop_key: str | None = None) -> TokenResponse:
        """New tokens; `dpop_key`: the session's.

        Raises RefreshRefused when the provider will not accept this token again; ProviderUnavailable, ProviderFault.
        """
        return await self._tokens.refresh(refresh_token, _final_error, dpop_key)

    async def claims(self, session: Session, tokens: TokenResponse) -> Claims:
        """The provider's present claims about the session's person.

        Raises SignInFailed (IdTokenInvalid among them) when they contradict the session; ProviderUnavailable, ProviderFault.
        """
        before = read_unverified(session.id_token)  # from our own sealed record
        fresh = await self._validated(session, tokens, before)
        userinfo = await self._tokens.userinfo_beside(tokens, fresh or {}, session.identity.subject)
        names = self.settings.claims
        issuer, subject = session.identity.issuer, session.identity.subject
        if fresh is not None:
            return Claims(
                issuer=issuer,
                subject=subject,
                values=merge_claims(fresh, userinfo, names),
                provider_sid=fresh.get("sid") or session.provider_sid,
                email_disputed=is_disputed(fresh, userinfo, names.email),
                userinfo_told=renewed_words(session.userinfo_told, words_in_both(fresh, userinfo, names), keep=False),
            )
        if self.settings.userinfo == "never":
            return Claims(issuer=issuer, subject=subject, values=dict(before), provider_sid=session.provider_sid)
        # Without a new ID Token, which section 12.2 allows, userinfo is newer than the old one and overrules it.
        words = renewed_words(session.userinfo_told, words_in_both(before, userinfo, names), keep=True)
        kept = without_removed_claims(
            before, userinfo, names, f"{words} {_untracked_groups(session, before, self.settings)}"
        )
        userinfo = {claim: value for claim, value in userinfo.items() if value is not None}
        return Claims(
            issuer=issuer,
            subject=subject,
            values=merge_claims(userinfo, kept, names),
            provider_sid=session.provider_sid,
            email_disputed=is_disputed_by_older(userinfo, kept, names.email),
            userinfo_told=words,
        )

    async def identify(self, claims: Claims) -> Identity:
        """The identity of refreshed claims. Raises as TokenClient.identify."""
        return await self._tokens.identify(claims)

    async def revoke(self, refresh_token: str | None, access_token: str | None) -> None:
        """Revoke the tokens of a session that is over."""
        if refresh_token is not None:
            await self._tokens.revoke(refresh_token, "refresh_token")
        if access_token is not None:
            await self._tokens.revoke(access_token, "access_token")

    async def _validated(
        self, session: Session, tokens: TokenResponse, before: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        id_token = tokens.id_token
        if id_token is None:
            return None
        return await self._provider.verify(
            id_token,
            self._now,
            lambda verification: validate_refreshed_id_token(
                id_token,
                verification,
                issuer=session.identity.issuer,
                subject=session.identity.subject,
                before=before,
                access_token=tokens.access_token,
            ),
            from_endpoint=True,
        )


def _untracked_groups(session: Session, before: Mapping[str, Any], settings: ProviderKeys) -> str:
    """The word `groups` where a session's groups are not those of its ID Token: they came from userinfo, which release 0.1.0 did not record."""
    try:
        groups = groups_in(before, settings)
    except SignInFailed:
        return "groups"
    held = {group for group in session.identity.groups if keeps_group(settings.groups_filter, group)}
    return "" if settings.claims.groups.value_in(before) is None or {*groups} == held else "groups"


def _final_error(error: str) -> RefreshRefused | None:
    return RefreshRefused(error, f"token: error {error}") if error in _FINAL else None
