"""Signing in: from a deep link, by way of the provider, back to it; and what becomes of answers that are not right."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from joserfc.jwk import RSAKey

from gateway.demo.provider.signer import Signer
from tests.fakes import forge
from tests.fakes.browser import Answer, Browser
from tests.fakes.forge import altered, ec_key, hmac_signed, public, rsa_key, sign, unsigned
from tests.fakes.house import House, free_port
from tests.fakes.provider import ADA, MIA, MISSING, MisbehavingProvider, broken_off, parameters_of, says
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"
TWO_APPS = {"portal": {}, "dashboard": {"surface": "dashboard", "require": {"groups": ["staff"]}}}


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    """A portal, with a provider that answers."""
    return await open_house(provider=provider)


def session_of(browser: Browser, app: str = "portal") -> str | None:
    cookie = browser.jar.named(COOKIE, f"{app}.localhost")
    return cookie.value if cookie else None


async def arrive(house: House, browser: Browser, at: str = "/", person: object = MIA["sub"]) -> str:
    """A login up to the redirect to the callback, which is returned and not followed."""
    await browser.open(house.origin() + at, follow=False)
    page = await browser.follow()
    if not page.location:
        page = await house.choose(browser, page, person, follow=False)
    return page.location


def edited(url: str, *more: tuple[str, str], **changes: str | None) -> str:
    """The same URL with other parameters; None takes one away, `more` are added at the end."""
    base, _, query = url.partition("?")
    kept = [(name, changes.get(name, value)) for name, value in parse_qsl(query, keep_blank_values=True)]
    return base + "?" + urlencode([(name, value) for name, value in kept if value is not None] + list(more))


def assert_nobody_came_in(house: House, browser: Browser, answer: Answer, *, status: int | None = None) -> None:
    """A page of ours; no session, no cookie that the app would see, nothing at the upstream."""
    assert answer.status == status if status is not None else 400 <= answer.status < 500
    assert "text/html" in (answer.header("Content-Type") or "")
    assert session_of(browser) is None
    assert [cookie.name for cookie in browser.jar.cookies if cookie.host.endswith("portal.localhost")] == []
    assert house.upstream.requests == []
    assert house.worker.audit.counts["login.succeeded", "portal"] == 0


def reasons(house: House) -> list[str]:
    events = [json.loads(line) for line in house.lines if b'"login.refused"' in line]
    return [event["reason"] for event in events]


# --- a login that goes well -------------------------------------------------------------------------------------------


async def test_a_deep_link_with_a_query_comes_back_after_the_login(house: House) -> None:
    """A-13: with claims that only userinfo had."""
    browser = house.browser()
    page = await house.sign_in(browser, at="/bookings/7?day=2026-03-01&room=a%20b")
    assert page.url == house.origin() + "/bookings/7?day=2026-03-01&room=a%20b"
    assert page.text == "you asked for /bookings/7?day=2026-03-01&room=a%20b"
    (request,) = house.upstream.requests
    assert request.values("x-forwarded-email") == [b"mia@example.com"]
    assert request.values("x-forwarded-name") == [b"Mia Lindqvist"]
    assert request.values("x-forwarded-groups") == [b"members"]
    assert request.values("x-forwarded-user") == [b"hd-1001"]
    assert b"doorward" not in b"".join(request.values("cookie"))
    assert not browser.jar.refused


async def test_a_session_knows_the_browser_that_signed_in_by_200_bytes_at_most(house: House) -> None:
    browser = house.browser()
    browser.user_agent = "Browser/1 (X11) " + "x" * 500
    await house.sign_in(browser, at="/x")
    token = session_of(browser)
    assert token is not None
    stored = await house.worker.store.fetch(house.worker.store.key_of(token), house.host(), "portal")
    assert stored is not None
    assert stored.session.user_agent == ("Browser/1 (X11) " + "x" * 500)[:200]


async def test_the_authorization_request_has_pkce_state_nonce_and_the_registered_address(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-01, A-77: and the token request has the verifier and the same redirect_uri."""
    browser = house.browser()
    answer = await browser.open(house.origin() + "/x", follow=False)
    assert answer.status == 302
    sent = dict(parameters_of(answer.location))
    assert sent["response_type"] == "code"
    assert "openid" in sent["scope"].split()
    assert sent["redirect_uri"] == house.origin() + "/oauth2/callback"
    assert sent["code_challenge_method"] == "S256"
    assert len(sent["state"]) >= 22
    assert len(sent["nonce"]) >= 22
    assert sent["state"] != sent["nonce"]
    await house.choose(browser, await browser.follow())
    (token,) = [seen for seen in provider.seen if seen.endpoint == "token"]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(token.form["code_verifier"].encode()).digest()).rstrip(b"=")
    assert challenge.decode() == sent["code_challenge"]
    assert token.form["redirect_uri"] == sent["redirect_uri"]
    assert token.headers["Authorization"].startswith("Basic ")


async def test_a_client_secret_of_any_characters_is_understood(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-14."""
    house = await open_house(provider=provider, openid={"client_secret": "a:b%c+d /é"})
    assert (await house.sign_in(house.browser(), at="/x")).status == 200


async def test_an_encoded_fragment_in_rd_comes_back_where_only_the_browser_reads_it(house: House) -> None:
    browser = house.browser()
    await browser.open(house.origin() + "/oauth2/start?rd=" + quote("/app?tab=2#/rooms/7", safe=""))
    location = (await house.choose(browser, browser.page, follow=False)).location
    assert location.startswith(house.origin() + "/oauth2/callback?")
    assert (await browser.follow()).location == house.origin() + "/app?tab=2#/rooms/7"
    assert (await browser.follow()).text == "you asked for /app?tab=2"


async def test_five_parallel_tabs_each_end_on_their_own_deep_link(house: House, provider: MisbehavingProvider) -> None:
    """A-54."""
    browser = house.browser()
    callbacks = []
    for tab in range(5):
        start = await browser.open(f"{house.origin()}/tab/{tab}?t={tab}", follow=False)
        assert start.location.startswith(provider.issuer)
        callbacks.append(start.location)
    for tab, authorize in enumerate(callbacks):
        page = await browser.open(authorize)
        page = await house.choose(browser, page)
        assert page.url == f"{house.origin()}/tab/{tab}?t={tab}"
        assert page.status == 200
    assert house.worker.audit.counts["login.succeeded", "portal"] == 5


async def test_two_hundred_abandoned_logins_leave_a_short_cookie_field(house: House) -> None:
    """A-54, C-49: and nothing in Redis."""
    browser = house.browser()
    for page in range(200):
        await browser.open(f"{house.origin()}/page/{page}", follow=False)
    ours = browser.jar.header(house.origin() + "/", same_site=True, navigation=True, safe=True)
    assert len(ours) < 3600
    prefix = house.worker.config.redis.key_prefix
    ages = set(await house.worker.redis.keys(f"{prefix}key:*"))  # since when the worker's keys are in use
    assert set(await house.worker.redis.keys(f"{prefix}*")) == ages
    assert (await house.sign_in(browser, at="/at/last")).url == house.origin() + "/at/last"


async def test_a_script_gets_401_with_the_way_to_sign_in(house: House) -> None:
    browser = house.browser()
    await house.sign_in(browser)
    browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name != COOKIE]
    answer = await browser.fetch("/api/bookings")
    problem = json.loads(answer.body)
    assert answer.status == 401
    assert answer.header("Content-Type") == "application/problem+json"
    assert (answer.header("WWW-Authenticate") or "").startswith("Bearer")
    assert problem["code"] == "login_required"
    assert problem["sign_in_url"] == house.origin() + "/oauth2/start"
    assert problem["request_id"]
    assert answer.all("Set-Cookie") == []


async def test_a_form_sent_while_signed_out_reaches_neither_the_provider_nor_the_upstream(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-75: it gets a page; the sign-in begins by a link, and ends on the page that sent the form."""
    browser = house.browser()
    answer = await browser.post_from(house.origin() + "/form", house.origin() + "/bookings", b"note=very-private")
    assert answer.status == 401
    page = await house.choose(browser, await browser.click(answer.document.link("Sign in")))
    assert page.url == house.origin() + "/form"
    assert {seen.method for seen in provider.seen if seen.endpoint == "authorize"} == {"GET"}
    assert "very-private" not in json.dumps([dict(seen.form) for seen in provider.seen])
    assert [request.line.split()[0] for request in house.upstream.requests] == [b"GET"]
    assert "very-private" not in "".join(answer.url for answer in browser.history)


async def test_a_login_on_another_configured_host_begins_there(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-50: `rd` may name another configured host; nobody else's (A-51)."""
    house = await open_house(apps=TWO_APPS, provider=provider)
    browser = house.browser()
    there = house.origin("dashboard") + "/members?q=x"
    page = await browser.open(house.origin() + "/oauth2/start?rd=" + quote(there, safe=""))
    page = await house.choose(browser, page, ADA["sub"])
    assert page.url == there
    assert page.status == 200
    assert session_of(browser) is None
    assert session_of(browser, "dashboard") is not None
    assert house.upstreams["portal"].requests == []
    for elsewhere in ("https://evil.example/", "//evil.example/", house.origin() + "@evil.example/"):
        page = await browser.open(house.origin() + "/oauth2/start?rd=" + quote(elsewhere, safe=""))
        assert page.url == house.origin() + "/"


async def test_one_sign_in_opens_both_surfaces_with_a_session_each(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-09: the sessions are of one host each, and worthless on the other."""
    house = await open_house(apps=TWO_APPS, provider=provider)
    browser = house.browser()
    assert (await house.sign_in(browser, ADA["sub"])).status == 200
    page = await browser.open(house.origin("dashboard") + "/now")
    assert (page.status, page.text) == (200, "you asked for /now")
    portal, dashboard = session_of(browser), session_of(browser, "dashboard")
    assert portal != dashboard
    for app, foreign in (("portal", dashboard), ("dashboard", portal)):
        assert (await house.ask("/", app=app, cookie=f"{COOKIE}={foreign}")).status == 401


async def test_a_member_is_refused_by_the_dashboard_and_may_use_another_account(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """The 403 page names the account and offers another; the provider is asked to ask again."""
    house = await open_house(apps=TWO_APPS, provider=provider)
    browser = house.browser()
    page = await house.sign_in(browser, MIA["sub"], app="dashboard", at="/members")
    assert page.status == 403
    assert "mia@example.com" in page.text
    assert house.upstreams["dashboard"].requests == []
    assert house.worker.audit.counts["access.denied", "dashboard"] == 1
    members = session_of(browser, "dashboard")
    switch = page.document.link("Use another account")
    assert switch.endswith("/oauth2/start?rd=/members&prompt=select_account")
    page = await browser.click(switch)
    assert page.url.startswith(provider.issuer)
    assert dict(parameters_of(page.url))["prompt"] in ("login", "select_account")
    page = await house.choose(browser, page, ADA["sub"])
    assert page.status == 200
    assert house.upstreams["dashboard"].requests[-1].values("x-forwarded-email") == [b"ada@example.com"]
    assert (await house.ask("/", app="dashboard", cookie=f"{COOKIE}={members}")).status == 401


async def test_every_login_has_a_new_session_id_and_the_old_one_is_dead(house: House) -> None:
    """C-40, C-06: a planted id does not survive either; `/oauth2/start` alone changes nothing."""
    attacker, browser = house.browser(), house.browser()
    await house.sign_in(attacker, ADA["sub"])
    planted = session_of(attacker)
    browser.jar.store(house.origin(), f"{COOKIE}={planted}; Path=/; HttpOnly; SameSite=Lax")
    await browser.open(house.origin() + "/oauth2/start")
    assert (await house.ask("/", cookie=f"{COOKIE}={planted}")).status == 200
    await house.choose(browser, browser.page)
    mine = session_of(browser)
    assert mine is not None
    assert mine != planted
    assert (await house.ask("/", cookie=f"{COOKIE}={planted}")).status == 401
    assert (await house.ask("/", cookie=f"{COOKIE}={mine}")).status == 200


# --- fresher and stronger sign-ins ------------------------------------------------------------------------------------

STEP_UP = {"portal": {"rules": [{"match": ["* /vault/**"], "max_age": "5m"}, {"match": ["* /keys"], "acr": ["mfa"]}]}}


async def test_a_rule_with_max_age_sends_to_the_provider_and_comes_back(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps=STEP_UP, provider=provider)
    browser = house.browser()
    provider.told.id_token["auth_time"] = int(provider.now().timestamp()) - 3600
    assert (await house.sign_in(browser, at="/vault-is-elsewhere")).status == 200
    old = session_of(browser)
    problem = json.loads((await browser.fetch("/vault/1")).body)
    assert (problem["status"], problem["code"]) == (401, "insufficient_user_authentication")
    answer = await browser.open(house.origin() + "/vault/1?x=2", follow=False)
    assert dict(parameters_of(answer.location))["max_age"] == "300"
    provider.told.id_token.clear()
    page = await browser.follow_all()
    page = await house.choose(browser, page)
    assert page.text == "you asked for /vault/1?x=2"
    assert session_of(browser) != old
    assert [request.target for request in house.upstream.requests] == ["/vault-is-elsewhere", "/vault/1?x=2"]


async def test_a_provider_that_ignores_max_age_opens_nothing(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps=STEP_UP, provider=provider)
    browser = house.browser()
    provider.told.id_token["auth_time"] = int(provider.now().timestamp()) - 3600
    await house.sign_in(browser, at="/ok")
    before = session_of(browser)
    page = await browser.open(house.origin() + "/vault/1")
    assert 400 <= page.status < 500
    assert reasons(house) == ["auth_time"]
    assert session_of(browser) == before
    assert [request.target for request in house.upstream.requests] == ["/ok"]


async def test_a_rule_with_acr_sends_to_the_provider_and_comes_back(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps=STEP_UP, provider=provider)
    browser = house.browser()
    assert (await house.sign_in(browser, at="/ok")).status == 200
    page = await browser.open(house.origin() + "/keys")
    assert page.url.startswith(provider.issuer)
    assert dict(parameters_of(page.url))["acr_values"] == "mfa"
    page = await house.choose(browser, page)
    assert page.text == "you asked for /keys"


# --- ID Tokens that are not right -------------------------------------------------------------------------------------

Telling = Callable[[MisbehavingProvider], None]


def claim(**members: Any) -> Telling:
    def tell(provider: MisbehavingProvider) -> None:
        provider.told.id_token.update(members)

    return tell


def signing(write: Callable[[dict[str, Any]], str]) -> Telling:
    def tell(provider: MisbehavingProvider) -> None:
        provider.sign = write

    return tell


def userinfo_of_another(provider: MisbehavingProvider) -> None:
    provider.told.userinfo["sub"] = "hd-9999"


BAD_TOKENS = [
    pytest.param(claim(iss="https://evil.example"), "issuer", id="A-02"),
    pytest.param(claim(sub=MISSING), None, id="A-03"),
    pytest.param(claim(aud="somebody-else"), "audience", id="A-04"),
    pytest.param(claim(iat=MISSING), None, id="A-05"),
    pytest.param(signing(unsigned), None, id="A-09"),
    pytest.param(signing(lambda claims: altered(sign(claims, rsa_key()))), "signature", id="A-10"),
    pytest.param(userinfo_of_another, None, id="A-11"),
    pytest.param(claim(nonce="not-the-one"), "nonce", id="A-12"),
    pytest.param(claim(nonce=MISSING), "nonce", id="A-12-missing"),
    pytest.param(claim(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), None, id="A-39"),
    pytest.param(signing(lambda claims: hmac_signed(claims, b"secret")), None, id="A-40-hs256"),
    pytest.param(signing(lambda claims: sign(claims, ec_key(), "ES256")), None, id="A-40-es256"),
    pytest.param(signing(lambda claims: hmac_signed(claims, rsa_key().as_pem(private=False))), None, id="A-61"),
    pytest.param(
        signing(lambda claims: sign(claims, rsa_key("eve"), jwk=rsa_key("eve").as_dict(private=False))), None, id="A-62"
    ),
    pytest.param(signing(lambda claims: sign(claims, rsa_key(), crit=["bork"], bork=1)), None, id="A-64"),
    pytest.param(claim(exp=1), "expired", id="A-68-exp"),
    pytest.param(claim(aud=["doorward", "stranger"]), None, id="A-68-azp"),
]


@pytest.mark.parametrize(("tell", "reason"), BAD_TOKENS)
async def test_an_id_token_that_fails_a_check_lets_nobody_in(
    house: House, provider: MisbehavingProvider, tell: Telling, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A-02, A-03, A-04, A-05, A-09, A-10, A-11, A-12, A-39, A-40, A-61, A-62, A-64, A-68: and the log names the check."""
    tell(provider)
    browser = house.browser()
    answer = await house.sign_in(browser, at="/deep?x=1")
    assert_nobody_came_in(house, browser, answer)
    (told,) = reasons(house)
    assert reason in (None, told)
    assert any(told in record.getMessage() for record in caplog.records)
    assert await house.worker.redis.keys(house.worker.config.redis.key_prefix + "s:*") == []
    # The way on is there, and works once the provider is honest again.
    provider.told.id_token.clear()
    provider.told.userinfo.clear()
    provider.sign = None
    page = await browser.click(answer.document.link("Try again"))
    assert (await house.choose(browser, page)).url == house.origin() + "/deep?x=1"


async def test_a_token_without_kid_is_accepted_where_a_published_key_fits(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-06, A-07, A-08: with several keys of the kind, each is tried."""
    provider.sign = lambda claims: sign(claims, rsa_key(), kid=None)
    assert (await house.sign_in(house.browser(), at="/one")).status == 200
    provider.told.jwks = public(rsa_key("two"), rsa_key())
    await house.worker.providers["openid"].provider.ping()
    assert (await house.sign_in(house.browser(), at="/two")).status == 200


async def test_keys_that_change_between_two_logins_cost_one_fetch(house: House, provider: MisbehavingProvider) -> None:
    """A-18, A-19: the new kid is unknown until the token with it is there."""
    assert (await house.sign_in(house.browser(), at="/one")).status == 200
    fetched = provider.count("jwks")
    provider.signer = Signer(RSAKey.generate_key(2048, {"kid": "rotated", "use": "sig"}))
    assert (await house.sign_in(house.browser(), at="/two")).status == 200
    assert provider.count("jwks") == fetched + 1


async def test_a_thousand_unknown_kids_are_not_a_thousand_fetches(house: House, provider: MisbehavingProvider) -> None:
    """A-63: thirty, here; the throttle is a minute."""
    fetched = provider.count("jwks")
    kids = iter(range(1000))
    provider.sign = lambda claims: sign(claims, rsa_key(), kid=f"unknown-{next(kids)}")
    browser = house.browser()
    for number in range(30):
        assert (await house.sign_in(browser, at=f"/{number}")).status >= 400
    assert provider.count("jwks") <= fetched + 1
    assert house.upstream.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(says("<h1>oops</h1>", content_type="text/html"), id="html"),
        pytest.param(says("[]"), id="list"),
        pytest.param(
            says('{"error": "invalid_grant", "error_description": "sensitive-text"}', status=400), id="refused"
        ),
        pytest.param(says('{"access_token": "x", "token_type": "mac", "id_token": "y"}'), id="mac"),
        pytest.param(says("", status=500), id="500"),
        pytest.param(says("", status=302, Location="http://evil.example/"), id="redirect"),
        pytest.param(broken_off, id="reset"),
    ],
)
async def test_a_token_response_that_cannot_be_used_ends_on_a_page_without_its_text(
    house: House, provider: MisbehavingProvider, fault: Any
) -> None:
    """A-69, A-70."""
    provider.faults["token"] = fault
    browser = house.browser()
    answer = await house.sign_in(browser, at="/deep")
    assert answer.status in (400, 403, 502, 503)
    assert_nobody_came_in(house, browser, answer, status=answer.status)
    assert "oops" not in answer.text
    assert "sensitive-text" not in answer.text


# --- authorization responses that are not right -----------------------------------------------------------------------


async def test_another_browsers_answer_is_refused(house: House, provider: MisbehavingProvider) -> None:
    """A-53: login CSRF; neither without cookies nor with an attempt of one's own, and the code stays unspent."""
    attacker, victim = house.browser(), house.browser()
    stolen = await arrive(house, attacker)
    assert_nobody_came_in(house, victim, await victim.open(stolen), status=400)
    await victim.open(house.origin() + "/mine", follow=False)
    answer = await victim.open(stolen)
    assert answer.status == 400
    assert session_of(victim) is None
    assert house.upstream.requests == []
    assert provider.count("token") == 0


async def test_a_state_and_a_code_are_good_once(house: House, provider: MisbehavingProvider) -> None:
    """A-54: the second time is no error for whom the first time signed in, and nothing for anybody else."""
    browser = house.browser()
    callback = await arrive(house, browser, "/deep")
    thief = Browser(browser.resolve)
    thief.jar.cookies = list(browser.jar.cookies)  # as they were before the callback
    assert (await browser.open(callback)).text == "you asked for /deep"
    answer = await thief.open(callback)
    assert answer.status == 400
    assert session_of(thief) is None
    assert provider.count("token") == 1
    assert (await browser.open(callback)).status == 200
    assert provider.count("token") == 1
    assert house.worker.audit.counts["login.succeeded", "portal"] == 1


async def test_of_two_simultaneous_answers_with_one_state_one_is_redeemed(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-54."""
    browser = house.browser()
    callback = await arrive(house, browser)
    twins = [Browser(browser.resolve) for _ in range(5)]
    for twin in twins:
        twin.jar.cookies = list(browser.jar.cookies)
    await asyncio.gather(*(twin.open(callback, follow=False) for twin in twins))
    assert sum(session_of(twin) is not None for twin in twins) == 1
    assert provider.count("token") == 1


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda url: edited(url, ("state", "another")), id="A-55-state"),
        pytest.param(lambda url: edited(url, ("code", "another")), id="A-55-code"),
        pytest.param(lambda url: edited(url, ("error", "access_denied")), id="A-55-both"),
        pytest.param(lambda url: edited(url, iss=None), id="A-56-missing"),
        pytest.param(lambda url: edited(url, iss="https://evil.example"), id="A-56-wrong"),
        pytest.param(lambda url: edited(url, code=None), id="no-code"),
        pytest.param(lambda url: edited(url, state=None), id="no-state"),
        pytest.param(lambda url: edited(url, state="A" * 43), id="other-state"),
    ],
)
async def test_an_authorization_response_that_is_not_right_is_not_redeemed(
    house: House, provider: MisbehavingProvider, edit: Callable[[str], str]
) -> None:
    """A-55, A-56."""
    browser = house.browser()
    callback = await arrive(house, browser)
    answer = await browser.open(edit(callback))
    assert answer.status == 400
    assert session_of(browser) is None
    assert provider.count("token") == 0
    assert house.upstream.requests == []


async def test_an_error_of_the_provider_is_shown_without_its_markup(house: House) -> None:
    """A-76, A-42."""
    browser = house.browser()
    callback = await arrive(house, browser)
    said = [("error", "access_denied"), ("error_description", "<script>alert(1)</script>\r\nSet-Cookie: x=1")]
    answer = await browser.open(edited(callback, *said, code=None))
    assert_nobody_came_in(house, browser, answer, status=400)
    assert "<script" not in answer.text
    assert not [cookie for cookie in browser.jar.cookies if cookie.name == "x"]
    assert "script" not in (answer.header("Content-Security-Policy") or "").replace("default-src 'none'", "")


# --- a provider that is not there -------------------------------------------------------------------------------------


async def test_a_provider_that_is_down_at_the_start_stops_nobody_who_is_signed_in(open_house: OpenHouse) -> None:
    """Existing sessions are served, strangers get a page that says why, and it recovers alone."""
    port = free_port()
    provider = MisbehavingProvider(issuer=f"http://127.0.0.1:{port}")
    house = await open_house(provider=provider, apps={"portal": {"public": ["GET /assets/**"]}})
    browser = house.browser()
    try:
        answer = await browser.open(house.origin() + "/bookings")
        assert answer.status == 503
        assert answer.header("Retry-After")
        assert "sign-in page is not available" in answer.text
        problem = await house.ask("/oauth2/start")
        assert (problem.status, json.loads(problem.body)["code"]) == (503, "provider_unavailable")
        assert (await house.ask("/", cookie=await house.session())).status == 200
        assert (await house.ask("/assets/x.css")).status == 200
        await provider.start(port=port)
        await eventually(lambda: house.worker.providers["openid"].provider.ready)
        assert (await house.sign_in(browser, at="/bookings")).text == "you asked for /bookings"
    finally:
        await provider.close()


async def test_metadata_of_another_issuer_is_never_believed(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-17: no authorization request is ever sent."""
    provider.told.metadata["issuer"] = "https://evil.example"
    house = await open_house(provider=provider)
    browser = house.browser()
    answer = await browser.open(house.origin() + "/")
    assert answer.status == 503
    assert (await browser.open(house.origin() + "/oauth2/start")).status == 503
    assert provider.count("authorize") == 0
    provider.told.metadata.clear()
    await eventually(lambda: house.worker.providers["openid"].provider.ready)
    assert (await house.sign_in(browser)).status == 200


async def test_endpoints_are_those_of_the_metadata(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """A-15, A-16: the keys are under another path in this run."""
    prefix = provider.issuer
    provider.told.metadata["jwks_uri"] = f"{prefix}/elsewhere/keys-{free_port()}"

    async def nowhere(request: Any) -> Any:
        raise AssertionError("the usual path was asked")

    provider.faults["jwks"] = nowhere
    keys = urlsplit(provider.told.metadata["jwks_uri"]).path.rpartition("/")[2]
    provider.faults[keys] = provider.serve_keys
    house = await open_house(provider=provider)
    assert (await house.sign_in(house.browser())).status == 200
    assert provider.count(keys) >= 1


# --- round in circles -------------------------------------------------------------------------------------------------


async def test_a_browser_that_loses_the_session_cookie_is_told_instead_of_redirected_for_ever(house: House) -> None:
    browser = house.browser()
    await house.sign_in(browser, at="/page")
    for _ in range(6):
        browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name != COOKIE]
        answer = await browser.open(house.origin() + "/page")
        if answer.status != 200:
            break
    assert answer.status == 400
    assert "Sign-in keeps starting over" in answer.text
    assert "did not send the session cookie back" in answer.text
    assert reasons(house) == ["redirect_loop"]
    page = await browser.click(answer.document.link("Try again"))
    assert (await house.choose(browser, page)).url == house.origin() + "/page"


def test_the_forged_keys_are_not_the_published_one() -> None:
    """The A-62 case above would prove nothing otherwise."""
    assert forge.rsa_key("eve").as_dict(private=False)["n"] != forge.rsa_key().as_dict(private=False)["n"]
