"""Ends a login: the authorization response becomes a session. `GET /oauth2/callback`, the one registered redirect_uri of a host; POST where
the provider answers by form_post.

Each step takes the result of the one before: LoginAttempt, AuthorizationCode, Claims, Identity, Session. The invariant: a code is
redeemed only for an attempt that this browser began on this host (A-53) and that was not used before (A-54); every login gets a
new session ID and ends the browser's earlier session (C-40). The rules of `require` are the gate's.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import (
    AuthenticationExpired,
    DirectoryUnavailable,
    EmailNotVerified,
    ProviderFault,
    ProviderUnavailable,
    SignInExpired,
    SignInFailed,
    StepUpUnmet,
    TooManyFailedSignIns,
)
from gateway.gate.site import callback_path, start_url
from gateway.http.message import is_visit
from gateway.identity.claims import Identity
from gateway.languages.message import Message
from gateway.observability.events import Audit
from gateway.oidc.authorization import (
    ATTEMPT_LIFETIME,
    AttemptFacts,
    AuthorizationCode,
    LoginAttempt,
    validate_authorization_response,
)
from gateway.oidc.providers import ProviderClient, Providers
from gateway.oidc.tokens import TokenResult
from gateway.pages.renderer import Pages, RenderedPage, redirect
from gateway.policy.step_up import StepUp
from gateway.sessions.pending_sign_in import PendingSignIn
from gateway.sessions.redemptions import Redemptions, TakenAttempt
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.sessions.user_agent import clean
from gateway.sign_in.address_rate import AddressRate
from gateway.sign_in.begin import SignInRequest, SignInStarter, completed
from gateway.sign_in.browser_binding import read_bindings
from gateway.sign_in.return_to import HOME, is_local
from gateway.token_refresh.schedule import access_times
from gateway.web.account_setup import AccountSetup
from gateway.web.browser_session import BrowserSessions
from gateway.web.form_post import ResponseParameters, response_parameters, with_names
from gateway.web.login_test import LoginTestPage
from gateway.web.request import Parameters, WebRequest
from gateway.web.sign_in_facts import SignInFacts

log = logging.getLogger("doorward.web")

_CHECK_COOKIES: Final = Message(
    "sign_in_expired.cookies", "If this keeps happening, check that your browser accepts cookies from {host}."
)
_CHECK_COOKIES_AND_SCHEME: Final = Message(
    "sign_in_expired.cookies_https",
    "If this keeps happening, check that your browser accepts cookies from {host} and that the address begins with https://.",
)
_REMEMBERED: Final = ATTEMPT_LIFETIME + timedelta(minutes=1)  # a used attempt, in Redis: clocks differ


class Callback:
    """The handler of authorization responses. AccountSetup finds or creates the account and issues the session."""

    def __init__(
        self,
        *,
        providers: Providers,
        account_setup: AccountSetup,
        redemptions: Redemptions,
        failures: AddressRate,
        sessions: BrowserSessions,
        sign_in: SignInStarter,
        login_test: LoginTestPage,
        pages: Pages,
        audit: Audit,
        now: Callable[[], datetime],
    ) -> None:
        self._providers = providers
        self._account_setup = account_setup
        self._redemptions = redemptions
        self._failures = failures
        self._sessions = sessions
        self._sign_in = sign_in
        self._login_test = login_test
        self._attempts = sign_in.attempts
        self._pages = pages
        self._audit = audit
        self._now = now

    async def __call__(self, request: WebRequest) -> RenderedPage:
        # SECURITY: a person who begins sign-ins and makes up the codes would cost the provider a call each, and Redis a key.
        if wait := self._failures.wait(request.client or ""):
            limited = TooManyFailedSignIns("too_many_failures", retry_after=wait, retry_url=start_url(HOME))
            self._log_refused(request, limited, SignInFacts())
            raise limited
        attempt, facts = None, SignInFacts()
        try:
            response = response_parameters(request, self._response_mode(request))
            state, by_form = Parameters(response).one("state") or "", request.head.method == "POST"
            attempt = await self._attempts.find(state, request.cookies, request.route, self._now(), cross_site=by_form)
            if attempt is None:
                return await self._unexpected(request, state)
            facts = SignInFacts.of_attempt(attempt)
            return await self._finish(replace(request, earlier_session=attempt.replaces), response, attempt, facts)
        except Refusal as refusal:
            self._log_refused(request, refusal, facts)
            # SECURITY: images and frames of other sites, which bring no attempt, must not use up the share of their readers' address (A-85).
            ours = attempt is not None or is_visit(request.head)
            if ours and not isinstance(refusal, StoreUnavailable | DirectoryUnavailable):
                self._failures.count(request.client or "")
            if attempt is None:
                raise
            return self._refused(request, attempt, refusal)

    def _response_mode(self, request: WebRequest) -> str:
        """How the provider whose redirect_uri this is answers."""
        here = (client for client in self._providers if callback_path(client.name) == request.path)
        return next((client.settings.response_mode for client in here), "query")

    def _refused(self, request: WebRequest, attempt: LoginAttempt, refusal: Refusal) -> RenderedPage:
        """The page of a sign-in that failed, with the way to the next one."""
        # The same request would give the same sign-in, so the person has to sign in anew.
        prompt = "login" if isinstance(refusal, StepUpUnmet | EmailNotVerified) else None
        provider = attempt.provider if len(request.site.providers) > 1 else None
        tags = attempt.ui_locales
        again = start_url(
            attempt.return_to, prompt=prompt, step_up_for=attempt.step_up_for, provider=provider, ui_locales=tags
        )
        context = request.page_context(attempt.return_to, provider=attempt.provider, retry_url=again, ui_locales=tags)
        page = self._pages.render(refusal, context, html=request.html)
        dropped = self._attempts.drop(attempt, request.cookies, request.route)
        return page.plus(*(("Set-Cookie", value) for value in dropped))

    async def _unexpected(self, request: WebRequest, state: str) -> RenderedPage:
        """A bookmark, a login that took too long, a lost cookie, or another browser's response (A-53): no session, and no loop.

        A state of ours still says where the person wanted to go.
        """
        wanted = await self._attempts.wanted(state, request.route)
        if await self._sessions.find(request) is not None:
            return redirect(303, HOME if wanted is None else _landing(wanted))
        again, tags = start_url(HOME), tuple[str, ...]()
        if wanted is not None:
            provider = wanted.provider if len(request.site.providers) > 1 else None
            tags = wanted.ui_locales
            again = start_url(_landing(wanted), step_up_for=wanted.step_up_for, provider=provider, ui_locales=tags)
        raise SignInExpired("no_attempt", cause=_likely_cause(request), continue_url=again, ui_locales=tags)

    async def _finish(
        self, request: WebRequest, response: ResponseParameters, attempt: LoginAttempt, facts: SignInFacts
    ) -> RenderedPage:
        verify = partial(self._verify, request, response, attempt, facts)
        # SECURITY: a login test ends in a story and never in a session (C-85).
        if attempt.login_test is not None:
            return await self._login_test.finish(request, response, attempt, verify)
        try:
            signed_in, identity = await verify(self._client_of(attempt))
        except AuthenticationExpired:
            # SECURITY: a provider that says so each time gets one more request, and the person a page.
            if attempt.begun_again:
                raise
            return await self._begin_again(request, attempt)
        except SignInExpired:
            if await self._sessions.find(request) is None:
                raise
            return redirect(303, _landing(attempt))
        page = await self._account_setup.start(
            request,
            PendingSignIn(
                session=self._session(request, signed_in, identity, attempt.provider),
                claims=signed_in.claims.values,
                issued_at=int(signed_in.claims.values["iat"]),
                return_to=_landing(attempt),
                began=self._now(),
                begun=attempt.begun,
            ),
            attempt.ui_locales,
        )
        finished = self._attempts.finish(attempt, request.cookies, request.route, self._now())
        return page.plus(*(("Set-Cookie", value) for value in finished))

    async def _verify(
        self,
        request: WebRequest,
        response: ResponseParameters,
        attempt: LoginAttempt,
        facts: SignInFacts,
        client: ProviderClient,
    ) -> tuple[TokenResult, Identity]:
        """Whom the provider has signed in, after every check. Raises SignInFailed and its kinds, ProviderUnavailable, ProviderFault."""
        # SECURITY: mix-up: a code that arrived at one provider's redirect_uri is never sent to another one's token endpoint.
        if attempt.provider not in request.site.providers or request.path != callback_path(attempt.provider):
            raise _mismatch(attempt, request.path)
        code = validate_authorization_response(response, attempt, client.provider.metadata, self._now())
        # SECURITY: taken before the code is redeemed: of two requests with one state, one proceeds.
        taken = await self._redemptions.take(attempt.id)
        if taken is None:
            raise SignInExpired(
                "attempt_used", continue_url=start_url(attempt.return_to, ui_locales=attempt.ui_locales)
            )
        signed_in = await self._redeem(request, client, code, taken)
        if request.head.method == "POST":
            signed_in = replace(signed_in, claims=with_names(signed_in.claims, response, client.settings.claims))
        facts.verified(signed_in.claims, client.settings.claims.email)
        return signed_in, await client.tokens.identify(signed_in.claims)

    async def _begin_again(self, request: WebRequest, attempt: LoginAttempt) -> RenderedPage:
        """The same authorization request once more, with secrets of its own: the person has been at the provider, and chose nothing else."""
        languages = replace(request.languages, ui_locales=attempt.ui_locales)
        wanted = SignInRequest(
            return_to=attempt.return_to, method=request.head.method, step_up=StepUp(attempt.max_age, attempt.acr),
            step_up_for=attempt.step_up_for, prompt=attempt.prompt, provider=attempt.provider, languages=languages,
            begun_again=True, earlier_session=request.earlier_session,
        )  # fmt: skip
        log.info(
            "the provider let a sign-in on %s expire; begun again: request %s", request.route.host, request.request_id
        )
        return await completed(
            self._sign_in.begin(
                request.route, wanted, cookies=request.cookies, request_id=request.request_id, client=request.client
            )
        )

    async def _redeem(
        self, request: WebRequest, client: ProviderClient, code: AuthorizationCode, taken: TakenAttempt
    ) -> TokenResult:
        """The tokens and claims; the attempt is used from the moment when the provider has redeemed or refused the code."""
        settled = False

        async def settle() -> None:
            nonlocal settled
            settled = True
            # SECURITY: a code that the provider has seen belongs to a used attempt, whatever its tokens are worth.
            await self._redemptions.settle(taken, _REMEMBERED)

        try:
            return await client.tokens.redeem(code, request.route.redirect_uri(client.name), settle)
        except (ProviderUnavailable, ProviderFault):
            if not settled:
                await self._redemptions.free(taken)
            raise

    def _client_of(self, attempt: LoginAttempt) -> ProviderClient:
        """The provider of the attempt. Raises SignInFailed where the configuration has it no more."""
        client = self._providers.get(attempt.provider)
        if client is None:
            raise _mismatch(attempt, "a gateway without it")
        return client

    def _session(self, request: WebRequest, signed_in: TokenResult, identity: Identity, provider: str) -> Session:
        claims, limits = signed_in.claims, request.route.config.session
        return Session(
            key_host=request.route.host,
            app=request.route.name,
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
            dpop_key=signed_in.dpop_key if signed_in.refresh_token is not None else None,
            address=request.client,
            provider=provider,
            userinfo_told=claims.userinfo_told if signed_in.refresh_token is not None else "",
            user_agent=clean(request.head.first(b"user-agent")),
            **access_times(signed_in.expires_in, signed_in.refresh_token, self._now()),
        )

    def _log_refused(self, request: WebRequest, refusal: Refusal, facts: SignInFacts) -> None:
        reason = facts.emit_refused(self._audit, request, refusal)
        log.warning(
            "login refused on %s: %s (%s) request %s", request.route.host, reason, refusal.detail, request.request_id
        )


def _mismatch(attempt: LoginAttempt, where: str) -> SignInFailed:
    return SignInFailed("provider_mismatch", f"the attempt was for {attempt.provider}, the response came to {where}")


def _landing(attempt: AttemptFacts) -> str:
    # SECURITY: checked when the login began, and once more where the browser is redirected.
    return attempt.return_to if is_local(attempt.return_to) else HOME


def _likely_cause(request: WebRequest) -> Message | None:
    """Advice for a person whose cookie did not come back; none when cookies of other attempts did, because then this one has expired."""
    if read_bindings(request.cookies, request.route):
        return None
    advice = _CHECK_COOKIES_AND_SCHEME if request.route.secure else _CHECK_COOKIES
    return advice.fill(host=request.route.host)
