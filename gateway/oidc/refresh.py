"""A refresh token becomes new tokens, and new Claims about the same person.

The invariant: Claims come only of an ID Token that names the issuer and subject of the session, or of userinfo about that
subject; a refresh never makes a sign-in fresher or stronger. RFC 6749 section 6, OpenID Connect Core 1.0 section 12.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.config.schema import ClaimNames, ProviderKeys
from gateway.errors.signing_in import RefreshRefused
from gateway.identity.claims import Claims
from gateway.oidc.id_token import read_unverified, validate_refreshed_id_token
from gateway.oidc.provider import Provider
from gateway.oidc.token_response import TokenResponse, parse_token_response
from gateway.oidc.tokens import TokenClient
from gateway.oidc.userinfo import (
    is_disputed,
    is_disputed_by_older,
    merge_claims,
    renewed_words,
    told_by_both,
    without_what_went,
)
from gateway.sessions.session import Session

#: The grant is over, we are no client any more, or the person must come themselves (A-72). All else may pass (A-73).
_FINAL: Final = frozenset(
    ("invalid_grant", "invalid_client", "interaction_required", "login_required", "consent_required")
)


class RefreshClient:
    """The two steps of one refresh, so that what the first one gave is stored before the second one may fail."""

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

    async def refresh(self, refresh_token: str) -> TokenResponse:
        """Raises RefreshRefused when there is nothing more to come of this token; ProviderUnavailable, ProviderFault."""
        form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        return parse_token_response(
            await self._tokens.post("token", self._provider.metadata.token_endpoint, form), _refused
        )

    async def claims(self, session: Session, tokens: TokenResponse) -> Claims:
        """What the provider says about the session's person now.

        Raises SignInFailed (IdTokenInvalid among them) for what contradicts the session; ProviderUnavailable, ProviderFault.
        """
        before = read_unverified(session.id_token)  # ours, out of our own sealed record
        fresh = await self._validated(session, tokens, before)
        said = await self._tokens.fetch_userinfo(tokens.access_token, session.identity.subject)
        names = self.settings.claims
        issuer, subject = session.identity.issuer, session.identity.subject
        if fresh is not None:
            return Claims(
                issuer=issuer,
                subject=subject,
                values=merge_claims(fresh, said, names.email),
                provider_sid=fresh.get("sid") or session.provider_sid,
                email_disputed=is_disputed(fresh, said, names.email),
                userinfo_told=renewed_words(session.userinfo_told, told_by_both(fresh, said, names), keep=False),
            )
        # Without a new ID Token the old one is the elder of the two: userinfo overrules it (section 12.2 allows to leave it out).
        told = renewed_words(session.userinfo_told, told_by_both(before, said, names), keep=True)
        left = without_what_went(before, said, names, f"{told} {_told_before_it_was_noted(session, before, names)}")
        said = {claim: value for claim, value in said.items() if value is not None}
        return Claims(
            issuer=issuer,
            subject=subject,
            values=merge_claims(said, left, names.email),
            provider_sid=session.provider_sid,
            email_disputed=is_disputed_by_older(said, left, names.email),
            userinfo_told=told,
        )

    async def revoke(self, refresh_token: str | None, access_token: str | None) -> None:
        """Tokens of a session that is over are nobody's."""
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
        return await self._provider.with_keys(
            id_token,
            lambda keys: validate_refreshed_id_token(
                id_token,
                keys=keys,
                metadata=self._provider.metadata,
                client_id=self.settings.client_id,
                issuer=session.identity.issuer,
                subject=session.identity.subject,
                before=before,
                now=self._now(),
                skew=self.settings.clock_skew,
                access_token=tokens.access_token,
            ),
        )


def _told_before_it_was_noted(session: Session, before: Mapping[str, Any], names: ClaimNames) -> str:
    """Groups that are not those of the session's ID Token came from userinfo, whatever the record says: sessions of release 0.1.0."""
    told = before.get(names.groups)
    groups = {str(group) for group in (told if isinstance(told, list) else [told]) if group not in (None, "")}
    return "" if told is None or groups == set(session.identity.groups) else "groups"


def _refused(error: str) -> RefreshRefused | None:
    return RefreshRefused(error, f"token: it answered {error}") if error in _FINAL else None
