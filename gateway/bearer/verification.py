"""One token becomes a LiveSession that no record holds: verified by signature or by introspection, mapped, and looked up in the directory.

The claims become an Identity exactly as those of a sign-in. The directory is only asked; nothing is created, linked or written there.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.bearer.ended import EndedTokens
from gateway.bearer.issuers import AppIssuers, TokenIssuer
from gateway.bearer.presented import LONGEST, BearerToken
from gateway.config.schema import ProviderKeys
from gateway.directory.account import Account
from gateway.directory.provisioner import with_account
from gateway.errors.bearer import TokenInvalid, TokenPersonForbidden, TokenPersonUnregistered
from gateway.errors.signing_in import AccountAmbiguous, EmailDomainForeign, EmailNotVerified, SignInFailed
from gateway.identity.claims import Claims, Identity, identity_from_claims, validate_email_domain
from gateway.oidc.access_token import AccessToken, validate_access_token, validate_introspection
from gateway.oidc.registered_claims import Verification
from gateway.sessions.live import NEVER, TOKEN_KEY, LiveSession
from gateway.sessions.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """`until` is when it stops to count, on the monotonic clock; `scopes` those that it has."""

    session: LiveSession
    scopes: frozenset[str]
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryCheck:
    """`find` gives the account of a person, None where there is none; `asked(app)`: whether people of this app must have one."""

    find: Callable[[Identity], Awaitable[Account | None]]
    asked: Callable[[str], bool]


class TokenVerifier:
    """`clock` is monotonic seconds, `now` aware."""

    def __init__(
        self, ended: EndedTokens, directory: DirectoryCheck, clock: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._ended = ended
        self._directory = directory
        self._clock = clock
        self._now = now

    async def verify(self, issuers: AppIssuers, token: BearerToken, app: str, host: str) -> VerifiedToken:
        """Raises TokenInvalid, TokenPersonForbidden, TokenPersonUnregistered, ProviderUnavailable, ProviderFault, DirectoryUnavailable,
        StoreUnavailable."""
        started, now = self._clock(), self._now()
        if len(token.text) > LONGEST:
            raise TokenInvalid("malformed", "longer than any token")
        issuer, good, left = await self._read(issuers, token, now)
        identity = await self._registered(_identity(good, issuer.settings), app)
        # SECURITY: an operator's end of a person's tokens counts against each that is older, wherever it is verified next (D-35).
        if await self._ended.covers(identity, app, good.issued_at):
            raise TokenInvalid("ended", "an operator ended the tokens of this person")
        life = max(timedelta(0), left)
        session = Session(
            key_host=host, app=app, sid=secrets.token_urlsafe(16), identity=identity, provider_sid=None,
            auth_time=None if good.auth_time is None else datetime.fromtimestamp(good.auth_time, UTC), acr=good.acr,
            created_at=now, idle=life, lifetime=life, access_token=token.text, provider=issuer.name,
        )  # fmt: skip
        until = started + life.total_seconds()
        live = LiveSession(
            key=f"{TOKEN_KEY}{token.digest.hex()}", host=host, session=session, idle=NEVER, idle_deadline=until,
            expires_deadline=until, stored_deadline=NEVER, touch_due=NEVER,
        )  # fmt: skip
        return VerifiedToken(session=live, scopes=good.scopes, until=until)

    async def _read(
        self, issuers: AppIssuers, token: BearerToken, now: datetime
    ) -> tuple[TokenIssuer, AccessToken, timedelta]:
        """The issuer, what the token says, and for how long it counts."""
        bearer = issuers.bearer
        if not token.certain:
            return await self._introspected(issuers, token, now)
        issuer = issuers.by_issuer.get(token.issuer or "")
        if issuer is None:
            raise TokenInvalid("unknown", "no token of ours")

        def check(verification: Verification) -> AccessToken:
            return validate_access_token(token.text, verification, bearer.profile, bearer.audiences)

        good = await issuer.provider.verify(token.text, self._now, check)
        return issuer, good, _left(good, issuer, now)

    async def _introspected(
        self, issuers: AppIssuers, token: BearerToken, now: datetime
    ) -> tuple[TokenIssuer, AccessToken, timedelta]:
        client, settings, first = issuers.introspection, issuers.bearer.introspection, issuers.first
        if client is None or settings is None:
            raise TokenInvalid("unknown", "opaque, and the app has no introspection")
        answer = await client.ask(token.text)
        good = validate_introspection(answer, first.provider.verification(self._now), issuers.bearer.audiences)
        # SECURITY: the provider may take an opaque token back at any time, so an answer is good for a short time only (D-34).
        return first, good, min(_left(good, first, now), settings.cache)

    async def _registered(self, identity: Identity, app: str) -> Identity:
        """The identity with the directory's facts. Raises TokenPersonUnregistered."""
        if not self._directory.asked(app):
            return identity
        try:
            account = await self._directory.find(identity)
        except AccountAmbiguous as error:
            raise TokenPersonUnregistered(error.detail) from error
        # SECURITY: a token creates no account, and without one it is good for nothing (D-37).
        if account is None or not account.active:
            raise TokenPersonUnregistered("the directory has no active account of this person")
        return with_account(identity, account)


def _left(good: AccessToken, issuer: TokenIssuer, now: datetime) -> timedelta:
    """For how long it counts; for ever where it does not say so."""
    if good.expires is None:
        return timedelta.max
    return datetime.fromtimestamp(good.expires, UTC) + issuer.settings.clock_skew - now


def _identity(good: AccessToken, settings: ProviderKeys) -> Identity:
    """Raises TokenInvalid for a malformed claim, TokenPersonForbidden for an address that the provider's settings refuse."""
    claims = Claims(
        issuer=good.issuer, subject=good.subject, values=good.claims, auth_time=good.auth_time, acr=good.acr
    )
    try:
        return validate_email_domain(identity_from_claims(claims, settings), settings.email_domains)
    except (EmailNotVerified, EmailDomainForeign) as error:
        raise TokenPersonForbidden(error.detail or error.code) from error
    except SignInFailed as error:
        raise TokenInvalid(error.reason, error.detail) from error
