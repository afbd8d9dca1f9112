"""Begins a login: binds a LoginAttempt to the browser and redirects it to the provider.

For `/oauth2/start`, and for the data plane when a request to a protected page has no session. It reads nothing from Redis, waits for nothing
but a provider to which the request must be pushed, and leaves an existing
session as it is: the callback replaces it (C-06, C-49).
"""

import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from gateway.errors.access import LoginRequired, SignInDisabled
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import ProviderFault, ProviderUnavailable, TooManyRedirects, TooManySignIns
from gateway.gate.site import AppRoute, Site, start_url
from gateway.languages.message import Message
from gateway.languages.negotiation import NO_PREFERENCE, PreferredLanguages
from gateway.observability import events as audit
from gateway.observability.events import Audit
from gateway.oidc.authorization import AttemptFacts, authorization_parameters
from gateway.oidc.providers import ProviderClient, Providers
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages, RenderedPage, redirect
from gateway.policy.step_up import NOTHING, StepUp
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.keyring import KeyRing
from gateway.sessions.long_links import LongLinks
from gateway.sessions.store import SessionStore
from gateway.sign_in.address_rate import AddressRate
from gateway.sign_in.login_attempts import LoginAttempts
from gateway.sign_in.return_to import ReturnGuard

log = logging.getLogger("doorward.web")

PROMPTS: Final = frozenset({"select_account", "login"})
_LONGEST_PAGE: Final = 512
# Providers that support `select_account`. For others it may be an error, while all of them support `login`.
_SELECTING_ISSUERS: Final = ("https://accounts.google.com", "https://login.microsoftonline.com/")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRequest:
    """What a sign-in is for. `return_to` is a path on the app's host; `method` that of the request that begins it; `provider` a configured name.

    `step_up_for` is the "METHOD /path" whose rules `step_up` meets; `prompt` one of PROMPTS; `begun_again` as in AttemptFacts.
    `navigation`: a person goes there (`is_visit`); where the request must be pushed, nothing else begins a sign-in. `earlier_session`
    is the key of the browser's session, where its cookie did not come.
    """

    return_to: str
    method: str = "GET"
    step_up: StepUp = NOTHING
    step_up_for: str | None = None
    prompt: str | None = None
    login_hint: str | None = None
    provider: str | None = None
    languages: PreferredLanguages = NO_PREFERENCE
    begun_again: bool = False
    navigation: bool = True
    earlier_session: str | None = None


#: What `begin` gives: a page, or what gives it once it is awaited, where the authorization request must be pushed first.
Begun = RenderedPage | Coroutine[Any, Any, RenderedPage]


async def completed(begun: Begun) -> RenderedPage:
    """The page of a sign-in that was begun. Raises ProviderUnavailable, ProviderFault."""
    return begun if isinstance(begun, RenderedPage) else await begun


class SignInStarter:
    """Begins sign-ins. `pushed_requests` counts those of each address for which the provider is called.

    Raises ProviderUnavailable while the provider's metadata was never fetched, SignInDisabled when sign-in is off. `moment`: as LogoutMarkers.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        sites: Mapping[str, Site],
        ring: KeyRing,
        links: LongLinks,
        pages: Pages,
        audit: Audit,
        pushed_requests: AddressRate,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = secrets.token_bytes,
        moment: Callable[[], float] = time.time,
    ) -> None:
        self.attempts = LoginAttempts(ring, links, random)
        self.guard = ReturnGuard(sites)
        self.providers = providers
        self.pages = pages
        self._sites = sites
        self._audit = audit
        self._pushed_requests = pushed_requests
        self._now = now
        self._moment = moment

    def begin(
        self,
        app: AppRoute,
        wanted: SignInRequest,
        *,
        cookies: Sequence[bytes],
        request_id: str,
        client: str | None,
    ) -> Begun:
        """The redirect to the provider: 302, or 303 so that neither method nor body reach it (A-75); or what gives it, once it is awaited.

        The page about redirect loops instead of one redirect too many; the choice of a provider where there are several and none was named.
        `return_to` is checked once more. `client` is the client's address, for the event.
        """
        if not self._sites[app.host].enabled:
            raise SignInDisabled("openid.enabled is off")
        return_to, step_up = self.guard.local(wanted.return_to, app.host), wanted.step_up
        chosen = self._client(app.host, wanted.provider)
        if chosen is None:
            choice = start_url(return_to, step_up_for=wanted.step_up_for, ui_locales=wanted.languages.ui_locales)
            return redirect(away_status(wanted.method), choice)
        metadata = chosen.provider.metadata
        facts: dict[str, Any] = {"app": app.name, "request_id": request_id, "client": client, "provider": chosen.name}
        facts["page"] = page_of(return_to)
        if self.attempts.is_looping(return_to, cookies, app, self._now()):
            cause = likely_cause(app, cookies, step_up=bool(step_up))
            self._audit.emit(audit.LOGIN_REFUSED, **facts, reason="redirect_loop")
            context = PageContext(
                request_id=request_id, site=self._sites[app.host], return_to=return_to,
                retry_url=start_url(return_to, ui_locales=wanted.languages.ui_locales), languages=wanted.languages,
            )  # fmt: skip
            return self._loop_page(context, app, cookies, cause)
        by_form = chosen.settings.response_mode == "form_post"
        begun = AttemptFacts(
            app=app.name, host=app.host, return_to=return_to, started_at=self._now(), max_age=step_up.max_age,
            acr=tuple(step_up.acr), step_up_for=wanted.step_up_for, provider=chosen.name, begun=self._moment(),
            ui_locales=wanted.languages.ui_locales, prompt=wanted.prompt if wanted.prompt in PROMPTS else None,
            begun_again=wanted.begun_again, replaces=_session_key(app, cookies, wanted) if by_form else None,
        )  # fmt: skip
        attempt, set_cookies = self.attempts.begin(begun, cookies, app, cross_site=by_form)
        parameters = authorization_parameters(
            metadata, chosen.settings, app.redirect_uri(chosen.name), attempt, understood_prompt(wanted.prompt, metadata.issuer),
            wanted.login_hint,
        )  # fmt: skip
        leave = partial(self._leave, away_status(wanted.method), set_cookies, facts)
        if not chosen.authorization.pushes:
            return leave(chosen.authorization.url(parameters))
        self._admit_push(app, wanted, facts)
        return self._push(chosen, parameters, facts, leave)

    def _leave(self, status: int, set_cookies: Sequence[str], facts: Mapping[str, Any], url: str) -> RenderedPage:
        """The redirect to the provider."""
        self._audit.emit(audit.LOGIN_STARTED, **facts)
        return redirect(status, url, *(("Set-Cookie", value) for value in set_cookies))

    def _admit_push(self, app: AppRoute, wanted: SignInRequest, facts: Mapping[str, Any]) -> None:
        """Raises LoginRequired for anything but a navigation, TooManySignIns for an address that has begun its share."""
        # SECURITY: each pushed request is a call of the provider, which images, scripts, frames and prefetches of others must not cause.
        if not wanted.navigation:
            raise LoginRequired("no navigation", sign_in_url=app.origin + start_url(wanted.return_to))
        client = facts["client"] or ""
        # SECURITY: and a stranger causes a bounded number of them.
        if wait := self._pushed_requests.wait(client):
            refusal = TooManySignIns("limits.pushed_requests_per_address", retry_after=wait)
            self._log_refused(facts, refusal)
            raise refusal
        self._pushed_requests.count(client)

    async def _push(
        self,
        chosen: ProviderClient,
        parameters: Sequence[tuple[str, str]],
        facts: Mapping[str, Any],
        leave: Callable[[str], RenderedPage],
    ) -> RenderedPage:
        """The redirect, after the request was pushed. Raises ProviderUnavailable, ProviderFault."""
        try:
            url = await chosen.authorization.push(parameters)
        except (ProviderUnavailable, ProviderFault) as refusal:
            self._log_refused(facts, refusal)
            raise
        return leave(url)

    def _log_refused(self, facts: Mapping[str, Any], refusal: Refusal) -> None:
        self._audit.emit(audit.LOGIN_REFUSED, **facts, reason=refusal.code)
        log.warning("login refused: %s (%s) request %s", refusal.code, refusal.detail, facts["request_id"])

    def _client(self, host: str, provider: str | None) -> ProviderClient | None:
        """The only provider of the app, or the named one; None when the person has to choose."""
        names = self._sites[host].providers
        if len(names) == 1:
            return self.providers[names[0]]
        return self.providers[provider] if provider in names else None

    def _loop_page(self, context: PageContext, app: AppRoute, cookies: Sequence[bytes], cause: Message) -> RenderedPage:
        """The page about a redirect loop; after it, `Try again` begins a new login; attempts of other tabs stay."""
        refusal = TooManyRedirects("redirect_loop", cause=cause)
        page = self.pages.render(refusal, context, html=True)
        return page.plus(*(("Set-Cookie", value) for value in self.attempts.restart(cookies, app)))


def _session_key(app: AppRoute, cookies: Sequence[bytes], wanted: SignInRequest) -> str | None:
    """The key of the browser's session; None: it has none."""
    token = SessionCookie(app.secure).find(cookies)
    return wanted.earlier_session if token is None else SessionStore.key_of(token)


def page_of(return_to: str) -> str:
    """The page that a sign-in is for, as events name it: without its query, which may carry secrets (C-48)."""
    return return_to.partition("?")[0][:_LONGEST_PAGE]


def away_status(method: str) -> int:
    """The status of a redirect to another site."""
    # SECURITY: 307 or 308 would post a person's form to the provider.
    return 302 if method in ("GET", "HEAD") else 303


def understood_prompt(prompt: str | None, issuer: str) -> str | None:
    """The prompt that this provider supports, for one of PROMPTS; None for anything else."""
    if prompt == "select_account":
        return prompt if issuer.startswith(_SELECTING_ISSUERS) else "login"
    return prompt if prompt in PROMPTS else None


_TWO_COOKIES: Final = Message(
    "redirect_loop.two_cookies",
    "Your browser sends two session cookies, or a damaged one, so neither can be trusted. Delete this site's cookies and try again.",
)
_STEP_UP: Final = Message(
    "redirect_loop.step_up",
    "This page requires a more recent or a stronger sign-in than the sign-in page provides. Please contact the people who run this site.",
)
_NO_SESSION: Final = Message(
    "redirect_loop.no_session",
    "The sign-in succeeded and your browser kept its cookie, but the session could not be found afterwards. There may be several "
    "servers behind this name that do not share their session store and keys.",
)
_NO_COOKIE: Final = Message(
    "redirect_loop.no_cookie",
    "The sign-in succeeded, but your browser did not send the session cookie back. "
    "The browser, an extension or a proxy may be removing cookies.",
)
_NO_COOKIE_HTTPS: Final = Message(
    "redirect_loop.no_cookie_https",
    "The sign-in succeeded, but your browser did not send the session cookie back. The page may have been opened over http:// "
    "instead of https://, or the browser, an extension or a proxy may be removing cookies.",
)


def likely_cause(app: AppRoute, cookies: Sequence[bytes], *, step_up: bool) -> Message:
    """The most likely cause of a redirect loop, by the cookies that came back."""
    split = SessionCookie(app.secure).split(cookies)
    if split.spoiled:
        return _TWO_COOKIES
    if split.token is not None:
        return _STEP_UP if step_up else _NO_SESSION
    return _NO_COOKIE_HTTPS if app.secure else _NO_COOKIE
