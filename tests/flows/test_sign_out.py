"""Signing out: here, at the provider, on the other surface, at once; and by nobody else's wish."""

import asyncio
import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from joserfc.jwk import RSAKey

from gateway.demo.provider.signer import Signer
from tests.fakes.browser import Answer, Browser
from tests.fakes.forge import ec_key, rsa_key, sign, unsigned
from tests.fakes.house import House
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider, broken_off, dripping
from tests.fakes.recorder import Recorded
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import echo_socket, open_socket

COOKIE = "doorward_session"
TWO_APPS: dict[str, dict[str, Any]] = {"portal": {}, "dashboard": {"surface": "dashboard"}}
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    """A portal and a dashboard, with a provider that answers."""
    return await open_house(apps=TWO_APPS, provider=provider)


def cookie_of(browser: Browser, app: str = "portal") -> str:
    cookie = browser.jar.named(COOKIE, f"{app}.localhost")
    assert cookie is not None
    return f"{COOKIE}={cookie.value}"


async def signed_in(house: House, *apps: str) -> Browser:
    browser = house.browser()
    for app in apps or ("portal",):
        assert (await house.sign_in(browser, app=app)).status == 200
    return browser


async def is_alive(house: House, cookie: str, app: str = "portal") -> bool:
    status = (await house.ask("/", app=app, cookie=cookie)).status
    assert status in (200, 401)
    return status == 200


async def push_the_button(house: House, browser: Browser, rd: str | None = None, *, follow: bool = False) -> Answer:
    """Open the sign-out page as an address, and click."""
    await browser.open(house.origin() + "/oauth2/sign_out" + (f"?rd={quote(rd, safe='')}" if rd else ""))
    return await browser.submit(follow=follow)


def asked(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


# --- what happens -----------------------------------------------------------------------------------------------------


async def test_the_session_ends_here_first_and_then_at_the_provider(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-20: with the hint and the registered address; A-22: there is a state without a destination too."""
    browser = await signed_in(house)
    cookie = cookie_of(browser)
    answer = await push_the_button(house, browser)
    assert not await is_alive(house, cookie)
    assert answer.status == 303
    assert answer.location.startswith(provider.issuer + "/sign-out?")
    request = asked(answer.location)
    assert request["post_logout_redirect_uri"] == house.origin() + "/oauth2/signed_out"
    assert request["id_token_hint"].count(".") == 2
    assert request["client_id"] == "doorward"
    page = await browser.follow_all()
    assert page.url == f"{house.origin()}/oauth2/signed_out?state={request['state']}"
    assert "You are signed out" in page.text
    page = await browser.click(page.document.link("Sign in again"))
    assert page.url.startswith(provider.issuer)
    assert page.document.forms


async def test_the_hint_is_left_out_once_its_key_is_no_longer_published(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-20: a provider refuses a hint that it cannot verify, and the person would stay signed in there."""
    browsers = [await signed_in(house) for _ in range(2)]
    old, new = provider.signer, Signer(RSAKey.generate_key(2048, {"kid": "rotated", "use": "sig"}))
    for published, sent in (([*old.jwks()["keys"], *new.jwks()["keys"]], True), (new.jwks()["keys"], False)):
        provider.signer, provider.told.jwks = new, {"keys": published}
        await house.worker.providers["openid"].provider.ping()
        request = asked((await push_the_button(house, browsers.pop())).location)
        assert ("id_token_hint" in request, request["client_id"]) == (sent, "doorward")


async def test_the_wish_where_to_go_survives_the_provider_unless_its_state_was_changed(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-20, A-21, A-52: another state is not ours, and leads to the signed-out page."""
    browser = await signed_in(house)
    answer = await push_the_button(house, browser, "/goodbye?x=1")
    state = asked(answer.location)["state"]
    back = await browser.follow()
    assert asked(back.location)["state"] == state
    assert (await browser.follow()).location == house.origin() + "/goodbye?x=1"
    for wrong in ("x", state[:-4] + "AAAA", "", quote("https://evil.example/")):
        page = await browser.open(house.origin() + "/oauth2/signed_out?state=" + wrong)
        assert (page.status, page.location) == (200, "")
        assert "You are signed out" in page.text


async def test_rd_never_leads_to_another_site(house: House) -> None:
    """A-52."""
    for rd in (
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "https://portal.localhost@evil.example/",
    ):
        browser = await signed_in(house)
        answer = await push_the_button(house, browser, rd, follow=True)
        assert answer.url.partition("?")[0] == house.origin() + "/oauth2/signed_out"
        assert "evil.example" not in "".join(step.location for step in browser.history)


async def test_a_log_out_url_is_filled_in_as_it_says(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """A-20: Auth0's style; every placeholder is percent-encoded."""
    log_out_url = f"{provider.issuer}/v2/logout?client_id={{client_id}}&returnTo={{return_to}}&hint={{id_token_hint}}"
    house = await open_house(provider=provider, openid={"log_out_url": log_out_url})
    browser = await signed_in(house)
    answer = await push_the_button(house, browser)
    base, _, query = answer.location.partition("?")
    assert base == provider.issuer + "/v2/logout"
    assert query.startswith(
        "client_id=doorward&returnTo=" + quote(house.origin() + "/oauth2/signed_out", safe="") + "&hint="
    )
    assert asked(answer.location)["hint"].count(".") == 2


async def test_the_other_surface_of_the_same_sign_in_ends_and_another_browser_does_not(house: House) -> None:
    """C-44: the provider's sid says which sessions belong together."""
    browser, phone = await signed_in(house, "portal", "dashboard"), await signed_in(house)
    portal, dashboard = cookie_of(browser), cookie_of(browser, "dashboard")
    assert await is_alive(house, dashboard, "dashboard")
    await push_the_button(house, browser)
    assert not await is_alive(house, portal)
    assert not await is_alive(house, dashboard, "dashboard")
    assert await is_alive(house, cookie_of(phone))


async def test_without_a_sid_every_session_of_the_person_ends(house: House, provider: MisbehavingProvider) -> None:
    provider.told.id_token["sid"] = MISSING
    browser, phone = await signed_in(house), await signed_in(house, "portal", "dashboard")
    stranger = await house.session(subject="somebody-else")
    await push_the_button(house, browser)
    assert not await is_alive(house, cookie_of(phone))
    assert not await is_alive(house, cookie_of(phone, "dashboard"), "dashboard")
    assert await is_alive(house, stranger)


async def test_a_replayed_cookie_is_refused_and_open_streams_end(house: House) -> None:
    """C-44, C-19: a WebSocket and an event stream of the session are closed, on both surfaces."""
    browser = await signed_in(house, "portal", "dashboard")
    cookie, dashboard = cookie_of(browser), cookie_of(browser, "dashboard")

    async def events(request: Recorded, reader: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await reader.read()

    house.upstream.answer = echo_socket
    house.upstreams["dashboard"].answer = events
    socket = await open_socket(house, cookie)
    stream = await Wire.open(house.port)
    await stream.send(f"GET /e HTTP/1.1\r\nHost: {house.host('dashboard')}\r\nCookie: {dashboard}\r\n\r\n".encode())
    await stream.reader.readuntil(b"data: 1\n\n")
    await push_the_button(house, browser)
    assert await socket.ended()
    async with asyncio.timeout(60):
        assert b"data" not in await stream.reader.read()
    assert not await is_alive(house, cookie)
    assert (await house.ask("/", cookie=cookie, fields="Sec-Fetch-Mode: navigate\r\n")).status == 302


async def test_the_cookie_is_deleted_with_the_attributes_it_was_set_with(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-45: on an https origin, with the cookies of unfinished logins."""
    hosts = {"portal": {"hosts": ["portal.example.com"]}}
    house = await open_house(apps=hosts, provider=provider, external_url_scheme="https")
    browser = house.browser()
    await house.sign_in(browser)
    (given,) = [v for a in browser.history for v in a.all("Set-Cookie") if v.startswith("__Host-doorward_session=")]
    assert set(given.split("; ")[1:]) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
    await browser.open(house.origin() + "/oauth2/start", follow=False)
    attempts = [c.name for c in browser.jar.cookies if c.name.startswith("__Host-doorward_login")]
    assert attempts
    answer = await push_the_button(house, browser)
    removals = {value.partition("=")[0]: value for value in answer.all("Set-Cookie")}
    assert set(removals) == {"__Host-doorward_session", *attempts}
    for value in removals.values():
        cleared, *rest = value.split("; ")
        assert cleared.endswith("=")
        assert set(rest) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=0"}
    assert [c.name for c in browser.jar.cookies if "doorward" in c.name] == []
    assert not browser.jar.refused


async def test_signing_out_works_while_the_provider_does_not_answer_the_revocation(
    house: House, provider: MisbehavingProvider
) -> None:
    for fault in (dripping, broken_off):
        browser = await signed_in(house)
        cookie = cookie_of(browser)
        provider.faults["revoke"] = fault
        answer = await push_the_button(house, browser)
        assert answer.status == 303
        assert answer.location.startswith(provider.issuer)
        assert not await is_alive(house, cookie)


async def test_signing_out_twice_and_without_a_session_is_no_error(house: House) -> None:
    browser = await signed_in(house)
    await push_the_button(house, browser, follow=True)
    page = await browser.open(house.origin() + "/oauth2/sign_out")
    assert page.status == 200
    assert "You are signed out" in page.text
    assert page.document.forms == []


async def test_the_access_token_is_revoked_at_the_provider(house: House, provider: MisbehavingProvider) -> None:
    browser = await signed_in(house)
    await push_the_button(house, browser)
    (revoked,) = [seen for seen in provider.seen if seen.endpoint == "revoke"]
    assert revoked.form["token_type_hint"] == "access_token"


# --- whose wish -------------------------------------------------------------------------------------------------------


async def test_another_site_cannot_sign_anybody_out(house: House) -> None:
    """C-49: a form, an image, a frame, a link, a script, a prefetch; the session lives on."""
    browser = await signed_in(house)
    cookie, evil = cookie_of(browser), "https://evil.example/page"
    url = house.origin() + "/oauth2/sign_out"
    assert (await browser.post_from(evil, url)).status == 403
    assert (await browser.post_from(house.origin("dashboard") + "/x", url)).status == 403
    for destination, mode in (("image", "no-cors"), ("iframe", "navigate"), ("document", "navigate")):
        answer = await browser.load(evil, url, destination=destination, mode=mode)
        assert (answer.status, answer.location) == (200, "")
    page = await browser.load(house.origin() + "/x", url, destination="image")
    assert page.location == ""
    for purpose in ("prefetch", "prefetch;prerender"):
        page = await browser.open(url, follow=False, headers={"Sec-Purpose": purpose, "Sec-Fetch-Site": "same-origin"})
        assert page.location == ""
    assert await is_alive(house, cookie)
    # With the cookie in hand and no word about where it comes from, as an old browser: no.
    plain = "Content-Type: application/x-www-form-urlencoded\r\n"
    for fields in (plain, plain + "Origin: https://evil.example\r\n", plain + "Origin: null\r\n"):
        refused = await house.ask("/oauth2/sign_out", method="POST", cookie=cookie, fields=fields, body=b"")
        assert refused.status == 403
    assert await is_alive(house, cookie)


async def test_a_page_of_our_own_origin_signs_out_by_link_and_by_form(house: House) -> None:
    """C-49: the portal's own links to the sign-out work at once."""
    for how in ("link", "form"):
        browser = await signed_in(house)
        cookie = cookie_of(browser)
        if how == "link":
            answer = await browser.click("/oauth2/sign_out", follow=False)
        else:
            answer = await browser.post_from(house.origin() + "/x", house.origin() + "/oauth2/sign_out")
        assert answer.status == 303
        assert not await is_alive(house, cookie)


async def test_strangers_cannot_fill_redis_with_begun_logins(house: House) -> None:
    """C-49."""
    before = await house.worker.redis.keys(house.worker.config.redis.key_prefix + "*")
    for number in range(50):
        await house.ask(f"/oauth2/start?rd=/{number}")
        await house.ask(f"/{number}", fields="Sec-Fetch-Mode: navigate\r\n")
    assert await house.worker.redis.keys(house.worker.config.redis.key_prefix + "*") == before


# --- the provider's wish ----------------------------------------------------------------------------------------------


def logout_claims(provider: MisbehavingProvider, **changes: Any) -> dict[str, Any]:
    now = int(provider.now().timestamp())
    claims = {
        "iss": provider.issuer, "aud": "doorward", "iat": now, "exp": now + 120, "jti": secrets.token_urlsafe(8),
        "events": {EVENT: {}}, "sid": None, "sub": MIA["sub"], **changes,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value not in (None, MISSING)}


def logout_token(provider: MisbehavingProvider, **changes: Any) -> str:
    return provider.sign_logout_token(logout_claims(provider, **changes))


async def tell(house: House, *tokens: str, method: str = "POST") -> WireResponse:
    body = urlencode([("logout_token", token) for token in tokens]).encode()
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    return await house.ask("/oauth2/backchannel-logout", method=method, fields=form, body=body)


async def provider_sid(house: House, browser: Browser) -> str:
    """What the provider calls the sign-in of this browser."""
    store = house.worker.store
    key = store.key_of(cookie_of(browser).partition("=")[2])
    stored = await store.fetch(key, house.host(), "portal")
    assert stored is not None
    assert stored.session.provider_sid is not None
    return stored.session.provider_sid


async def test_a_logout_token_ends_the_sessions_of_its_sid_within_a_second(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-23: on both surfaces, with an unknown claim in it; open connections too."""
    browser = await signed_in(house, "portal", "dashboard")
    phone = await house.session(subject=str(MIA["sub"]), provider_sid="on-the-phone")
    house.upstream.answer = echo_socket
    socket = await open_socket(house, cookie_of(browser))
    answer = await tell(house, logout_token(provider, sid=await provider_sid(house, browser), unknown_claim={"x": 1}))
    assert answer.status in (200, 204)
    assert answer.value("cache-control") == "no-store"
    await eventually(lambda: _both_gone(house, browser))
    assert await socket.ended()
    assert (await house.ask("/oauth2/userinfo", cookie=phone)).status == 200


async def _both_gone(house: House, browser: Browser) -> bool:
    portal = (await house.ask("/oauth2/userinfo", cookie=cookie_of(browser))).status
    dashboard = (await house.ask("/oauth2/userinfo", app="dashboard", cookie=cookie_of(browser, "dashboard"))).status
    return (portal, dashboard) == (401, 401)


async def test_logout_tokens_of_strangers_keep_no_sign_in_from_a_new_key(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-63: their unknown keys are looked for once, and the provider's next key is found at once all the same."""
    fetched = provider.count("jwks")
    for number in range(5):
        token = sign(logout_claims(provider), rsa_key("stranger"), kid=f"unknown-{number}")
        assert (await tell(house, token)).status == 400
    assert provider.count("jwks") == fetched + 1
    provider.signer = Signer(RSAKey.generate_key(2048, {"kid": "rotated", "use": "sig"}))
    assert (await house.sign_in(house.browser())).status == 200
    assert provider.count("jwks") == fetched + 2


async def test_a_logout_token_without_sid_ends_every_session_of_its_subject(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-23."""
    browser, phone = await signed_in(house, "portal", "dashboard"), await signed_in(house, "portal", "dashboard")
    other = await house.session(subject="somebody-else")
    assert (await tell(house, logout_token(provider))).status == 200
    for gone in (browser, phone):
        await eventually(partial(_both_gone, house, gone))
    assert await is_alive(house, other)


BAD: dict[str, Callable[[MisbehavingProvider], str]] = {
    "A-24": lambda provider: unsigned(logout_claims(provider)),
    "A-25": lambda provider: logout_token(provider, events=MISSING),
    "A-26": lambda provider: logout_token(provider, events={"http://example.com/other": {}}),
    "A-27": lambda provider: logout_token(provider, nonce="n"),
    "A-28": lambda provider: sign(logout_claims(provider), ec_key(), "ES256", typ="logout+jwt"),
    "A-29": lambda provider: logout_token(provider, aud="somebody-else"),
    "A-30": lambda provider: logout_token(provider, iss="https://evil.example"),
    "A-31-iat": lambda provider: logout_token(provider, iat=MISSING),
    "A-31-jti": lambda provider: logout_token(provider, jti=MISSING),
    "A-31-exp": lambda provider: logout_token(provider, exp=1),
    "A-31-typ": lambda provider: sign(logout_claims(provider), rsa_key(), typ="at+jwt"),
    "A-31-size": lambda provider: logout_token(provider, padding="x" * 70_000),
    "A-31-neither": lambda provider: logout_token(provider, sub=MISSING),
    "garbage": lambda provider: "a.b.c",
}


@pytest.mark.parametrize("case", BAD)
async def test_a_logout_token_that_fails_a_check_ends_nothing(
    house: House, provider: MisbehavingProvider, case: str
) -> None:
    """A-24, A-25, A-26, A-27, A-28, A-29, A-30, A-31."""
    browser = await signed_in(house)
    answer = await tell(house, BAD[case](provider))
    assert answer.status in (400, 413)
    assert await is_alive(house, cookie_of(browser))
    assert house.worker.audit.counts["logout", "portal"] == 0


async def test_a_logout_request_of_another_form_is_refused(house: House, provider: MisbehavingProvider) -> None:
    """A-31: twice the parameter, GET, an ID Token, no form, a replay."""
    browser = await signed_in(house)
    one = logout_token(provider)
    assert (await tell(house, one, one)).status == 400
    assert (await tell(house)).status == 400
    answer = await house.ask(f"/oauth2/backchannel-logout?logout_token={one}")
    assert (answer.status, answer.value("allow")) == (405, "POST")
    plain = await house.ask("/oauth2/backchannel-logout", method="POST", body=f"logout_token={one}".encode())
    assert plain.status == 400
    location = (await push_location(house, browser))["id_token_hint"]
    again = await signed_in(house)
    assert (await tell(house, location)).status == 400
    assert await is_alive(house, cookie_of(again))
    good = logout_token(provider, iat=int(provider.now().timestamp()) - 1)
    assert (await tell(house, good)).status == 200
    after = await signed_in(house)
    assert (await tell(house, good)).status == 400
    assert await is_alive(house, cookie_of(after))


async def push_location(house: House, browser: Browser) -> dict[str, str]:
    return asked((await push_the_button(house, browser)).location)


async def test_a_logout_that_redis_did_not_hear_is_never_200(
    open_house: OpenHouse, provider: MisbehavingProvider, valkey: str, prefix: str
) -> None:
    """A-31, C-43: and the provider's next try does it."""
    async with FlakyLink(valkey) as link:
        house = await open_house(provider=provider, redis={"url": link.url, "key_prefix": prefix})
        browser = await signed_in(house)
        token = logout_token(provider)
        link.refuse()
        answer = await tell(house, token)
        assert answer.status == 503
        assert json.loads(answer.body)["code"] == "session_store_unavailable"
        link.restore()
        await eventually(lambda: house.worker.cache.trusted)
        assert await is_alive(house, cookie_of(browser))
        assert (await tell(house, token)).status == 200
        assert not await is_alive(house, cookie_of(browser))


async def test_the_front_channel_ends_only_the_sign_in_that_this_browser_holds(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-32."""
    browser = await signed_in(house)
    cookie, sid = cookie_of(browser), await provider_sid(house, browser)
    base = house.origin() + "/oauth2/frontchannel-logout?"
    for iss, named in ((provider.issuer, "another"), ("https://evil.example", sid), (provider.issuer, "")):
        answer = await browser.open(base + urlencode({"iss": iss, "sid": named}))
        assert answer.status == 200
        assert await is_alive(house, cookie)
    page = await house.browser().open(base + urlencode({"iss": provider.issuer, "sid": sid}))
    assert page.status == 200
    assert await is_alive(house, cookie)
    assert f"frame-ancestors {provider.issuer}" in (page.header("Content-Security-Policy") or "")
    await browser.open(base + urlencode({"iss": provider.issuer, "sid": sid}))
    assert not await is_alive(house, cookie)
    assert provider.count("revoke") == 0
