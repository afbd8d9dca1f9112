"""From the provider's answer to a session: whose answer, how often, and what becomes of the session before it."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.fakes.browser import Answer, Browser
from tests.fakes.office import COOKIE, Office
from tests.fakes.provider import ADA, MIA, MISSING, says
from tests.unit.web.conftest import Shaky
from tests.unit.web.made import DASHBOARD, DASHBOARD_ORIGIN, PORTAL, PORTAL_ORIGIN

CALLBACK = f"{PORTAL_ORIGIN}/oauth2/callback"


def edited(url: str, *more: tuple[str, str], **changes: str | None) -> str:
    """The same URL with other parameters; None takes one away, `more` are added at the end."""
    base, _, query = url.partition("?")
    kept = [(name, changes.get(name, value)) for name, value in parse_qsl(query, keep_blank_values=True)]
    return base + "?" + urlencode([(name, value) for name, value in kept if value is not None] + list(more))


def refused(answer: Answer, status: int = 400) -> bool:
    """A page of ours, and no session."""
    return answer.status == status and not any(COOKIE in value for value in answer.all("Set-Cookie"))


def set_cookie(answer: Answer, name: str) -> str:
    return next(value for value in answer.all("Set-Cookie") if value.startswith(name))


# --- a login that goes well -------------------------------------------------------------------------------------------


async def test_a_login_ends_on_its_deep_link_with_a_session(office: Office) -> None:
    """A-01: and the browser keeps every cookie that it was given."""
    browser = office.browser()
    answer = await office.sign_in_as(browser, rd="/bookings?day=1%26x%23today")
    assert answer.status == 303
    assert answer.location == f"{PORTAL_ORIGIN}/bookings?day=1&x#today"
    assert not browser.jar.refused
    token = office.token(browser)
    assert token is not None
    session = await office.session(token)
    assert session is not None
    assert (session.identity.email, session.app, session.key_host) == (MIA["email"], "portal", PORTAL)
    assert session.provider_sid is not None
    assert session.auth_time is not None
    assert office.events("login.succeeded")[0]["session"] == session.sid


async def test_the_session_cookie_is_locked_to_its_host(office: Office) -> None:
    """K1, K8."""
    browser = office.browser()
    value = set_cookie(await office.sign_in_as(browser), COOKIE)
    token = office.token(browser)
    assert value == f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert len(token or "") == 43


async def test_the_answer_with_the_session_is_not_stored_and_tells_nobody_where_it_came_from(office: Office) -> None:
    """C-39: and the code travels on in no Referer."""
    answer = await office.sign_in_as(office.browser())
    assert answer.header("Cache-Control") == "no-store"
    assert answer.header("Referrer-Policy") == "no-referrer"


async def test_a_session_of_one_app_is_none_on_the_other(office: Office) -> None:
    browser = office.browser()
    await office.sign_in_as(browser)
    token = office.token(browser) or ""
    assert await office.session(token, DASHBOARD, "dashboard") is None


async def test_limits_of_the_session_are_those_of_its_app(closed_office: Office) -> None:
    await closed_office.open(
        sections={"apps": {"dashboard": {"surface": "dashboard", "hosts": [DASHBOARD], "upstream": "http://127.0.0.1:9",
                                         "session": {"idle": "15m", "lifetime": "12h"}}}}
    )  # fmt: skip
    browser = closed_office.browser()
    await closed_office.sign_in_as(browser, origin=DASHBOARD_ORIGIN)
    session = await closed_office.session(closed_office.token(browser, DASHBOARD) or "", DASHBOARD, "dashboard")
    assert session is not None
    assert (session.idle, session.lifetime) == (timedelta(minutes=15), timedelta(hours=12))


# --- a new session at every login -------------------------------------------------------------------------------------


async def test_a_planted_session_does_not_survive_the_login(office: Office) -> None:
    """C-40: fixation. The attacker's own session, planted in the victim's browser, is replaced and dead."""
    attacker, victim = office.browser(), office.browser()
    await office.sign_in_as(attacker, str(ADA["sub"]))
    planted = office.token(attacker) or ""
    victim.jar.store(PORTAL_ORIGIN, f"{COOKIE}={planted}; Path=/; Secure")
    await office.sign_in_as(victim, str(MIA["sub"]))
    assert office.token(victim) != planted
    assert await office.session(planted) is None
    assert office.events("session.revoked")[-1]["by"] == "new_login"


async def test_every_login_has_a_new_id_and_ends_the_session_before(office: Office) -> None:
    """C-06, C-40: the start leaves a session alone, the callback replaces it."""
    browser = office.browser()
    await office.sign_in_as(browser)
    first = office.token(browser) or ""
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start", follow=False)
    assert await office.session(first) is not None
    await office.choose(browser)
    await browser.follow()
    second = office.token(browser) or ""
    assert second != first
    assert await office.session(first) is None
    assert await office.session(second) is not None
    assert await office.live(first) is None


async def test_two_tabs_that_began_before_anybody_signed_in_both_land_on_their_deep_links(office: Office) -> None:
    """A-54."""
    browser = office.browser()
    first = await office.arrive(browser, rd="/tab/one")
    second = await office.arrive(browser, rd="/tab/two")
    assert (await browser.open(first, follow=False)).location == f"{PORTAL_ORIGIN}/tab/one"
    assert (await browser.open(second, follow=False)).location == f"{PORTAL_ORIGIN}/tab/two"
    assert await office.session(office.token(browser) or "") is not None


async def test_cookies_that_a_sibling_subdomain_sets_lock_nobody_out(office: Office) -> None:
    """C-37: under each of our names without the prefix, before the sign-in begins and after it."""
    browser = office.browser()
    for name in (
        "doorward_session",
        "doorward_login",
        "doorward_login_00000000_00000000",
        "doorward_wait_0123456789abcdef",
    ):
        browser.jar.store("https://evil.example.com/", f"{name}={'x' * 43}; Domain=example.com; Path=/")
    assert (await office.sign_in_as(browser, rd="/bookings")).location == f"{PORTAL_ORIGIN}/bookings"
    assert (await browser.open(f"{PORTAL_ORIGIN}/oauth2/userinfo")).status == 200
    assert len(browser.jar.header(f"{PORTAL_ORIGIN}/", same_site=True, navigation=True, safe=True).split(";")) >= 5


# --- whose answer -----------------------------------------------------------------------------------------------------


async def test_the_answer_to_an_attackers_login_is_refused_in_another_browser(office: Office) -> None:
    """A-53: login CSRF. Neither without any cookie, nor with an attempt of one's own; and the code stays unspent."""
    attacker, victim = office.browser(), office.browser()
    stolen = await office.arrive(attacker)
    assert refused(await victim.open(stolen))
    await victim.open(f"{PORTAL_ORIGIN}/oauth2/start", follow=False)
    assert refused(await victim.open(stolen))
    assert office.provider.count("token") == 0
    assert office.events("login.refused")[0]["reason"] == "no_attempt"


async def test_an_answer_to_another_host_is_refused(office: Office) -> None:
    """A-53: the attempt is bound to the host that it began under, even when its cookie is copied there."""
    browser = office.browser()
    callback = await office.arrive(browser)
    cookie = next(cookie for cookie in browser.jar.cookies if "login_" in cookie.name and cookie.host == PORTAL)
    browser.jar.store(DASHBOARD_ORIGIN, f"{cookie.name}={cookie.value}; Path=/; Secure")
    moved = callback.replace(PORTAL_ORIGIN, DASHBOARD_ORIGIN)
    assert refused(await browser.open(moved))
    assert office.provider.count("token") == 0


async def test_a_state_is_good_once(office: Office) -> None:
    """A-54: the same answer again, with the cookie of before put back."""
    browser = office.browser()
    callback = await office.arrive(browser)
    thief = Browser(browser.resolve)
    thief.jar.cookies = list(browser.jar.cookies)
    await browser.open(callback, follow=False)
    again = await thief.open(callback)
    assert refused(again)
    assert "sign_in_expired" in again.text
    assert office.provider.count("token") == 1


async def test_of_two_requests_with_one_state_at_once_one_goes_on(office: Office) -> None:
    """A-54."""
    browser = office.browser()
    callback = await office.arrive(browser)
    twins = [Browser(browser.resolve) for _ in range(5)]
    for twin in twins:
        twin.jar.cookies = list(browser.jar.cookies)
    answers = await asyncio.gather(*(twin.open(callback, follow=False) for twin in twins))
    assert sorted(answer.status for answer in answers) == [303, 400, 400, 400, 400]
    assert office.provider.count("token") == 1


async def test_a_double_click_lands_where_the_first_click_does(office: Office) -> None:
    """A-54: used already, but this browser is signed in: no error for a person who did nothing wrong."""
    browser = office.browser()
    callback = await office.arrive(browser, rd="/bookings")
    before = list(browser.jar.cookies)
    await browser.open(callback, follow=False)
    browser.jar.cookies = [*before, *(cookie for cookie in browser.jar.cookies if cookie.name == COOKIE)]
    again = await browser.open(callback, follow=False)
    assert (again.status, again.location) == (303, f"{PORTAL_ORIGIN}/bookings")


async def test_a_login_that_takes_longer_than_fifteen_minutes_is_over(office: Office) -> None:
    """A-54."""
    browser = office.browser()
    callback = await office.arrive(browser)
    office.clock.advance(15 * 60 + 1)
    assert refused(await browser.open(callback))


async def test_a_callback_whose_cookie_was_lost_shows_a_page_that_keeps_the_link(office: Office) -> None:
    """A-53: and no circle: the person goes on by a click."""
    browser = office.browser()
    callback = await office.arrive(browser, rd="/bookings?day=1")
    browser.jar.cookies = []
    page = await browser.open(callback)
    assert refused(page)
    assert f"accepts cookies from {PORTAL}" in page.document.words
    assert page.document.link("Continue") == "/oauth2/start?rd=/bookings%3Fday%3D1"
    assert office.provider.count("token") == 0


async def test_a_person_who_is_signed_in_already_lands_on_the_link_of_an_attempt_without_its_cookie(
    office: Office,
) -> None:
    """A-53: nothing is redeemed, and the session stays the one that it was."""
    browser = office.browser()
    callback = await office.arrive(browser, rd="/bookings")
    browser.jar.cookies = []
    await office.sign_in_as(browser)
    token, spent = office.token(browser), office.provider.count("token")
    browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name == COOKIE]
    landed = await browser.open(callback, follow=False)
    assert (landed.status, landed.location) == (303, f"{PORTAL_ORIGIN}/bookings")
    assert (office.token(browser), office.provider.count("token")) == (token, spent)


async def test_a_state_with_the_cookie_of_another_attempt_is_refused_at_both_ends(office: Office) -> None:
    """A-86: the attacker's own state and code, with the victim's cookie; the victim's state, with the attacker's code."""
    attacker, victim = office.browser(), office.browser()
    stolen = dict(parse_qsl(urlsplit(await office.arrive(attacker, str(ADA["sub"]))).query))
    callback = await office.arrive(victim)
    assert refused(await victim.open(edited(callback, state=stolen["state"], code=stolen["code"])))
    assert office.provider.count("token") == 0
    assert refused(await victim.open(edited(callback, code=stolen["code"])))
    assert office.events("login.refused")[-1]["reason"] == "code_refused"
    assert office.token(victim) is None


async def test_another_spelling_of_a_used_state_is_not_a_new_attempt(office: Office) -> None:
    """A-86, A-54: a provider's code that can be used twice is still redeemed once."""
    browser = office.browser()
    callback = await office.arrive(browser)
    state = dict(parse_qsl(urlsplit(callback).query))["state"]
    await browser.open(callback, follow=False)
    browser.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name != COOKIE]
    for spelling in (state + "=", state + "==", state[:-1] + ("B" if state[-1] == "A" else "A"), state + "\n"):
        assert refused(await browser.open(edited(callback, state=spelling)))
    assert office.provider.count("token") == 1


async def test_a_code_of_another_login_does_not_fit(office: Office) -> None:
    """A-54: code injection; PKCE and the nonce see to that."""
    attacker, victim = office.browser(), office.browser()
    stolen = dict(parse_qsl(urlsplit(await office.arrive(attacker)).query))["code"]
    callback = await office.arrive(victim, str(ADA["sub"]))
    answer = await victim.open(edited(callback, code=stolen))
    assert refused(answer)
    assert office.events("login.refused")[0]["reason"] == "code_refused"


@pytest.mark.parametrize("name", ["state", "code", "iss", "x"])
async def test_a_repeated_parameter_is_refused(office: Office, name: str) -> None:
    """A-55."""
    browser = office.browser()
    callback = edited(await office.arrive(browser), *(("x", "1"),))
    doubled = dict(parse_qsl(urlsplit(callback).query))[name]
    assert refused(await browser.open(edited(callback, (name, doubled))))
    assert office.provider.count("token") == 0


async def test_a_code_with_an_error_beside_it_is_refused(office: Office) -> None:
    """A-55."""
    browser = office.browser()
    assert refused(await browser.open(edited(await office.arrive(browser), ("error", "access_denied"))))
    assert office.provider.count("token") == 0


@pytest.mark.parametrize("told", [MISSING, "https://evil.example", ""])
async def test_an_answer_without_the_right_issuer_is_refused(office: Office, told: object) -> None:
    """A-56."""
    office.provider.told.authorization["iss"] = told
    browser = office.browser()
    assert refused(await office.sign_in_as(browser))
    assert office.provider.count("token") == 0


@pytest.mark.parametrize("state", ["", "x", "%00", "x" * 3000, "\u2028"])
async def test_a_state_that_was_never_issued_is_refused(office: Office, state: str) -> None:
    """A-53."""
    browser = office.browser()
    callback = await office.arrive(browser)
    assert refused(await browser.open(edited(callback, state=state)))


# --- answers that are no logins ---------------------------------------------------------------------------------------


async def test_the_back_button_after_a_login_is_harmless(office: Office) -> None:
    browser = office.browser()
    callback = await office.arrive(browser, rd="/bookings")
    await browser.open(callback, follow=False)
    back = await browser.open(callback, follow=False)
    assert (back.status, back.location) == (303, f"{PORTAL_ORIGIN}/bookings")


async def test_a_bookmarked_callback_shows_a_page_with_a_way_on_and_no_loop(office: Office) -> None:
    browser = office.browser()
    page = await browser.open(CALLBACK + "?code=x&state=y")
    assert refused(page)
    assert "This sign-in has expired" in page.document.words
    assert f"accepts cookies from {PORTAL}" in page.document.words
    assert page.document.link("Continue") == "/oauth2/start"


async def test_a_callback_without_any_parameter_is_such_a_page_too(office: Office) -> None:
    assert refused(await office.browser().open(CALLBACK))


async def test_a_person_who_cancels_is_told_so_and_can_try_again(office: Office) -> None:
    office.provider.told.authorization.update({"code": MISSING, "error": "access_denied"})
    browser = office.browser()
    answer = await office.sign_in_as(browser, rd="/bookings")
    assert refused(answer)
    assert answer.document.link("Try again") == "/oauth2/start?rd=/bookings"
    assert not [cookie for cookie in browser.jar.cookies if cookie.host == PORTAL]
    assert office.events("login.refused")[0]["reason"] == "access_denied"


async def test_pages_of_a_sign_in_keep_the_languages_that_began_it(office: Office) -> None:
    """In the browser that began it, and in another one; the links of the pages too."""
    office.provider.told.authorization.update({"code": MISSING, "error": "access_denied"})
    browser, french = office.browser(), {"Accept-Language": "fr"}
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start?rd=/bookings&ui_locales=de%20en", follow=False)
    back = await office.choose(browser)
    again = "/oauth2/start?rd=/bookings&ui_locales=de%20en"
    for reader in (office.browser(), browser):
        answer = await reader.open(back, headers=french)
        assert refused(answer)
        assert answer.header("Content-Language") == "de"
        assert again in [href for href, _ in answer.document.links]


async def test_an_error_page_of_the_provider_is_escaped(office: Office) -> None:
    """A-76."""
    office.provider.told.authorization.update(
        {
            "code": MISSING,
            "error": "<script>alert(1)</script>",
            "error_description": "<script>alert(1)</script>\r\nSet-Cookie: x=1",
        }
    )
    answer = await office.sign_in_as(office.browser())
    assert refused(answer)
    assert "<script" not in answer.text
    assert not any("x=1" in value for value in answer.all("Set-Cookie"))
    assert "default-src 'none'" in (answer.header("Content-Security-Policy") or "")
    assert not any("script" in str(line) for line in office.lines)


async def test_an_id_token_that_fails_a_check_makes_no_session(office: Office) -> None:
    """A-12: one for all of them: 4xx, no cookie, nothing in Redis, the reason in the event."""
    office.provider.told.id_token["nonce"] = "another"
    browser = office.browser()
    answer = await office.sign_in_as(browser)
    assert refused(answer, 403)
    assert office.token(browser) is None
    assert office.events("login.refused")[0]["reason"] == "nonce"
    assert not office.events("login.succeeded")


async def test_a_provider_that_breaks_at_the_token_endpoint_gives_a_clean_page(office: Office) -> None:
    """A-70: without a word of its body."""
    office.provider.faults["token"] = says("<h1>secret stack trace</h1>", status=500, content_type="text/html")
    answer = await office.sign_in_as(office.browser(), rd="/bookings")
    assert refused(answer, 502)
    assert "secret" not in answer.text
    assert answer.document.link("Try again") == "/oauth2/start?rd=/bookings"


async def test_a_person_who_is_not_registered_gets_a_page_that_names_the_account(office: Office) -> None:
    office.registration = "refuse"
    browser = office.browser()
    answer = await office.sign_in_as(browser)
    assert refused(answer, 403)
    assert "You are not registered here" in answer.document.words
    assert str(MIA["email"]) in answer.document.words
    assert answer.document.link("Use another account") == "/oauth2/start?prompt=select_account"
    assert office.token(browser) is None


async def test_the_directory_is_not_asked_about_a_dashboard(office: Office) -> None:
    office.registration = "refuse"
    browser = office.browser()
    answer = await office.sign_in_as(browser, origin=DASHBOARD_ORIGIN)
    assert answer.status == 303
    assert office.token(browser, DASHBOARD) is not None


async def test_an_unverified_address_makes_no_session(office: Office) -> None:
    """A-58."""
    office.provider.told.userinfo["email_verified"] = "false"
    office.provider.told.id_token["email_verified"] = "false"
    answer = await office.sign_in_as(office.browser())
    assert refused(answer, 403)
    assert "not verified" in answer.document.words


async def test_a_program_gets_a_problem_document_instead_of_a_page(office: Office) -> None:
    browser = office.browser()
    await browser.open(CALLBACK)
    answer = await browser.fetch(CALLBACK + "?code=x&state=y")
    assert refused(answer)
    assert answer.header("Content-Type") == "application/problem+json"
    assert '"code": "sign_in_expired"' in answer.text


async def test_neither_code_nor_tokens_nor_state_are_told_to_anybody(office: Office) -> None:
    """C-48: in events and pages."""
    browser = office.browser()
    callback = await office.arrive(browser)
    parameters = dict(parse_qsl(urlsplit(callback).query))
    await browser.open(callback, follow=False)
    again = Browser(browser.resolve)
    page = await again.open(callback)
    told = str(office.lines) + page.text
    for secret in (parameters["code"], parameters["state"], office.token(browser) or "?"):
        assert secret not in told


# --- methods ----------------------------------------------------------------------------------------------------------


async def test_only_get_ends_a_login(office: Office) -> None:
    """A-42: and a link checker's HEAD spends nothing."""
    browser = office.browser()
    callback = await office.arrive(browser)
    for method in ("HEAD", "POST", "PUT", "OPTIONS"):
        answer = await browser.fetch(callback, method=method)
        assert (answer.status, answer.header("Allow")) == (405, "GET")
    assert (await browser.open(callback, follow=False)).status == 303


# --- when Redis is away -----------------------------------------------------------------------------------------------


async def test_without_redis_nobody_is_let_in_and_nothing_is_redeemed(shaky: Shaky) -> None:
    """C-43: fail closed, with a page that says to try again."""
    office = shaky.office
    browser = office.browser()
    callback = await office.arrive(browser)
    shaky.link.refuse()
    answer = await browser.open(callback)
    assert refused(answer, 503)
    assert answer.header("Retry-After") == "2"
    assert answer.document.link("Try again") == "/oauth2/start"
    assert office.provider.count("token") == 0
    shaky.link.restore()
    assert (await office.sign_in_as(browser)).status == 303


# --- a form at the provider that lay too long -------------------------------------------------------------------------

EXPIRED = (("error", "temporarily_unavailable"), ("error_description", "authentication_expired"))


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


async def test_a_sign_in_that_the_provider_let_expire_is_begun_again_once_with_all_that_it_was_for(
    office: Office,
) -> None:
    """A-90: what Keycloak answers when its own form lay too long and the person signed in in another tab."""
    browser = office.browser()
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start?rd=/a%3Fb=1%2526c&prompt=login&ui_locales=de", follow=False)
    first = await office.choose(browser)
    answer = await browser.open(edited(first, *EXPIRED, code=None), follow=False)
    assert answer.status == 302
    assert answer.location.startswith(office.provider.issuer + "/authorize?")
    before, again = parameters(browser.history[0].location), parameters(answer.location)
    own = {"state", "nonce", "code_challenge"}
    assert {name: again[name] for name in again.keys() - own} == {name: before[name] for name in before.keys() - own}
    assert again["prompt"] == "login"
    assert all(again[name] != before[name] for name in own)
    assert office.provider.count("token") == 0
    second = await office.choose(browser)
    assert (await browser.open(second, follow=False)).location == f"{PORTAL_ORIGIN}/a?b=1%26c"
    assert office.token(browser) is not None
    assert office.events("login.refused") == []


async def test_a_provider_that_lets_each_sign_in_expire_gets_two_requests_and_the_person_a_page(office: Office) -> None:
    """A-90."""
    browser = office.browser()
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start?rd=/bookings", follow=False)
    for _ in range(2):
        came = await office.choose(browser)
        answer = await browser.open(edited(came, *EXPIRED, code=None), follow=False)
    assert refused(answer)
    assert answer.document.link("Try again").endswith("/oauth2/start?rd=/bookings")
    assert [event["reason"] for event in office.events("login.refused")] == ["provider_error"]


async def test_a_provider_that_is_unavailable_for_another_reason_is_not_asked_again(office: Office) -> None:
    browser = office.browser()
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start?rd=/bookings", follow=False)
    came = await office.choose(browser)
    assert refused(await browser.open(edited(came, EXPIRED[0], code=None), follow=False))
