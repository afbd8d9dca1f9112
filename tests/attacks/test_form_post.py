"""Responses that a form of the provider's site brings (form_post), and what else such a form could bring."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MISSING, MisbehavingProvider, parameters_of
from tests.flows.conftest import OpenHouse

SESSION = "__Host-doorward_session"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OTHERS_SITE = "https://evil.example/"


@pytest.fixture
async def provider(provider: MisbehavingProvider) -> MisbehavingProvider:
    provider.told.metadata["response_modes_supported"] = ["query", "form_post"]
    return provider


async def opened(open_house: OpenHouse, provider: MisbehavingProvider, **openid: Any) -> House:
    return await open_house(
        provider=provider,
        external_url_scheme="https",
        apps={"portal": {}, "dashboard": {"surface": "dashboard"}},
        openid={"response_mode": "form_post", **openid},
    )


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await opened(open_house, provider)


async def at_the_form(house: House, browser: Browser, person: object = MIA["sub"], at: str = "/bookings") -> Answer:
    """The provider's page whose form brings the response, not sent yet."""
    page = await browser.open(house.origin() + at)
    return await house.choose(browser, page, person) if "interaction" in page.document.forms[0].fields else page


def response(page: Answer) -> dict[str, str]:
    return page.document.forms[0].fields


async def post(
    house: House, browser: Browser, fields: Mapping[str, str] | list[tuple[str, str]], **headers: str
) -> Answer:
    """The form as the provider's page sends it, with other fields."""
    url = house.origin() + "/oauth2/callback"
    return await browser.post_from(str(browser.page.url), url, urlencode(fields).encode(), {**FORM, **headers})


def signed_in(browser: Browser) -> bool:
    return browser.jar.named(SESSION) is not None


def assert_refused(house: House, browser: Browser, answer: Answer) -> None:
    assert answer.status == 400, answer.status
    assert "text/html" in (answer.header("Content-Type") or "")
    assert not signed_in(browser)
    assert house.worker.audit.counts["login.succeeded", "portal"] == 0
    assert house.worker.audit.counts["login.refused", "portal"] == 1


async def test_a_form_of_the_providers_site_ends_on_the_deep_link(house: House) -> None:
    """With one cookie of its own that other sites' forms bring; the session's stays at home."""
    browser = house.browser()
    away = await browser.open(house.origin() + "/bookings?day=1", follow=False)
    assert "response_mode=form_post" in away.location
    (cookie,) = away.all("Set-Cookie")
    name, _, attributes = cookie.partition("=")
    assert name.startswith("__Host-doorward_form_post_")
    assert attributes.partition("; ")[2] == "Path=/; Max-Age=900; HttpOnly; SameSite=None; Secure"
    page = await house.choose(browser, await browser.follow_all())
    answer = await browser.submit(0, follow=False)
    assert (answer.status, answer.location) == (303, house.origin() + "/bookings?day=1")
    assert all("SameSite=Lax" in value for value in answer.all("Set-Cookie") if value.startswith(SESSION))
    assert "Cookie: __Host-doorward_form_post_" in answer.sent
    assert (await browser.follow()).text == "you asked for /bookings?day=1"
    assert "__Host-doorward_form_post_" in browser.page.sent
    assert house.upstream.requests[-1].values("cookie") == []
    # The provider knows the person now: it answers at once. A form that is sent twice leads on, and signs nobody in.
    await browser.post_from(page.url, house.origin() + "/oauth2/callback", urlencode(response(page)).encode())
    assert browser.page.status == 400
    assert "This sign-in has expired" in browser.page.text


async def test_the_cookie_of_a_link_does_not_answer_for_a_form(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-88: nor the other way: each attempt ends as it began, and both cookies live side by side."""
    other = MisbehavingProvider()
    await other.start()
    other.told.metadata["response_modes_supported"] = ["query", "form_post"]
    house = await open_house(
        provider=provider,
        others={"members": other},
        external_url_scheme="https",
        apps={"portal": {"providers": ["openid", "members"]}},
        openid={"response_mode": "form_post"},
    )
    browser = house.browser()
    by_link = await browser.open(house.origin() + "/oauth2/start?provider=members&rd=/x", follow=False)
    by_form = await browser.open(house.origin() + "/oauth2/start?provider=openid&rd=/x", follow=False)
    for away, kind in ((by_link, "login"), (by_form, "form_post")):
        (cookie,) = away.all("Set-Cookie")
        assert cookie.startswith(f"__Host-doorward_{kind}_")
        assert ("; SameSite=Lax;" in cookie) == (kind == "login")
    of_link, of_form = (dict(parameters_of(away.location))["state"] for away in (by_link, by_form))
    url = house.origin() + "/oauth2/callback"
    answer = await browser.open(f"{url}?code=x&state={of_form}&iss={provider.issuer}", follow=False)
    assert "This sign-in has expired" in answer.text
    answer = await post(house, browser, {"code": "x", "state": of_link, "iss": other.issuer})
    assert "This sign-in has expired" in answer.text
    answer = await browser.post_from(OTHERS_SITE, f"{url}/members", b"code=x", FORM)
    assert (answer.status, provider.count("token"), other.count("token")) == (405, 0, 0)
    await other.close()


async def test_a_form_with_another_persons_response_signs_nobody_in(house: House) -> None:
    """A-88, A-53: the attacker's whole answer, from the attacker's site, to a victim with and without an attempt of their own."""
    attacker = house.browser()
    theirs = response(await at_the_form(house, attacker, ADA["sub"]))
    for victim in (house.browser(), house.browser()):
        house.worker.audit.counts.clear()
        answer = await victim.post_from(
            OTHERS_SITE, house.origin() + "/oauth2/callback", urlencode(theirs).encode(), FORM
        )
        assert_refused(house, victim, answer)
        await at_the_form(house, victim)
    # What the attacker began, the attacker can end: nothing of it was used up.
    assert (await attacker.submit(0)).text == "you asked for /bookings"
    attacker = house.browser()
    theirs = response(await at_the_form(house, attacker, ADA["sub"]))
    answer = await post(house, victim, {**response(victim.page), "code": theirs["code"]})
    assert (answer.status, signed_in(victim)) == (400, False)


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"state": MISSING}, {}),
        ({"state": "x"}, {}),
        ({"code": MISSING}, {}),
        ({"code": ""}, {}),
        ({"iss": "https://evil.example"}, {}),
        ({"error": "access_denied"}, {}),
        ({"filler": "x" * 33_000}, {}),
        ({}, {"Content-Type": "text/plain"}),
        ({}, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}),
        ({}, {"Content-Type": ""}),
    ],
)
async def test_a_form_that_is_no_authorization_response_is_refused(
    house: House, provider: MisbehavingProvider, changes: dict[str, Any], headers: dict[str, str]
) -> None:
    """A-88."""
    browser = house.browser()
    fields = {**response(await at_the_form(house, browser)), **changes}
    answer = await post(house, browser, {k: v for k, v in fields.items() if v is not MISSING}, **headers)
    assert_refused(house, browser, answer)
    assert provider.count("token") == 0


async def test_a_parameter_that_is_given_twice_is_refused(house: House, provider: MisbehavingProvider) -> None:
    """A-55, A-88."""
    for name in ("code", "state", "iss"):
        browser = house.browser()
        fields = response(await at_the_form(house, browser))
        answer = await post(house, browser, [*fields.items(), (name, fields[name])])
        assert (answer.status, signed_in(browser), provider.count("token")) == (400, False, 0)


async def test_nothing_of_the_query_is_read(house: House, provider: MisbehavingProvider) -> None:
    """A-88: a link is no answer, and a form's own fields count, whatever stands beside it."""
    browser = house.browser()
    fields = response(await at_the_form(house, browser))
    url = house.origin() + "/oauth2/callback?"
    answer = await browser.open(url + urlencode(fields), follow=False)
    assert (answer.status, signed_in(browser)) == (400, False)
    await browser.post_from(provider.issuer, url + urlencode(fields), b"", FORM)
    assert (browser.page.status, provider.count("token")) == (400, 0)
    wrong = urlencode({"code": "x", "state": "x", "iss": "x", "error": "access_denied"})
    answer = await browser.post_from(provider.issuer, url + wrong, urlencode(fields).encode(), FORM)
    assert (answer.status, signed_in(browser)) == (303, True)


async def test_the_browsers_earlier_session_ends_although_its_cookie_does_not_come(house: House) -> None:
    """C-40: a cross-site form brings no session cookie."""
    browser = house.browser()
    await at_the_form(house, browser)
    assert (await browser.submit(0)).status == 200
    first = browser.jar.named(SESSION)
    assert first is not None
    await browser.open(house.origin() + "/oauth2/start?rd=/again&prompt=login")
    await house.choose(browser, browser.page, ADA["sub"])
    assert SESSION not in (await browser.submit(0, follow=False)).sent
    assert (await browser.follow()).text == "you asked for /again"
    assert (await house.ask("/", cookie=f"{SESSION}={first.value}")).status == 401
    assert house.worker.audit.counts["session.revoked", "portal"] == 1


async def test_apple_tells_the_name_once_and_nothing_else_is_believed(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-89: the form is unsigned: it gives a name where the claims have none, and no address, subject or group."""
    provider.told.userinfo |= {"name": MISSING}
    for user, name in (
        ({"name": {"firstName": "Mia", "lastName": "Lindqvist"}, "email": "boss@example.com", "sub": "x", "groups": ["staff"]}, [b"Mia Lindqvist"]),
        ({"name": {"firstName": "Mia", "lastName": None}}, [b"Mia"]),
        ({"name": {"firstName": "a\nb", "lastName": "x" * 201}}, []),
        ({"name": "Mia"}, []), ({"name": {"firstName": ["Mia"]}}, []), ({"name": {"firstName": "x", "filler": "y" * 4096}}, []), ({}, []),
    ):  # fmt: skip
        provider.user = user
        browser = house.browser()
        await at_the_form(house, browser)
        assert (await browser.submit(0)).status == 200
        sent = house.upstream.requests[-1]
        assert sent.values("x-forwarded-name") == name
        assert sent.values("x-forwarded-email") == [b"mia@example.com"]
        assert sent.values("x-forwarded-groups") == [b"members"]
    provider.told.userinfo.clear()
    provider.user = {"name": {"firstName": "Eve", "lastName": "Marsh"}}
    browser = house.browser()
    await at_the_form(house, browser)
    await browser.submit(0)
    assert house.upstream.requests[-1].values("x-forwarded-name") == [b"Mia Lindqvist"]


async def test_a_provider_that_does_not_answer_so_is_named(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    provider.told.metadata["response_modes_supported"] = ["query", "fragment"]
    house = await opened(open_house, provider)
    problem = house.worker.providers["openid"].provider.problem or ""
    assert problem == "discovery: it does not answer by form_post (response_mode); it lists query, fragment"
