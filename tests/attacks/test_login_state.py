"""A `state` in other hands: with other cookies, other codes, on other hosts, a second time."""

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.fakes.browser import Browser
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(provider=provider, apps={"portal": {}, "dashboard": {"surface": "dashboard"}})


async def arrive(house: House, browser: Browser, person: object = MIA["sub"], at: str = "/bookings") -> str:
    """The callback of a sign-in, not followed yet."""
    page = await browser.open(house.origin() + at)
    return (await house.choose(browser, page, person, follow=False)).location


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def moved(url: str, origin: str, **changes: str) -> str:
    return f"{origin}/oauth2/callback?{urlencode({**parameters(url), **changes})}"


def signed_in(browser: Browser) -> bool:
    return any(cookie.name == COOKIE and cookie.value for cookie in browser.jar.cookies)


async def test_state_code_and_cookie_of_two_browsers_do_not_mix(house: House, provider: MisbehavingProvider) -> None:
    """A-86, A-53: the attacker's whole answer; their state with the victim's code; their code with the victim's state."""
    attacker, victim = house.browser(), house.browser()
    theirs, ours = await arrive(house, attacker, ADA["sub"]), await arrive(house, victim)
    for url in (theirs, moved(ours, house.origin(), state=parameters(theirs)["state"])):
        assert (await victim.open(url)).status == 400
        assert provider.count("token") == 0
    answer = await victim.open(moved(ours, house.origin(), code=parameters(theirs)["code"]))
    assert answer.status == 400  # the provider compares the PKCE challenge
    assert not signed_in(victim)
    assert house.upstream.requests == []


async def test_a_state_is_worth_nothing_on_another_host(house: House, provider: MisbehavingProvider) -> None:
    """A-86: with its cookie copied there, as a thief of both would."""
    browser = house.browser()
    callback = await arrive(house, browser)
    for cookie in [cookie for cookie in browser.jar.cookies if cookie.name.startswith("doorward_login_")]:
        browser.jar.store(house.origin("dashboard") + "/", f"{cookie.name}={cookie.value}; Path=/")
    assert (await browser.open(moved(callback, house.origin("dashboard")))).status == 400
    assert provider.count("token") == 0
    assert not signed_in(browser)


async def test_a_used_state_is_used_in_every_spelling(house: House, provider: MisbehavingProvider) -> None:
    """A-86, A-54: from a thief who has the cookie too."""
    browser = house.browser()
    callback = await arrive(house, browser)
    thief = house.browser()
    thief.jar.cookies = [cookie for cookie in browser.jar.cookies if cookie.name.startswith("doorward_login_")]
    await browser.open(callback)
    assert signed_in(browser)
    state = parameters(callback)["state"]
    for spelling in (state, state + "=", state + "==", state + "\n", state[:-1] + chr(ord(state[-1]) ^ 1)):
        assert (await thief.open(moved(callback, house.origin(), state=spelling))).status == 400
    assert provider.count("token") == 1
    assert not signed_in(thief)
