"""The provider ends sessions: what it must prove, and what it may not end."""

import asyncio
import json
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web

from gateway.web.provider_logout import LONGEST_TOKEN
from tests.fakes.browser import Answer, Browser
from tests.fakes.forge import rsa_key
from tests.fakes.office import COOKIE, Office
from tests.fakes.provider import ADA
from tests.fakes.provider import MISSING as NO_SID
from tests.fakes.waiting import eventually
from tests.unit.web.conftest import Shaky
from tests.unit.web.made import DASHBOARD, DASHBOARD_ORIGIN, PORTAL_ORIGIN

BACK = f"{PORTAL_ORIGIN}/oauth2/backchannel-logout"
FRONT = f"{PORTAL_ORIGIN}/oauth2/frontchannel-logout"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
MISSING = object()


async def signed_in(office: Office, **more: str) -> Browser:
    browser = office.browser()
    await office.sign_in_as(browser, **more)
    return browser


async def provider_sid(office: Office, browser: Browser) -> str:
    session = await office.session(office.token(browser) or "")
    assert session is not None
    assert session.provider_sid is not None
    return session.provider_sid


async def is_alive(office: Office, browser: Browser) -> bool:
    return await office.session(office.token(browser) or "") is not None


def logout_token(office: Office, **changes: Any) -> str:
    now = office.clock.now()
    honest = {
        "iss": office.provider.issuer,
        "aud": "doorward",
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=2)).timestamp()),
        "jti": secrets.token_urlsafe(16),
        "events": {EVENT: {}},
        "unknown_claim": {"is": "ignored"},
    }
    claims = {name: value for name, value in {**honest, **changes}.items() if value is not MISSING}
    return office.provider.sign_logout_token(claims)


async def post(office: Office, body: str | bytes, kind: str = "application/x-www-form-urlencoded") -> Answer:
    """As a provider does it: no browser's fields."""
    raw = body if isinstance(body, bytes) else body.encode()
    return await office.browser().post_from("https://login.example.net/", BACK, raw, {"Content-Type": kind})


async def tell(office: Office, **changes: Any) -> Answer:
    return await post(office, urlencode({"logout_token": logout_token(office, **changes)}))


# --- the back channel -------------------------------------------------------------------------------------------------


async def test_a_logout_token_ends_every_session_of_its_sid(office: Office) -> None:
    """A-23: on all surfaces, at once, and in the worker's memory too."""
    browser = await signed_in(office)
    await office.sign_in_as(browser, origin=DASHBOARD_ORIGIN)
    phone = await signed_in(office)
    other = office.token(browser, DASHBOARD) or ""
    assert await office.live(office.token(browser) or "") is not None
    answer = await tell(office, sid=await provider_sid(office, browser), sub=MISSING)
    assert answer.status == 200
    assert answer.header("Cache-Control") == "no-store"
    assert not await is_alive(office, browser)
    assert await office.session(other, DASHBOARD, "dashboard") is None
    assert await is_alive(office, phone)
    key = office.store.key_of(office.token(browser) or "")
    await eventually(lambda: office.cache.peek(key, "portal.example.com") is None)
    assert office.events("logout")[0] | {"kind": "backchannel", "sessions": 2} == office.events("logout")[0]
    assert all(event["by"] == "backchannel" for event in office.events("session.revoked"))


async def test_without_a_sid_every_session_of_the_person_ends(office: Office) -> None:
    """A-23."""
    browser, phone = await signed_in(office), await signed_in(office)
    stranger = await signed_in(office, subject=str(ADA["sub"]))
    assert (await tell(office, sub="hd-1001")).status == 200
    assert not await is_alive(office, browser)
    assert not await is_alive(office, phone)
    assert await is_alive(office, stranger)


async def test_an_unknown_sid_is_accepted_and_ends_nothing(office: Office) -> None:
    """A-23."""
    browser = await signed_in(office)
    assert (await tell(office, sid="nobody's")).status == 200
    assert await is_alive(office, browser)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"events": MISSING}, id="A-25"),
        pytest.param({"events": {"http://schemas.openid.net/event/other": {}}}, id="A-26"),
        pytest.param({"events": [EVENT]}, id="A-26-list"),
        pytest.param({"nonce": "x"}, id="A-27"),
        pytest.param({"aud": "another-client"}, id="A-29"),
        pytest.param({"iss": "https://evil.example"}, id="A-30"),
        pytest.param({"iat": MISSING}, id="A-31-iat"),
        pytest.param({"jti": MISSING}, id="A-31-jti"),
        pytest.param({"exp": 1}, id="A-31-exp"),
        pytest.param({"sid": MISSING, "sub": MISSING}, id="neither-sid-nor-sub"),
    ],
)
async def test_a_token_that_fails_a_check_ends_nothing(office: Office, changes: dict[str, Any]) -> None:
    """A-25 to A-31."""
    browser = await signed_in(office)
    answer = await tell(office, **{"sid": await provider_sid(office, browser), **changes})
    assert answer.status == 400
    assert answer.header("Cache-Control") == "no-store"
    assert json.loads(answer.text)["error"] == "invalid_request"
    assert await is_alive(office, browser)
    assert not office.events("logout")


async def test_an_unsigned_token_and_one_of_another_key_end_nothing(office: Office) -> None:
    """A-24, A-28."""
    browser = await signed_in(office)
    sid = await provider_sid(office, browser)
    good = logout_token(office, sid=sid)
    _, payload, signature = good.split(".")
    none = "eyJhbGciOiJub25lIn0"
    es256 = "eyJhbGciOiJFUzI1NiJ9"
    forged = [
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{es256}.{payload}.{signature}",
        good[:-4] + "AAAA",
    ]
    other = type(office.provider.signer)(rsa_key())
    forged.append(other.sign({"iss": office.provider.issuer, "aud": "doorward", "sid": sid}, "logout+jwt"))
    for token in forged:
        assert (await post(office, urlencode({"logout_token": token}))).status == 400
    assert await is_alive(office, browser)


async def test_an_id_token_is_no_logout_token(office: Office) -> None:
    """A-31: typ confusion."""
    browser = await signed_in(office)
    session = await office.session(office.token(browser) or "")
    assert session is not None
    assert (await post(office, urlencode({"logout_token": session.id_token or ""}))).status == 400
    assert await is_alive(office, browser)


async def test_a_logout_token_is_good_once(office: Office) -> None:
    """A-31: a replay would end what the person began since."""
    browser = await signed_in(office)
    body = urlencode({"logout_token": logout_token(office, sub="hd-1001")})
    assert (await post(office, body)).status == 200
    office.clock.advance(1)
    await office.sign_in_as(browser)
    again = await post(office, body)
    assert again.status == 400
    assert "replayed" in again.text
    assert await is_alive(office, browser)


async def test_what_is_not_one_token_in_a_form_is_refused(office: Office) -> None:
    """A-31: twice, none, too long, another content type, not ASCII."""
    browser = await signed_in(office)
    token = logout_token(office, sid=await provider_sid(office, browser))
    form = urlencode({"logout_token": token})
    for body in (
        f"{form}&{form}",
        "",
        "logout_token=",
        "x=1",
        "logout_token=" + "a" * (LONGEST_TOKEN + 1),
        b"logout_token=\xff",
    ):
        assert (await post(office, body)).status == 400, body[:40]
    assert (await post(office, json.dumps({"logout_token": token}), "application/json")).status == 400
    assert (await post(office, "x" * 200_000)).status == 400
    assert await is_alive(office, browser)
    assert (await post(office, form, "application/x-www-form-urlencoded; charset=UTF-8")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_only_post_ends_sessions(office: Office, method: str) -> None:
    """A-31."""
    answer = await office.browser().send(method, BACK, {})
    assert (answer.status, answer.header("Allow")) == (405, "POST")
    assert answer.header("Cache-Control") == "no-store"


async def test_without_redis_it_never_says_that_it_was_done(shaky: Shaky) -> None:
    """A-31: 5xx, never 200."""
    office = shaky.office
    browser = await signed_in(office)
    sid = await provider_sid(office, browser)
    shaky.link.refuse()
    answer = await tell(office, sid=sid)
    assert answer.status == 503
    assert answer.header("Cache-Control") == "no-store"
    shaky.link.restore()
    assert await is_alive(office, browser)
    assert (await tell(office, sid=sid)).status == 200
    assert not await is_alive(office, browser)


async def test_a_token_whose_work_was_broken_off_is_taken_again(shaky: Shaky) -> None:
    """A-31, D-06: Redis goes away after the token was noted and before the sessions ended; the provider's repeat ends them."""
    office = shaky.office
    browser = await signed_in(office)
    body = urlencode({"logout_token": logout_token(office, sid=await provider_sid(office, browser))})
    shaky.link.refuse_after(b":once:")
    assert (await post(office, body)).status == 503
    shaky.link.restore()
    assert await is_alive(office, browser)
    assert (await post(office, body)).status == 200
    assert not await is_alive(office, browser)
    again = await post(office, body)
    assert (again.status, "replayed" in again.text) == (400, True)


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_a_login_that_a_logout_token_overtakes_becomes_no_session(office: Office, by: str) -> None:
    """A-23, D-06: the code is redeemed, the session not stored yet. Whoever signs in after that is let in."""
    browser = await signed_in(office)
    sid = await provider_sid(office, browser)
    waiting, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        waiting.set()
        await go.wait()
        return web.json_response({"sub": "hd-1001"})

    office.provider.faults["userinfo"] = slow
    await office.arrive(browser, origin=DASHBOARD_ORIGIN)
    landing = asyncio.create_task(browser.follow())
    await waiting.wait()
    office.clock.advance(5)
    assert (await tell(office, **({"sid": sid, "sub": MISSING} if by == "sid" else {"sub": "hd-1001"}))).status == 200
    go.set()
    page = await landing
    assert (page.status, "This sign-in has expired" in page.text) == (400, True)
    assert office.token(browser, DASHBOARD) is None
    assert await office.redis.keys(f"{office.prefix}s:*") == []
    del office.provider.faults["userinfo"]
    office.clock.advance(5)
    assert await is_alive(office, await signed_in(office))


@pytest.mark.parametrize("by", ["sid", "sub"])
async def test_what_began_after_a_logout_token_is_let_in_within_the_same_second(office: Office, by: str) -> None:
    """C-74, C-44: the clock of provider and gateway stands still. What began before ends, and what began afterwards does not."""
    browser = await signed_in(office)
    names = {"sid": await provider_sid(office, browser), "sub": MISSING} if by == "sid" else {"sub": "hd-1001"}
    before = office.browser()
    before.jar.cookies += browser.jar.cookies  # the same session at the provider
    await office.arrive(before, origin=DASHBOARD_ORIGIN)
    assert (await tell(office, **names)).status == 200
    page = await before.follow()
    assert (page.status, "This sign-in has expired" in page.text) == (400, True)
    after = office.browser()
    after.jar.cookies += browser.jar.cookies
    await office.sign_in_as(after)
    assert await is_alive(office, after)
    if by == "sid":
        assert await provider_sid(office, after) == names["sid"]


async def test_a_session_without_a_sid_ends_with_its_person_when_the_token_names_both(office: Office) -> None:
    """A-23: which of them is meant cannot be known; those that have another sid live on."""
    office.provider.told.id_token["sid"] = NO_SID
    bare = await signed_in(office)
    del office.provider.told.id_token["sid"]
    browser, phone = await signed_in(office), await signed_in(office)
    assert (await tell(office, sid=await provider_sid(office, browser), sub="hd-1001")).status == 200
    assert not await is_alive(office, browser)
    assert not await is_alive(office, bare)
    assert await is_alive(office, phone)


# --- the front channel ------------------------------------------------------------------------------------------------


def front(**parameters: str) -> str:
    return f"{FRONT}?{urlencode(parameters)}"


async def load_in_a_frame(browser: Browser, office: Office, url: str) -> Answer:
    """With a cookie that this browser would send in a frame of another site."""
    for cookie in browser.jar.cookies:
        cookie.same_site = "none"
    return await browser.load(office.provider.issuer + "/sign-out", url, destination="iframe", mode="navigate")


async def test_the_front_channel_ends_the_sign_in_of_this_browser(office: Office) -> None:
    """A-32."""
    browser = await signed_in(office)
    answer = await load_in_a_frame(
        browser, office, front(iss=office.provider.issuer, sid=await provider_sid(office, browser))
    )
    assert answer.status == 200
    assert any(value.startswith(f"{COOKIE}=; ") for value in answer.all("Set-Cookie"))
    assert not await is_alive(office, browser)
    assert office.events("logout")[0]["kind"] == "frontchannel"


async def test_a_sid_of_somebody_else_ends_nothing_and_revokes_nothing(office: Office) -> None:
    """A-32."""
    browser, other = await signed_in(office), await signed_in(office, subject=str(ADA["sub"]))
    theirs, issuer = await provider_sid(office, other), office.provider.issuer
    own = await provider_sid(office, browser)
    for url in (
        front(iss=issuer, sid=theirs),
        front(iss="https://evil.example", sid=own),
        front(sid=own),
        front(iss=issuer),
        FRONT,
        front(iss=issuer, sid=own) + f"&sid={theirs}",
    ):
        answer = await load_in_a_frame(browser, office, url)
        assert (answer.status, answer.all("Set-Cookie")) == (200, []), url
    assert (await load_in_a_frame(office.browser(), office, front(iss=issuer, sid=own))).status == 200
    assert await is_alive(office, browser)
    assert await is_alive(office, other)
    assert office.provider.count("revoke") == 0


async def test_the_page_may_be_framed_by_the_provider_only(office: Office) -> None:
    """A-32."""
    answer = await office.browser().open(FRONT)
    assert f"frame-ancestors {office.provider.issuer}" in (answer.header("Content-Security-Policy") or "")
    assert answer.header("X-Frame-Options") is None
    assert answer.header("Cache-Control") == "no-store"


async def test_a_provider_that_offers_session_management_is_not_disturbed(closed_office: Office) -> None:
    """A-33: its `session_state` comes with the code and is nobody's business here; no page of ours polls its frame."""
    office = closed_office
    office.provider.told.metadata["check_session_iframe"] = office.provider.issuer + "/check"
    office.provider.told.authorization["session_state"] = "b5c2.salt"
    await office.open()
    browser = await signed_in(office)
    assert await is_alive(office, browser)
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/sign_out")
    page = await browser.submit(follow=False)
    assert "iframe" not in page.text
    assert not await is_alive(office, browser)
    assert office.provider.count("check") == 0
