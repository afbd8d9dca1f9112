"""Signing out: by whose wish, what is dead afterwards, and where the browser goes."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.web.sign_out import AfterSignOut
from tests.fakes.browser import Answer, Browser
from tests.fakes.office import COOKIE, Office
from tests.fakes.provider import ADA, MISSING, Fault, broken_off, dripping, says
from tests.fakes.redirects import EVIL, spellings
from tests.unit.web.conftest import Shaky
from tests.unit.web.made import DASHBOARD, DASHBOARD_ORIGIN, PORTAL, PORTAL_ORIGIN

SIGN_OUT = f"{PORTAL_ORIGIN}/oauth2/sign_out"
SIGNED_OUT = f"{PORTAL_ORIGIN}/oauth2/signed_out"


async def signed_in(office: Office) -> Browser:
    browser = office.browser()
    await office.sign_in_as(browser)
    return browser


def asked(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def push_the_button(browser: Browser, rd: str = "") -> Answer:
    await browser.open(SIGN_OUT + (f"?rd={rd}" if rd else ""))
    return await browser.submit(follow=False)


async def is_alive(office: Office, browser: Browser) -> bool:
    token = office.token(browser)
    return token is not None and await office.session(token) is not None


# --- what happens -----------------------------------------------------------------------------------------------------


async def test_the_session_is_dead_before_the_browser_is_sent_to_the_provider(office: Office) -> None:
    """A-20: RP-initiated logout with the hint and the registered address."""
    browser = await signed_in(office)
    token = office.token(browser) or ""
    answer = await push_the_button(browser)
    assert await office.session(token) is None
    assert answer.status == 303
    assert answer.location.startswith(office.provider.issuer + "/sign-out?")
    request = asked(answer.location)
    assert request["post_logout_redirect_uri"] == SIGNED_OUT
    assert request["client_id"] == "doorward"
    assert request["id_token_hint"].count(".") == 2
    page = await browser.follow_all()
    assert page.url.partition("?")[0] == SIGNED_OUT
    assert "You are signed out" in page.document.words
    assert page.document.link("Sign in again") == "/oauth2/start"


async def test_a_kept_cookie_is_worth_nothing_afterwards(office: Office) -> None:
    """C-44."""
    browser = await signed_in(office)
    thief = Browser(browser.resolve)
    thief.jar.cookies = list(browser.jar.cookies)
    assert (await thief.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")).status == 200
    await push_the_button(browser)
    assert (await thief.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")).status == 401


async def test_the_browser_has_no_cookie_of_ours_left(office: Office) -> None:
    """C-45: removed with the attributes they were set with, those of unfinished logins too."""
    browser = await signed_in(office)
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start", follow=False)
    answer = await push_the_button(browser)
    assert f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure" in answer.all("Set-Cookie")
    assert not [cookie for cookie in browser.jar.cookies if "doorward" in cookie.name]


async def test_the_other_surface_is_signed_out_with_it(office: Office) -> None:
    """One sign-in at the provider, two surfaces, one sign-out."""
    browser = await signed_in(office)
    await office.sign_in_as(browser, origin=DASHBOARD_ORIGIN)
    other = office.token(browser, DASHBOARD) or ""
    assert await office.session(other, DASHBOARD, "dashboard") is not None
    await push_the_button(browser)
    assert await office.session(other, DASHBOARD, "dashboard") is None
    assert {event["app"] for event in office.events("session.revoked")} == {"portal", "dashboard"}
    assert all(event["by"] == "sign_out" for event in office.events("session.revoked"))
    assert [(event["app"], event["kind"]) for event in office.events("logout")] == [("portal", "local")]


async def test_another_browser_of_the_same_person_stays_signed_in(office: Office) -> None:
    browser, phone = await signed_in(office), await signed_in(office)
    await push_the_button(browser)
    assert await is_alive(office, phone)


async def test_a_provider_without_sid_ends_every_session_of_the_person(office: Office) -> None:
    office.provider.told.id_token["sid"] = None
    browser, phone = await signed_in(office), await signed_in(office)
    stranger = office.browser()
    await office.sign_in_as(stranger, str(ADA["sub"]))
    await push_the_button(browser)
    assert not await is_alive(office, phone)
    assert await is_alive(office, stranger)


async def test_tokens_of_every_surface_are_revoked_at_the_provider(closed_office: Office) -> None:
    """The refresh token first: it could still buy another access token. With the client's authentication."""
    office = closed_office
    await office.open(sections={"openid": {"scopes": ["openid", "email", "profile", "offline_access"]}})
    browser = await signed_in(office)
    await office.sign_in_as(browser, origin=DASHBOARD_ORIGIN)
    sessions = [
        await office.session(office.token(browser) or ""),
        await office.session(office.token(browser, DASHBOARD) or "", DASHBOARD, "dashboard"),
    ]
    held = {token for session in sessions if session for token in (session.refresh_token, session.access_token)}
    assert len(held - {None}) == 4
    await push_the_button(browser)
    seen = [request for request in office.provider.seen if request.endpoint == "revoke"]
    assert {request.form["token"] for request in seen} == held
    assert all(request.headers["Authorization"].startswith("Basic ") for request in seen)
    order = [request.form["token"] for request in seen]
    for session in filter(None, sessions):
        assert order.index(session.refresh_token or "") < order.index(session.access_token or "")
    for request in seen:
        refresh = {session.refresh_token for session in sessions if session}
        assert request.form["token_type_hint"] == (
            "refresh_token" if request.form["token"] in refresh else "access_token"
        )
    assert office.events("token.revocation_failed") == []


@pytest.mark.parametrize(
    ("fault", "reason"), [(dripping, "timeout"), (broken_off, "refused"), (says("no", status=503), "refused")]
)
async def test_a_token_that_could_not_be_revoked_is_an_event_and_no_hindrance(
    office: Office, fault: Fault, reason: str
) -> None:
    """C-48: the event names the session, not the token."""
    browser = await signed_in(office)
    session = await office.session(office.token(browser) or "")
    assert session is not None
    office.provider.faults["revoke"] = fault
    assert (await push_the_button(browser)).status == 303
    (event,) = office.events("token.revocation_failed")
    assert (event["session"], event["reason"]) == (session.sid, reason)
    assert (session.access_token or "") not in json.dumps(office.lines)
    assert not await is_alive(office, browser)


async def test_a_provider_without_such_an_endpoint_is_not_asked(closed_office: Office) -> None:
    office = closed_office
    office.provider.told.metadata["revocation_endpoint"] = MISSING
    await office.open()
    await push_the_button(await signed_in(office))
    assert office.provider.count("revoke") == 0
    assert office.events("token.revocation_failed") == []


async def test_a_provider_that_is_slow_to_revoke_holds_nobody_up(office: Office) -> None:
    browser = await signed_in(office)
    office.provider.faults["revoke"] = dripping
    async with asyncio.timeout(9):
        answer = await push_the_button(browser)
    assert answer.status == 303


async def test_signing_out_twice_is_harmless(office: Office) -> None:
    browser = await signed_in(office)
    await browser.open(SIGN_OUT)
    await browser.submit(follow=False)
    browser.history.append(browser.history[-2])
    again = await browser.submit(follow=False)
    assert (again.status, again.location) == (303, SIGNED_OUT)
    assert len(office.events("logout")) == 1


async def test_without_redis_nobody_is_told_to_be_signed_out(shaky: Shaky) -> None:
    """C-43: the cookie stays too, so that the second try can end the session."""
    browser = await signed_in(shaky.office)
    await browser.open(SIGN_OUT)
    shaky.link.refuse()
    answer = await browser.submit(follow=False)
    assert answer.status == 503
    assert not answer.all("Set-Cookie")
    shaky.link.restore()
    assert await is_alive(shaky.office, browser)


# --- by whose wish ----------------------------------------------------------------------------------------------------


async def test_a_typed_address_shows_a_button_and_signs_nobody_out(office: Office) -> None:
    """C-49."""
    browser = await signed_in(office)
    page = await browser.open(SIGN_OUT)
    assert page.status == 200
    assert "Sign out?" in page.document.words
    assert "mia@example.com" in page.document.words
    assert await is_alive(office, browser)


async def test_a_link_of_our_own_page_signs_out_at_once(office: Office) -> None:
    browser = await signed_in(office)
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")
    answer = await browser.click("/oauth2/sign_out", follow=False)
    assert answer.status == 303
    assert not await is_alive(office, browser)


@pytest.mark.parametrize(
    ("initiator", "destination", "mode"),
    [
        ("https://evil.example/", "image", "no-cors"),
        ("https://evil.example/", "iframe", "navigate"),
        ("https://evil.example/", "document", "navigate"),
        ("https://other.example.com/", "document", "navigate"),
        (f"{PORTAL_ORIGIN}/forum", "image", "no-cors"),
        (f"{PORTAL_ORIGIN}/forum", "iframe", "navigate"),
        (f"{PORTAL_ORIGIN}/forum", "script", "no-cors"),
    ],
)
async def test_neither_an_image_nor_a_frame_nor_a_link_elsewhere_signs_out(
    office: Office, initiator: str, destination: str, mode: str
) -> None:
    """C-49: not even an image that somebody put into the portal's own forum."""
    browser = await signed_in(office)
    answer = await browser.load(initiator, SIGN_OUT, destination=destination, mode=mode)
    assert answer.status == 200
    assert not answer.all("Set-Cookie")
    assert await is_alive(office, browser)


@pytest.mark.parametrize(
    "initiator", ["https://evil.example/", "https://other.example.com/", DASHBOARD_ORIGIN, f"http://{PORTAL}/"]
)
async def test_a_form_of_another_origin_signs_nobody_out(office: Office, initiator: str) -> None:
    """C-49: in a browser that has SameSite, and in one that would send the cookie all the same."""
    browser = await signed_in(office)
    assert (await browser.post_from(initiator, SIGN_OUT)).status == 403
    for cookie in browser.jar.cookies:
        cookie.same_site = "none"
    answer = await browser.post_from(initiator, SIGN_OUT)
    assert answer.status == 403
    assert "cross_site_request" in answer.text
    assert await is_alive(office, browser)


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": PORTAL_ORIGIN}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Origin": PORTAL_ORIGIN}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": DASHBOARD_ORIGIN}, False),
        ({"Origin": PORTAL_ORIGIN + ".evil.example"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": PORTAL_ORIGIN}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": PORTAL_ORIGIN}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, False),
        ({"Referer": PORTAL_ORIGIN}, False),
    ],
)
async def test_who_may_post(office: Office, fields: dict[str, str], allowed: bool) -> None:
    """C-49: by Sec-Fetch-Site, and by Origin in a browser that does not have it."""
    browser = await signed_in(office)
    answer = await bare_post(office, browser, fields)
    assert (answer.status == 303) is allowed
    assert await is_alive(office, browser) is not allowed


async def bare_post(office: Office, browser: Browser, fields: dict[str, str]) -> Answer:
    """A POST with exactly these fields."""
    plain = Browser({SIGN_OUT.replace("/oauth2/sign_out", ""): office.port})
    cookie = f"{COOKIE}={office.token(browser)}"
    no_metadata = {
        "Sec-Fetch-Site": "",
        "Sec-Fetch-Mode": "",
        "Sec-Fetch-Dest": "",
        "Origin": "",
        **fields,
        "Cookie": cookie,
    }
    return await plain.send("POST", SIGN_OUT, no_metadata)


@pytest.mark.parametrize("field", ["Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"])
@pytest.mark.parametrize("value", ["prefetch", "prefetch;prerender", "preview"])
async def test_a_prefetch_never_signs_out(office: Office, field: str, value: str) -> None:
    """C-49."""
    browser = await signed_in(office)
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")
    answer = await browser.fetch(SIGN_OUT, headers={field: value})
    assert answer.status == 200
    assert await is_alive(office, browser)


async def test_head_never_signs_out(office: Office) -> None:
    browser = await signed_in(office)
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")
    assert (await browser.fetch(SIGN_OUT, method="HEAD")).status == 200
    assert await is_alive(office, browser)


async def test_the_button_works_in_a_browser_without_fetch_metadata(closed_office: Office) -> None:
    """Plain http: no Sec-Fetch-Site there, so the page must let the form send its origin."""
    await closed_office.open(http=True)
    browser = closed_office.browser()
    origin = closed_office.origins[0]
    await closed_office.sign_in_as(browser, origin=origin)
    await browser.open(f"{origin}/oauth2/sign_out")
    answer = await browser.submit(follow=False)
    assert "Sec-Fetch" not in answer.sent
    assert answer.status == 303
    assert (await browser.follow_all()).url.partition("?")[0] == f"{origin}/oauth2/signed_out"


# --- and then -----------------------------------------------------------------------------------------------------------


async def test_a_person_gets_where_they_wanted_by_way_of_the_provider(office: Office) -> None:
    browser = await signed_in(office)
    answer = await push_the_button(browser, rd="/goodbye%3Fx=1")
    assert "goodbye" not in answer.location
    while urlsplit(browser.page.location).path != "/goodbye":
        await browser.follow()
    assert browser.page.location == f"{PORTAL_ORIGIN}/goodbye?x=1"


async def test_another_configured_host_is_a_place_to_go(office: Office) -> None:
    browser = await signed_in(office)
    await push_the_button(browser, rd=f"{DASHBOARD_ORIGIN}/bye")
    while urlsplit(browser.page.location).path != "/bye":
        await browser.follow()
    assert browser.page.location == f"{DASHBOARD_ORIGIN}/bye"


async def test_rd_of_the_form_counts_too(office: Office) -> None:
    browser = office.browser()
    answer = await browser.post_from(f"{PORTAL_ORIGIN}/x", SIGN_OUT, b"rd=%2Fgoodbye")
    assert answer.location == f"{PORTAL_ORIGIN}/goodbye"


async def test_no_spelling_of_rd_leads_off_our_hosts(office: Office) -> None:
    """A-52: neither directly, nor by way of the provider."""
    browser = office.browser()
    for spelling in spellings(PORTAL)[::5]:
        encoded = "".join(f"%{byte:02x}" for byte in spelling.encode())
        answer = await browser.post_from(f"{PORTAL_ORIGIN}/x", f"{SIGN_OUT}?rd={encoded}")
        assert answer.status == 303
        assert answer.location.startswith(PORTAL_ORIGIN + "/"), spelling
        assert urlsplit(answer.location).hostname == PORTAL


@pytest.mark.parametrize(
    "state", ["", "?state=", "?state=other", f"?state=https://{EVIL}/", "?state=a&state=b", "?state=%00", "?error=x"]
)
async def test_whatever_state_a_provider_returns_there_is_a_page(office: Office, state: str) -> None:
    """A-21, A-22: another state, or none: no error, no loop."""
    page = await office.browser().open(SIGNED_OUT + state)
    assert page.status == 200
    assert "You are signed out" in page.document.words


async def test_a_state_that_was_edited_or_made_for_another_host_leads_nowhere(office: Office) -> None:
    """A-52."""
    sealed = AfterSignOut(office.ring).seal("/goodbye", PORTAL)
    browser = office.browser()
    assert (await browser.open(f"{SIGNED_OUT}?state={sealed}", follow=False)).location == f"{PORTAL_ORIGIN}/goodbye"
    edited = sealed[:20] + ("A" if sealed[20] != "A" else "B") + sealed[21:]
    assert (await browser.open(f"{SIGNED_OUT}?state={edited}", follow=False)).status == 200
    moved = f"{DASHBOARD_ORIGIN}/oauth2/signed_out?state={sealed}"
    assert (await browser.open(moved, follow=False)).status == 200


async def test_what_was_sealed_is_judged_again_when_it_comes_back(office: Office) -> None:
    """A-52: keys outlive configurations; a host that is no longer ours is no place to go."""
    sealed = AfterSignOut(office.ring).seal(f"https://{EVIL}/", PORTAL)
    assert (await office.browser().open(f"{SIGNED_OUT}?state={sealed}", follow=False)).status == 200


async def test_a_log_out_url_of_its_own_gets_its_placeholders(closed_office: Office) -> None:
    url = "https://tenant.example/v2/logout?client_id={client_id}&returnTo={return_to}"
    await closed_office.open(sections={"openid": {"log_out_url": url}})
    answer = await push_the_button(await signed_in(closed_office))
    returned = "https%3A%2F%2Fportal.example.com%2Foauth2%2Fsigned_out"
    assert answer.location == f"https://tenant.example/v2/logout?client_id=doorward&returnTo={returned}"


async def test_a_provider_without_a_log_out_page_leaves_it_at_our_own(office: Office) -> None:
    browser = await signed_in(office)
    office.provider.told.metadata["end_session_endpoint"] = None
    await office.known_provider.ping()
    assert (await push_the_button(browser)).location == SIGNED_OUT


async def test_somebody_who_is_not_signed_in_is_told_so(office: Office) -> None:
    page = await office.browser().open(SIGN_OUT)
    assert "You are signed out" in page.document.words
