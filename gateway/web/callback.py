"""Ends a login: the provider's answer becomes a session. `GET /oauth2/callback`, the one registered redirect_uri of a host.

Each step takes what the one before it returned: LoginAttempt, AuthorizationCode, Claims, Identity, Session. The invariant: nothing is
redeemed that this browser did not begin under this host (A-53), or that anybody used before (A-54); every login has a new session id
and ends the one before it (C-40). What `require` asks of a person is the gate's question, not this one's.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.config import schema
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import SignInExpired, SignInFailed, StepUpUnmet
from gateway.gate.site import callback_path
from gateway.identity.claims import Identity, identity_from_claims, validate_email_domain
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.authorization import ATTEMPT_LIFETIME, LoginAttempt, validate_authorization_response
from gateway.oidc.providers import ProviderClient, Providers
from gateway.oidc.tokens import TokenResult
from gateway.pages.renderer import Pages, RenderedPage, redirect
from gateway.sessions.pending_sign_in import PendingSignIn
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.sign_in.attempt_cookies import read_cookies
from gateway.sign_in.begin import SignInStarter, start_url
from gateway.sign_in.return_to import HOME, is_local
from gateway.token_refresh.schedule import access_times
from gateway.web.account_setup import AccountSetup
from gateway.web.browser_session import BrowserSessions
from gateway.web.request import WebRequest

log = logging.getLogger("doorward.web")

_REMEMBERED: Final = 2 * ATTEMPT_LIFETIME  # a used attempt, in Redis: longer than its cookie could live


class Callback:
    """What a person becomes in the directory, and whether there is a session, is `setting_up`'s part."""

    def __init__(
        self,
        *,
        providers: Providers,
        setting_up: AccountSetup,
        store: SessionStore,
        sessions: BrowserSessions,
        sign_in: SignInStarter,
        pages: Pages,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._providers = providers
        self._setting_up = setting_up
        self._store = store
        self._sessions = sessions
        self._attempts = sign_in.attempts
        self._pages = pages
        self._audit = audit
        self._now = now

    async def __call__(self, asked: WebRequest) -> RenderedPage:
        state = asked.param("state")
        attempt = self._attempts.find(state, asked.cookies, asked.route, self._now()) if state is not None else None
        if attempt is None:
            return await self._unexpected(asked)
        try:
            return await self._finish(asked, attempt)
        except Refusal as refusal:
            self._tell(asked, refusal)
            if "switch_url" not in refusal.facts:
                # Who got an old or weak sign-in is asked to sign in anew: going round again would bring the same one.
                prompt = "login" if isinstance(refusal, StepUpUnmet) else None
                provider = attempt.provider if len(asked.site.providers) > 1 else None
                again = start_url(attempt.return_to, prompt, step_up_for=attempt.step_up_for, provider=provider)
                refusal.facts.setdefault("retry_url", again)
            page = self._pages.render(refusal, html=asked.html, request_id=asked.request_id, app=asked.route)
            return page.plus(("Set-Cookie", self._attempts.drop(attempt, asked.route)))

    async def _unexpected(self, asked: WebRequest) -> RenderedPage:
        """The back button, a bookmark, a login that took too long, or somebody else's answer (A-53): harmless, and no loop."""
        if await self._sessions.live(asked) is not None:
            return redirect(303, HOME)
        refusal = SignInExpired("no_attempt", cause=_why_unknown(asked), continue_url=start_url(HOME))
        self._tell(asked, refusal)
        raise refusal

    async def _finish(self, asked: WebRequest, attempt: LoginAttempt) -> RenderedPage:
        client = self._asked_of(asked, attempt)
        code = validate_authorization_response(asked.params, attempt, client.provider.metadata, self._now())
        # SECURITY: used up before it is redeemed: of two requests with one state, one goes on.
        if not await self._store.consume(f"login:{attempt.id}", _REMEMBERED):
            if await self._sessions.live(asked) is not None:
                return redirect(303, _landing(attempt))
            raise SignInExpired("attempt_used", continue_url=start_url(attempt.return_to))
        signed_in = await client.tokens.redeem(code, asked.route.redirect_uri(attempt.provider))
        identity = _identify(signed_in, client.settings)
        page = await self._setting_up.arrive(
            asked,
            PendingSignIn(
                session=self._session(asked, signed_in, identity, attempt.provider),
                claims=signed_in.claims.values,
                issued_at=int(signed_in.claims.values["iat"]),
                return_to=_landing(attempt),
                began=self._now(),
                begun=attempt.begun,
            ),
        )
        return page.plus(("Set-Cookie", self._attempts.finish(attempt, asked.route)))

    def _asked_of(self, asked: WebRequest, attempt: LoginAttempt) -> ProviderClient:
        """The provider that the attempt went to, if this is the address for its answers. Raises SignInFailed."""
        client = self._providers.get(attempt.provider)
        # SECURITY: mix-up: a code that came in at one provider's address is never taken to another one's token endpoint.
        if (
            client is None
            or attempt.provider not in asked.site.providers
            or asked.path != callback_path(attempt.provider)
        ):
            raise SignInFailed(
                "provider_mismatch", f"the attempt was for {attempt.provider}, the answer came to {asked.path}"
            )
        return client

    def _session(self, asked: WebRequest, signed_in: TokenResult, identity: Identity, provider: str) -> Session:
        claims, limits = signed_in.claims, asked.route.config.session
        return Session(
            key_host=asked.route.host,
            app=asked.route.name,
            sid=SessionStore.new_sid(),
            identity=identity,
            provider_sid=claims.provider_sid,
            auth_time=None if claims.auth_time is None else datetime.fromtimestamp(claims.auth_time, UTC),
            acr=claims.acr,
            created_at=self._now(),
            idle=limits.idle,
            lifetime=limits.lifetime,
            id_token=signed_in.id_token,
            access_token=signed_in.access_token,
            refresh_token=signed_in.refresh_token,
            address=asked.client,
            provider=provider,
            userinfo_told=claims.userinfo_told if signed_in.refresh_token is not None else "",
            **access_times(signed_in.expires_in, signed_in.refresh_token, self._now()),
        )

    def _tell(self, asked: WebRequest, refusal: Refusal) -> None:
        reason = refusal.reason if isinstance(refusal, SignInFailed) else refusal.code
        log.warning(
            "login refused on %s: %s (%s) request %s", asked.route.host, reason, refusal.detail, asked.request_id
        )
        self._audit.event(audit.LOGIN_REFUSED, app=asked.route.name, request_id=asked.request_id, reason=reason)


def _identify(signed_in: TokenResult, settings: schema.ProviderKeys) -> Identity:
    """Raises SignInFailed and its kinds."""
    identity = identity_from_claims(
        signed_in.claims, settings.claims, settings.require_verified_email, settings.verified_email_domains
    )
    validate_email_domain(identity, settings.email_domains)
    return identity


def _landing(attempt: LoginAttempt) -> str:
    # SECURITY: judged when the login began, and looked at once more where it leads a browser.
    return attempt.return_to if is_local(attempt.return_to) else HOME


def _why_unknown(asked: WebRequest) -> str:
    """What a person whose cookie did not come back can do. Nothing when the cookies of other sign-ins came: then it is just over."""
    if read_cookies(asked.cookies, asked.route):
        return ""
    secure = " and that the address begins with https://" if asked.route.secure else ""
    return f"If this happens every time: check that the browser accepts cookies from {asked.route.host}{secure}."
