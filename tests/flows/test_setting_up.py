"""While an account is being made: the page that waits, what it survives, and that nobody is in before the directory said yes."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.demo.nexudus_stub import Fault
from tests.fakes.browser import Answer, Browser
from tests.fakes.directories import NexudusApi, asked_to_create, created
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.redis_commands import stored
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"
APPS = {"portal": {"headers": {"X-Portal-Customer": "{directory.id}"}}}


def slow_creation() -> Fault:
    return Fault(kind="slow", match=NexudusApi.CREATE, seconds=2.6, after=True)


@pytest.fixture
async def api() -> AsyncIterator[NexudusApi]:
    async with NexudusApi() as running:
        yield running


async def a_house(open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi, **openid: Any) -> House:
    section = api.section(timeout="20s")
    house = await open_house(apps=APPS, provider=provider, directory=section, openid={"create_users": True, **openid})
    # The look at the directory's health is over: what is scripted from here on happens to sign-ins.
    await eventually(lambda: house.worker.report().dependencies.get("directory", {}).get("state") == "ok")
    return house


def waits(page: Answer) -> bool:
    return page.status == 202 and "Your account is being set up" in page.text


def goes_on_to(page: Answer) -> str:
    """Where the page sends a browser by itself, which needs no script for it."""
    found = re.search(r'<meta http-equiv="refresh" content="\d+;url=([^"]+)">', page.text)
    assert found is not None
    assert page.document.link("Continue") == found[1]
    assert "script" not in page.text
    return found[1]


def signed_in(browser: Browser) -> bool:
    return browser.jar.named(COOKIE, "portal.localhost") is not None


async def until_done(house: House, browser: Browser, page: Answer) -> Answer:
    """What a browser does that is left alone with the page."""
    async with asyncio.timeout(30):
        while waits(page):
            page = await browser.open(house.origin() + goes_on_to(page))
    return page


async def test_a_creation_that_takes_long_shows_a_page_that_goes_on_by_itself(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    browser = house.browser()
    page = await house.sign_in(browser, at="/bookings?day=1")
    assert waits(page)
    assert not signed_in(browser)
    assert house.upstream.requests == []
    page = await until_done(house, browser, page)
    assert page.url == house.origin() + "/bookings?day=1"
    assert signed_in(browser)
    assert house.upstream.requests[0].values("x-portal-customer") == [api.ids[0].encode()]
    assert asked_to_create(api) == created(api) == 1
    assert not [name for name in browser.jar.names("portal.localhost") if "wait" in name]


async def test_the_page_that_waits_keeps_the_languages_of_the_sign_in(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    page = await house.sign_in(house.browser(), at="/oauth2/start?rd=/bookings&ui_locales=de%20en")
    assert (page.status, page.header("Content-Language")) == (202, "de")
    links = [href for href, _ in page.document.links if href.startswith("/oauth2/wait?id=")]
    assert links
    assert links[0].endswith("&ui_locales=de%20en")
    assert f'content="0;url={links[0].replace("&", "&amp;")}"' in page.text


async def test_whoever_closes_the_page_and_comes_back_lost_nothing(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    """The creation goes on without the browser, and the sign-in is still good."""
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    browser = house.browser()
    address = goes_on_to(await house.sign_in(browser, at="/bookings"))
    async with asyncio.timeout(60):
        while not house.worker.audit.counts["account.created", "portal"]:
            await asyncio.sleep(0.02)
    assert not signed_in(browser)
    asked = len(provider.seen)
    page = await browser.open(house.origin() + address)
    assert page.url == house.origin() + "/bookings"
    assert len(provider.seen) == asked
    assert created(api) == 1


async def test_two_tabs_share_one_attempt_and_each_lands_where_it_wanted(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    one = house.browser()
    other = house.browser()
    other.jar = one.jar
    first, second = await asyncio.gather(house.sign_in(one, at="/a"), house.sign_in(other, at="/b"))
    assert waits(first) or waits(second)
    pages = await asyncio.gather(until_done(house, one, first), until_done(house, other, second))
    assert [page.url for page in pages] == [house.origin() + "/a", house.origin() + "/b"]
    assert asked_to_create(api) == created(api) == 1


async def test_of_two_looks_at_one_sign_in_one_gets_the_session(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    """A-54: the other one finds the browser signed in."""
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    browser = house.browser()
    address = house.origin() + goes_on_to(await house.sign_in(browser, at="/bookings"))
    async with asyncio.timeout(60):
        while not house.worker.audit.counts["account.created", "portal"]:
            await asyncio.sleep(0.02)
    looks = [house.browser() for _ in range(6)]
    for look in looks:
        look.jar = copy.deepcopy(browser.jar)
    await asyncio.gather(*(look.open(address) for look in looks))
    assert sum(signed_in(look) for look in looks) == 1
    assert house.worker.audit.counts["login.succeeded", "portal"] == 1
    (winner,) = [look for look in looks if signed_in(look)]
    again = await winner.open(address)
    assert again.url == house.origin() + "/"


@pytest.mark.parametrize("cookies", ["{name}={ours}; {name}=x", "{name}={planted}; {name}={ours}"])
async def test_a_second_cookie_of_the_same_name_hides_no_sign_in_that_waits(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi, cookies: str
) -> None:
    """C-37: on plain http another page of the site can set it; before and behind ours."""
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    browser = house.browser()
    address = goes_on_to(await house.sign_in(browser, at="/bookings"))
    (name,) = [name for name in browser.jar.names("portal.localhost") if "wait" in name]
    (kept,) = [cookie for cookie in browser.jar.cookies if cookie.name == name]
    sent = cookies.format(name=name, ours=kept.value, planted="A" * 43)
    assert (await house.ask(address, cookie=sent, fields=BROWSER)).status in (202, 303)


async def test_a_sign_in_that_waits_is_worth_nothing_in_another_browser_and_is_no_session(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    """A-53, C-09: neither the address nor the cookie's value under another name lets anybody in."""
    house = await a_house(open_house, provider, api)
    api.faults.add(slow_creation())
    browser = house.browser()
    address = house.origin() + goes_on_to(await house.sign_in(browser, at="/bookings"))
    thief = house.browser()
    page = await thief.open(address)
    assert page.status == 400
    assert not signed_in(thief)
    (name,) = [name for name in browser.jar.names("portal.localhost") if "wait" in name]
    kept = browser.jar.named(name, "portal.localhost")
    assert kept is not None
    answer = await house.ask("/", cookie=f"{COOKIE}={kept.value}")
    assert answer.status == 401
    records = [
        key async for key in house.worker.redis.scan_iter(match=house.worker.config.redis.key_prefix + "pending:*")
    ]
    for key in records:
        sealed = await stored(house.worker.redis, key)
        assert b"mia" not in sealed
        assert kept.value.encode() not in key
        await house.worker.redis.set(key, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert len(records) == 1
    page = await browser.open(address)
    assert page.status == 400
    assert not signed_in(browser)


async def test_a_directory_that_throttles_is_waited_for_by_the_page(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    """What fails while the page waits is tried again by the page, not by the person."""
    house = await a_house(open_house, provider, api)
    api.faults.add(
        Fault(kind="slow", match=NexudusApi.FIND, seconds=2.6), Fault(kind="html", match=NexudusApi.FIND, times=1)
    )
    browser = house.browser()
    page = await house.sign_in(browser, at="/bookings")
    assert waits(page)
    page = await until_done(house, browser, page)
    assert page.url == house.origin() + "/bookings"
    assert created(api) == 1


async def test_who_is_refused_while_the_page_waits_is_told_and_keeps_nothing(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    api.add(str(MIA["email"]), "Mia", active=False)
    house = await a_house(open_house, provider, api)
    api.faults.add(Fault(kind="slow", match=NexudusApi.FIND, seconds=2.6))
    browser = house.browser()
    page = await until_done(house, browser, await house.sign_in(browser))
    assert page.status == 403
    assert "Your account is not active" in page.text
    assert not signed_in(browser)
    assert [
        key async for key in house.worker.redis.scan_iter(match=house.worker.config.redis.key_prefix + "pending:*")
    ] == []
    assert house.worker.audit.counts["login.refused", "portal"] == 1
