"""The login test of an operator: its link, and then the whole story, from what the running gateway wrote down and what this configuration says.

The gateway does the sign-in (`web.login_test`). Here follow the outcome of each check, the gate's decision about the page, the identity headers,
and what the directory would do, by the same code as `explain` and `provision --dry-run`. Nothing is written but the test itself, which ends
after ten minutes.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.config.addresses import is_insecure
from gateway.config.providers import offered, providers_of
from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.person import Person
from gateway.errors.refusal import Refusal
from gateway.gate.explanation import Step
from gateway.gate.site import LOGIN_TEST, app_routes
from gateway.identity.claims import Identity
from gateway.operations.explain import SignedIn, explain_page
from gateway.operations.login_checks import Advice, CheckOutcome, advice_for, outcomes
from gateway.operations.provisioning import make_plan
from gateway.sessions.login_tests import LIFE, LoginTest, LoginTests
from gateway.sign_in.return_to import is_local
from gateway.web.login_test import with_overlay

_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginTestLink:
    """`url` is to be opened in a browser, once; `id` finds the story."""

    url: str
    id: str
    test: LoginTest


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginStory:
    """`passed`: the sign-in succeeds and the page is served. `advice` is about the failure. The rest is as the provider and the rules had it;
    secrets are masked.
    """

    passed: bool
    advice: Advice | None
    checks: tuple[CheckOutcome, ...]
    authorization_request: Mapping[str, Any] | None = None
    authorization_response: Mapping[str, str] | None = None
    token_response: Mapping[str, Any] | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    sign_in: Mapping[str, Any] = field(default_factory=dict)
    provisioning: tuple[Step, ...] = ()
    decision: tuple[Step, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


async def begin_login_test(
    config: Config,
    tests: LoginTests,
    *,
    app: str,
    owner: str,
    provider: str | None = None,
    page: str = "/",
    overlay: Mapping[str, Any] | None = None,
) -> LoginTestLink:
    """A new test of `app` at one of its providers. `owner`: who may read the story. `overlay`: settings of the provider, as a file writes them,
    in place of the running gateway's.

    Raises ValueError with what is allowed, StoreUnavailable.
    """
    if app not in config.apps:
        raise ValueError(f"{app} is no app; allowed: {', '.join(config.apps)}")
    names = offered(config, config.apps[app])
    chosen = provider or (names[0] if names else "")
    if chosen not in names:
        raise ValueError(f"{chosen or 'no provider'} is not offered by {app}; allowed: {', '.join(names) or 'none'}")
    if not is_local(page):
        raise ValueError(f"{page} is not a page of the app; allowed: a path as it is sent, as /bookings?day=1")
    tried = with_overlay(providers_of(config)[chosen], overlay or {})
    if is_insecure(tried.authority_url) and not config.allow_insecure_http:
        raise ValueError(
            "authority_url is http to another machine; allowed: https, a loopback name, or allow_insecure_http: true"
        )
    route = next(route for route in app_routes(config) if route.name == app)
    test = LoginTest(app=app, host=route.host, provider=chosen, page=page, owner=owner, overlay=overlay or {})
    token = await tests.keep(test)
    return LoginTestLink(url=f"{route.origin}{LOGIN_TEST}?id={quote(token)}", id=tests.id_of(token), test=test)


async def wait_for_story(config: Config, tests: LoginTests, link: LoginTestLink) -> LoginStory | None:
    """The story, once the browser is back; None after ten minutes without it. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(LIFE.total_seconds()):
            while (story := await read_login_story(config, tests, link)) is None:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(_POLL_SECONDS)
            return story
    except TimeoutError:
        return None


async def read_login_story(config: Config, tests: LoginTests, link: LoginTestLink) -> LoginStory | None:
    """The story of a test that its owner reads; None while it has not ended. Raises StoreUnavailable."""
    written = await tests.read_story(link.id, link.test.owner)
    if written is None or written.get("waiting"):
        return None
    failure = written.get("failure")
    common: dict[str, Any] = {
        "checks": tuple(outcomes(failure)),
        "authorization_request": written.get("authorization_request"),
        "authorization_response": written.get("authorization_response"),
        "token_response": written.get("token_response"),
        "calls": tuple(written.get("calls", ())),
        "claims": written.get("claims", {}),
        "identity": written.get("identity", {}),
        "sign_in": written.get("sign_in", {}),
    }
    if failure is not None:
        return LoginStory(passed=False, advice=advice_for(failure, link.test.provider, written), **common)
    identity = msgspec.convert(written["identity"], Identity)
    steps, refused = await _provisioning(config, link.test, identity, written["claims"])
    signed_in = SignedIn(identity=identity, acr=written["sign_in"]["acr"], auth_time=_moment(written["sign_in"]))
    decision = explain_page(config, link.test.host, link.test.page, signed_in)
    passed = refused is None and ("decision", "forward") in decision
    advice = refused if refused is not None else None if passed else _closed_page()
    return LoginStory(passed=passed, advice=advice, provisioning=tuple(steps), decision=tuple(decision), **common)


def _moment(sign_in: Mapping[str, Any]) -> datetime | None:
    return None if sign_in["auth_time"] is None else datetime.fromtimestamp(sign_in["auth_time"], UTC)


def _closed_page() -> Advice:
    return Advice(
        step="decision", provider_says="", means="the person signs in, and this page is not for them",
        setting="the app's `require`, or the `rules` that match the page; else the person's groups at the provider",
    )  # fmt: skip


async def _provisioning(
    config: Config, test: LoginTest, identity: Identity, claims: Mapping[str, Any]
) -> tuple[list[Step], Advice | None]:
    """What the directory would do, and why the person would be refused; reads it and writes nothing."""
    app, settings = config.apps[test.app], config.directory
    policy = registration(config.openid, app.surface, settings.kind)
    if settings.kind == "none" or policy == "skip":
        return [("directory", "not asked")], None
    steps: list[Step] = [("not registered", policy)]
    try:
        report = await make_plan(settings, Person(identity=identity, claims=claims, app=test.app), suspend=False)
    except Refusal as refusal:
        return [*steps, ("refused", refusal.detail or refusal.code)], _refused(
            refusal.code, "directory and its credentials"
        )
    found, account = report.plan, report.plan.account
    steps += [("asked", f"{call.method} {call.url}") for call in report.calls]
    steps.append(("account", "none" if account is None else f"{account.id}, {'' if account.active else 'not '}active"))
    if account is None and policy == "refuse":
        return [*steps, ("refused", "not_registered")], _refused(
            "not_registered", "openid.create_users, or the person's account in the directory"
        )
    if account is not None and not account.active:
        return [*steps, ("refused", "account_suspended")], _refused("account_suspended", "the account in the directory")
    if found.elsewhere:
        return [*steps, ("refused", "account_linked_elsewhere")], _refused(
            "account_linked_elsewhere", "directory.linked_elsewhere, or the account's link"
        )
    if found.call is None:
        return [*steps, ("would write", "nothing")], None
    call = found.call
    return [*steps, ("would", found.what), ("call", f"{call.method} {call.url}"), ("body", call.body)], None


def _refused(code: str, setting: str) -> Advice:
    return Advice(
        step="directory", provider_says="", means=f"the person signs in, and is refused: {code}", setting=setting
    )
