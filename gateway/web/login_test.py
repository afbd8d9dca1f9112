"""`/oauth2/login_test`: a real sign-in that issues no session and creates nothing, for an operator who wants to see what would happen.

The link works once, for ten minutes, in the first browser that opens it. The authorization response comes to the ordinary callback, which
verifies it by the code of every sign-in; the result is written down for the operator (`sessions.login_tests`). The provider is called
anew, with the test's own settings where it has any, and never by the clients that serve other people.
"""

import logging
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gateway.config.providers import providers_of
from gateway.config.schema import Config, ProviderKeys
from gateway.errors.access import CrossSiteRequest
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import LoginTestGone, ProviderFault, ProviderUnavailable, SignInExpired
from gateway.identity.claims import Identity
from gateway.languages.message import Message
from gateway.oidc.authorization import AttemptFacts, LoginAttempt, authorization_parameters
from gateway.oidc.calls import open_session
from gateway.oidc.id_token import read_unverified
from gateway.oidc.provider import Provider
from gateway.oidc.providers import ProviderClient, provider_client
from gateway.oidc.recorded_calls import RecordingCalls, masked_parameters
from gateway.oidc.tokens import TokenResult
from gateway.pages.renderer import Content, Pages, RenderedPage, redirect
from gateway.sessions.cookie import set_cookie
from gateway.sessions.login_tests import LIFE, LoginTest, LoginTests
from gateway.sign_in.begin import PROMPTS, SignInStarter, understood_prompt
from gateway.sign_in.return_to import HOME, is_local
from gateway.web.request import WebRequest
from gateway.web.sign_out import is_same_origin

log = logging.getLogger("doorward.web")

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")

Verified = tuple[TokenResult, Identity]
Verify = Callable[[ProviderClient], Awaitable[Verified]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedClient:
    """The provider of a test, which was asked just now, and the calls to it."""

    client: ProviderClient
    calls: RecordingCalls


class LoginTestPage:
    """`GET, POST /oauth2/login_test?id=TOKEN`. Raises LoginTestGone, CrossSiteRequest, StoreUnavailable."""

    def __init__(
        self, *, config: Config, tests: LoginTests, sign_in: SignInStarter, pages: Pages, now: Callable[[], datetime]
    ) -> None:
        self._settings = providers_of(config)
        self._insecure = config.allow_insecure_http
        self._tests = tests
        self._attempts = sign_in.attempts
        self._pages = pages
        self._now = now

    async def __call__(self, request: WebRequest) -> RenderedPage:
        token = request.param("id") or ""
        test, test_id = await self._tests.find(token), self._tests.id_of(token)
        if test is None or (test.app, test.host) != (request.route.name, request.route.host) or request.prefetching:
            raise LoginTestGone("no such test here")
        if request.head.method == "POST":
            # SECURITY: a page of another site must not begin an operator's test (C-49).
            if not is_same_origin(request):
                raise CrossSiteRequest("login_test")
            return await self._begin(request, test, test_id)
        browser = _browser_of(request) or secrets.token_urlsafe(32)
        await self._require_browser(test_id, browser)
        cookie = set_cookie(_name(request), browser, secure=request.route.secure, max_age=int(LIFE.total_seconds()))
        page = self._pages.show(self._offer(request, test), request.page_context())
        return page.plus(("Set-Cookie", cookie))

    async def _require_browser(self, test_id: str, browser: str | None) -> None:
        if browser is None or not await self._tests.bind(test_id, browser):
            raise LoginTestGone("opened in another browser")

    def _offer(self, request: WebRequest, test: LoginTest) -> Content:
        authority = urlsplit(_settings_of(test, self._settings).authority_url)
        return Content(
            code="login_test",
            tone="locked",
            title=Message("login_test.title", "Try the sign-in"),
            message=Message(
                "login_test.message",
                "This signs you in at the sign-in page, and the result is shown where the test was begun. You get no session here, "
                "and nothing is created.",
            ),
            form_action=request.head.target.decode("latin-1"),
            form_label=Message("login_test.start", "Sign in"),
            form_other=("prompt", "select_account", Message("page.another_account", "Use another account")),
            form_targets=("https:", *([f"http://{authority.netloc}"] if authority.scheme == "http" else [])),
        )

    async def _begin(self, request: WebRequest, test: LoginTest, test_id: str) -> RenderedPage:
        await self._require_browser(test_id, _browser_of(request))
        # SECURITY: a link works once: a story is about one sign-in, and no link begins a second one (C-85).
        if not await self._tests.begin(test_id):
            raise LoginTestGone("begun before")
        prompt, calls = request.parameters.one("prompt"), None
        try:
            async with self._open(test) as tested:
                calls = tested.calls
                url, cookies = await self._authorization(request, test, test_id, tested.client, prompt)
        except (Refusal, ValueError, OSError) as error:
            refusal = error if isinstance(error, Refusal) else ProviderFault(f"settings: {error}")
            await self._write(test, test_id, {"failure": _failure(refusal)}, calls)
            return self._done(request)
        parameters = masked_parameters(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        story = {"authorization_request": {"url": url.partition("?")[0], "parameters": parameters}}
        await self._write(test, test_id, {**story, "waiting": True}, calls)
        return redirect(303, url, *(("Set-Cookie", value) for value in cookies))

    async def _authorization(
        self, request: WebRequest, test: LoginTest, test_id: str, client: ProviderClient, prompt: str | None
    ) -> tuple[str, list[str]]:
        """Where the browser goes, and its cookies, as any sign-in begins."""
        begun = AttemptFacts(
            app=test.app, host=test.host, return_to=test.page if is_local(test.page) else HOME, started_at=self._now(),
            provider=test.provider, prompt=prompt if prompt in PROMPTS else None, login_test=test_id,
        )  # fmt: skip
        by_form = client.settings.response_mode == "form_post"
        attempt, cookies = self._attempts.begin(begun, request.cookies, request.route, cross_site=by_form)
        metadata = client.provider.metadata
        understood = understood_prompt(prompt, metadata.issuer)
        redirect_uri = request.route.redirect_uri(test.provider)
        parameters = authorization_parameters(metadata, client.settings, redirect_uri, attempt, understood)
        if client.authorization.pushes:
            return await client.authorization.push(parameters), cookies
        return client.authorization.url(parameters), cookies

    async def finish(
        self, request: WebRequest, response: Sequence[tuple[str, str]], attempt: LoginAttempt, verify: Verify
    ) -> RenderedPage:
        """The page after the authorization response, which `verify` verifies with the test's client. Raises LoginTestGone."""
        test_id = attempt.login_test or ""
        test = await self._tests.find_by_id(test_id)
        if test is None:
            raise LoginTestGone("more than ten minutes ago")
        story = await self._tests.read_story(test_id, test.owner) or {}
        # SECURITY: a response that comes once more, as by a reload, must not take the place of what the first one gave (C-85).
        if not story.get("waiting"):
            return self._done(request)
        found: dict[str, Any] = {"authorization_response": masked_parameters([*response])}
        calls = None
        try:
            async with self._open(test) as tested:
                calls = tested.calls
                signed_in, identity = await verify(tested.client)
                found |= _facts(signed_in, identity)
                await _give_back(tested.client, signed_in)
        except SignInExpired:  # another request verifies the same response, and writes the story
            return self._done(request)
        except Refusal as refusal:
            found["failure"] = _failure(refusal)
            log.info("login test on %s: %s (%s)", test.host, refusal.code, refusal.detail)
        begun = {"authorization_request": story.get("authorization_request")}
        await self._write(test, test_id, {**begun, **found}, calls)
        return self._done(request)

    @asynccontextmanager
    async def _open(self, test: LoginTest) -> AsyncIterator[TestedClient]:
        """The provider with its metadata and keys. Raises ProviderUnavailable, ProviderFault, ValueError, OSError."""
        keys = _settings_of(test, self._settings)
        async with open_session(keys.ca, keys.client_tls.files) as http:
            calls = RecordingCalls(http)
            provider = Provider(keys, http, allow_insecure_http=self._insecure, calls=calls)
            client = provider_client(test.provider, keys, provider, self._now)
            await provider.ping()
            try:
                yield TestedClient(client=client, calls=calls)
            finally:
                await provider.close()

    async def _write(
        self, test: LoginTest, test_id: str, story: Mapping[str, Any], calls: RecordingCalls | None
    ) -> None:
        made = [asdict(call) for call in calls.records] if calls is not None else []
        tokens = next((call for call in reversed(made) if call["what"] == "token"), None)
        whole = {"owner": test.owner, "calls": made, "token_response": tokens, **story}
        try:
            await self._tests.write_story(test_id, whole)
        except ValueError:
            await self._tests.write_story(test_id, {"owner": test.owner, "failure": {"code": "too_large"}})

    def _done(self, request: WebRequest) -> RenderedPage:
        content = Content(
            code="login_test_ended",
            tone="done",
            title=Message("login_test_ended.title", "The test has ended"),
            message=Message(
                "login_test_ended.message", "The result is shown where you began the test. You can close this page."
            ),
        )
        return self._pages.show(content, request.page_context())


def _settings_of(test: LoginTest, known: Mapping[str, ProviderKeys]) -> ProviderKeys:
    """The provider's settings with those of the test over them. Raises LoginTestGone for a provider that is none any more."""
    settings = known.get(test.provider)
    if settings is None:
        raise LoginTestGone("the provider is not in the configuration any more")
    return with_overlay(settings, test.overlay)


def with_overlay(settings: ProviderKeys, overlay: Mapping[str, Any]) -> ProviderKeys:
    """Settings of a provider with others over them, as a file writes them. Raises ValueError with what is wrong."""
    if "response_mode" in overlay:
        raise ValueError("response_mode cannot be tried before it is saved; allowed: the other settings of a provider")
    given = ProviderKeys.model_validate(dict(overlay))
    changed = {name: getattr(given, name) for name in overlay}
    # SECURITY: no stored secret is sent to an authority, or in the name of a client, for which it was not entered (C-86).
    if any(name in changed and changed[name] != getattr(settings, name) for name in ("authority_url", "client_id")):
        kept = {"client_secret": None, "client_private_key": None, "client_tls": ProviderKeys().client_tls}
        changed = {**kept, **changed}
    return settings.model_copy(update=changed)


def _facts(signed_in: TokenResult, identity: Identity) -> dict[str, Any]:
    claims = signed_in.claims
    return {
        "claims": dict(claims.values),
        "id_token": read_unverified(signed_in.id_token),
        "identity": msgspec.to_builtins(identity),
        "sign_in": {
            "auth_time": claims.auth_time,
            "acr": claims.acr,
            "provider_sid": claims.provider_sid,
            "expires_in": signed_in.expires_in,
            "refresh_token": signed_in.refresh_token is not None,
        },
    }


def _failure(refusal: Refusal) -> dict[str, str]:
    reason = getattr(refusal, "reason", "") or refusal.code
    return {"code": refusal.code, "reason": str(reason), "detail": refusal.detail}


async def _give_back(client: ProviderClient, signed_in: TokenResult) -> None:
    """Revoke the tokens, which no session keeps."""
    try:
        if client.tokens.can_revoke:
            for token, hint in ((signed_in.refresh_token, "refresh_token"), (signed_in.access_token, "access_token")):
                if token is not None:
                    await client.tokens.revoke(token, hint)
    except (ProviderUnavailable, ProviderFault) as refusal:
        log.warning("the tokens of a login test were not revoked: %s", refusal.detail)


def _name(request: WebRequest) -> str:
    return f"{'__Host-' if request.route.secure else ''}doorward_login_test"


def _browser_of(request: WebRequest) -> str | None:
    """The secret of this browser; None when it is missing, repeated or none of ours."""
    name = _name(request).encode()
    pairs = (pair.strip(b" \t").partition(b"=") for value in request.cookies for pair in value.split(b";"))
    found = [value.decode("latin-1") for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 and _SECRET.fullmatch(found[0]) else None
