"""Begins a login: a LoginAttempt into the browser's cookie, the browser to the provider.

For `/oauth2/start`, and for the data plane when a stranger opens a protected page. Nothing is asked of Redis, and an existing session is
left alone: the callback replaces it (C-06, C-49). The caller of `/oauth2/start` chooses where to land, whether to choose another account
and whom to suggest, never scopes or `acr_values`: those come from the rules of the page that is named. `/oauth2/start` is the client's
`initiate_login_uri` as well: the provider's own page, or a third party, begins a login with `iss`, `target_link_uri` and `login_hint`
(OpenID Connect Core 1.0 section 4).
"""

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

from gateway import audit
from gateway.audit import Audit
from gateway.config import schema
from gateway.errors import BadRequest, Refusal, SignInDisabled, TooManyRedirects, UnknownIssuer
from gateway.oidc.authorization import authorization_url, new_attempt
from gateway.oidc.provider import Provider
from gateway.policy.step_up import NOTHING, StepUp, step_up_of
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.keyring import KeyRing
from gateway.sites import AppRoute, Site
from gateway.web.asked import Asked, parse_form
from gateway.web.attempts import AttemptCookies, Rounds
from gateway.web.pages import Page, Pages, redirect
from gateway.web.return_to import ReturnGuard

PROMPTS: Final = frozenset({"select_account", "login"})
_LONGEST_HINT: Final = 254
_LONGEST_ROUTE: Final = 1024
# Where `select_account` shows the accounts to choose from. Elsewhere it may be an error, and `login` asks anew everywhere.
_SELECTING_ISSUERS: Final = ("https://accounts.google.com", "https://login.microsoftonline.com/")


class SignIn:
    """Raises ProviderUnavailable while the provider's metadata was never fetched, SignInDisabled when sign-in is off."""

    def __init__(
        self,
        *,
        openid: schema.OpenID,
        provider: Provider,
        sites: Mapping[str, Site],
        ring: KeyRing,
        pages: Pages,
        audit: Audit,
        now: Callable[[], datetime],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.attempts = AttemptCookies(ring)
        self.guard = ReturnGuard(sites)
        self._openid = openid
        self._provider = provider
        self._pages = pages
        self._audit = audit
        self._now = now
        self._random = random

    def begin(
        self,
        app: AppRoute,
        host: str,
        return_to: str,
        cookies: Sequence[bytes],
        request_id: str,
        *,
        method: str = "GET",
        step_up: StepUp = NOTHING,
        step_up_for: str | None = None,
        prompt: str | None = None,
        login_hint: str | None = None,
    ) -> Page:
        """The redirect to the provider: 302, or 303 so that a method and a body never reach it (A-75); the loop page instead of
        one redirect too many. `return_to` is a path on `host` and is judged once more."""
        if not self._openid.enabled:
            raise SignInDisabled("openid.enabled is off")
        metadata = self._provider.metadata
        return_to = self.guard.local(return_to, host)
        rounds = self.attempts.rounds(return_to, cookies, app, self._now())
        if rounds.looping:
            cause = likely_cause(app, cookies, rounds, step_up=bool(step_up))
            return self._loop(app, return_to, cookies, request_id, cause)
        attempt = new_attempt(
            self._random,
            app=app.name,
            host=app.host,
            return_to=return_to,
            now=self._now(),
            max_age=step_up.max_age,
            acr=step_up.acr,
            step_up_for=step_up_for,
        )
        url = authorization_url(
            metadata,
            self._openid.client_id,
            app.redirect_uri,
            self._openid.scopes,
            attempt,
            understood_prompt(prompt, metadata.issuer),
            login_hint,
        )
        self._audit.event(audit.LOGIN_STARTED, app=app.name, request_id=request_id)
        kept = self.attempts.keep(attempt, cookies, app)
        return redirect(_status(method), url, *(("Set-Cookie", value) for value in kept))

    def _loop(self, app: AppRoute, return_to: str, cookies: Sequence[bytes], request_id: str, cause: str) -> Page:
        """Says why, and forgets the rounds, so that `Try again` really tries again."""
        self._audit.event(audit.LOGIN_REFUSED, app=app.name, request_id=request_id, reason="redirect_loop")
        again = start_url(return_to)
        refusal = TooManyRedirects("redirect_loop", cause=cause, retry_url=again)
        page = self._pages.render(refusal, html=True, request_id=request_id, app=app)
        return page.plus(*(("Set-Cookie", value) for value in self.attempts.drop_all(cookies, app)))


class Start:
    """`GET, POST /oauth2/start?rd=`, or `?iss=&target_link_uri=&login_hint=` from elsewhere."""

    def __init__(self, sign_in: SignIn, issuer: str) -> None:
        self._sign_in = sign_in
        self._issuer = issuer

    async def __call__(self, asked: Asked) -> Page:
        """Raises UnknownIssuer for a login that another provider begins."""
        said = _Said(asked)
        # SECURITY: whoever begins a login elsewhere names the provider; only ours is ever asked.
        if said.has("iss") and said.one("iss") != self._issuer:
            raise UnknownIssuer("iss is not openid.authority_url")
        wanted = said.one("target_link_uri") if said.has("iss") and not said.has("rd") else said.one("rd")
        there = self._sign_in.guard.destination(wanted, asked.route.host)
        prompt, hint = said.one("prompt"), _hint(said.one("login_hint"))
        step_up_for = _route(said.one("for"))
        if there.origin is not None:
            prompt = prompt if prompt in PROMPTS else None
            url = there.origin + start_url(there.path, prompt, hint, step_up_for)
            return redirect(_status(asked.head.method), url)
        return self._sign_in.begin(
            asked.route,
            asked.route.host,
            there.path,
            asked.cookies,
            asked.request_id,
            method=asked.head.method,
            step_up=_step_up(asked.site, there.path, step_up_for),
            step_up_for=step_up_for,
            prompt=prompt,
            login_hint=hint,
        )


class _Said:
    """The parameters of the query, and of the form of a POST."""

    def __init__(self, asked: Asked) -> None:
        self._params = [*asked.params]
        if asked.head.method == "POST" and asked.body:
            with contextlib.suppress(Refusal):
                self._params += parse_form(asked.body.decode("ascii", "replace"))

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self._params)

    def one(self, name: str) -> str | None:
        """The one value; None when it is missing or repeated."""
        found = [value for key, value in self._params if key == name]
        return found[0] if len(found) == 1 else None


def _hint(text: str | None) -> str | None:
    """Whom to suggest at the provider: a short printable text, or nobody."""
    return text if text and len(text) <= _LONGEST_HINT and text.isprintable() else None


def _route(text: str | None) -> str | None:
    """ "METHOD /path" of a request that wants another sign-in; None for anything else."""
    if text is None or len(text) > _LONGEST_ROUTE or not text.isprintable():
        return None
    method, _, path = text.partition(" ")
    return text if method.isalpha() and method.isascii() and path.startswith("/") else None


def _step_up(site: Site, return_to: str, step_up_for: str | None) -> StepUp:
    """What the rules ask of a sign-in that ends on `return_to` and is to do for `step_up_for`."""
    # SECURITY: the caller names pages; what they ask is the configuration's to say, so nobody can ask for less.
    asked = _of_rule(site, "GET", return_to)
    if step_up_for is None:
        return asked
    method, _, path = step_up_for.partition(" ")
    return asked.and_also(_of_rule(site, method.upper(), path))


def _of_rule(site: Site, method: str, target: str) -> StepUp:
    try:
        return step_up_of(site.verdict(method, target.partition("#")[0].partition("?")[0].encode(), b"").ruling)
    except BadRequest:
        return NOTHING


def _status(method: str) -> int:
    # SECURITY: 307 or 308 would post a person's form to the provider.
    return 302 if method in ("GET", "HEAD") else 303


def start_url(
    return_to: str, prompt: str | None = None, login_hint: str | None = None, step_up_for: str | None = None
) -> str:
    """The path that begins a login which ends on `return_to`."""
    parameters = [] if return_to == "/" else ["rd=" + quote(return_to, safe="/")]
    parameters += [] if prompt is None else ["prompt=" + prompt]
    parameters += [] if login_hint is None else ["login_hint=" + quote(login_hint, safe="")]
    parameters += [] if step_up_for is None else ["for=" + quote(step_up_for, safe="/")]
    return "/oauth2/start" + ("?" + "&".join(parameters) if parameters else "")


def understood_prompt(prompt: str | None, issuer: str) -> str | None:
    """The prompt that this provider understands, for one of PROMPTS; None for anything else."""
    if prompt == "select_account":
        return prompt if issuer.startswith(_SELECTING_ISSUERS) else "login"
    return prompt if prompt in PROMPTS else None


def likely_cause(app: AppRoute, cookies: Sequence[bytes], rounds: Rounds, *, step_up: bool) -> str:
    """What most often makes a sign-in go round in circles, judged by which cookies came back."""
    split = SessionCookie(app.secure).split(cookies)
    if split.spoiled:
        return (
            "The browser sends two session cookies, or a damaged one, so neither can be trusted. "
            "Clear the cookies of this site and try again."
        )
    if split.token is not None and step_up:
        return (
            "The page asks for a fresher or stronger sign-in than the sign-in page gives. "
            "The people who run this site can change what the page asks for, or the sign-in page's settings."
        )
    if split.token is not None:
        return (
            "The sign-in succeeded and the browser kept its cookie, but the session was not found afterwards. Perhaps several "
            "servers answer under this name without sharing one session store and the same keys."
        )
    if rounds.done:
        return (
            "The sign-in succeeded, but the browser did not send the session cookie back. "
            + (
                "Perhaps the page was opened over http:// although this site is https://, or"
                if app.secure
                else "Perhaps"
            )
            + " the browser or an extension deletes cookies, or a proxy on the way removes them."
        )
    return (
        "The sign-in page sent you back without finishing the sign-in. Perhaps the address that it returns to is not "
        f"{app.redirect_uri}, or something on the way answers that address."
    )
