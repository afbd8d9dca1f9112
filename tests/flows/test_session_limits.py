"""At most so many sessions of a person in an app: the oldest ends, or the newest is refused; exactly, whatever comes at once."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from gateway.identity.claims import Identity
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import new_key
from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_sign_out import cookie_of, is_alive, push_the_button
from tests.flows.test_websockets import echo_socket, open_socket


def limited(most: int, **more: Any) -> dict[str, Any]:
    return {"portal": {"session": {"max_per_person": most, **more}}, "dashboard": {"surface": "dashboard"}}


async def sign_in(house: House, browser: Browser | None = None, person: object = MIA["sub"]) -> Browser:
    browser = browser or house.browser()
    assert (await house.sign_in(browser, person)).status == 200
    return browser


async def records(house: House) -> int:
    return len(await house.worker.redis.keys(house.worker.store.record_prefix + "*"))


def revoked_by(house: House) -> list[str]:
    events = [json.loads(line) for line in b"".join(house.lines).splitlines()]
    return [event["by"] for event in events if event.get("event") == "session.revoked"]


async def test_the_newest_wins_and_the_oldest_ends_with_its_streams(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-44: other people, other apps and the person's newer sessions are left alone."""
    house = await open_house(apps=limited(2), provider=provider)
    somebody = await sign_in(house, person=ADA["sub"])
    first = await sign_in(house)
    assert (await house.sign_in(first, app="dashboard")).status == 200
    second = await sign_in(house)
    house.upstream.answer = echo_socket
    socket = await open_socket(house, cookie_of(first))
    house.upstream.answer = RecordingUpstream().answer
    third = await sign_in(house)
    assert await socket.ended()
    assert not await is_alive(house, cookie_of(first))
    for browser in (somebody, second, third):
        assert await is_alive(house, cookie_of(browser))
    assert await is_alive(house, cookie_of(first, "dashboard"), "dashboard")
    assert revoked_by(house) == ["max_per_person"]


async def test_a_browser_that_signs_in_again_takes_its_own_place(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-40: under both manners; the other browser's session lives on."""
    for when_full in ("newest_wins", "refuse"):
        house = await open_house(apps=limited(2, when_full=when_full), provider=provider)
        other, browser = await sign_in(house), await sign_in(house)
        before = cookie_of(browser)
        await browser.open(house.origin() + "/oauth2/start?prompt=login")
        assert (await browser.submit(0, person=str(MIA["sub"]))).status == 200
        assert cookie_of(browser) != before
        assert not await is_alive(house, before)
        assert await is_alive(house, cookie_of(other))
        assert await is_alive(house, cookie_of(browser))
        assert revoked_by(house) == ["new_login"]


async def test_a_full_house_refuses_with_a_page_and_lets_in_again_when_a_place_is_free(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps=limited(1, when_full="refuse"), provider=provider)
    first, second = await sign_in(house), house.browser()
    page = await house.sign_in(second)
    assert (page.status, "too many devices" in page.text) == (403, True)
    assert page.document.link("Try again")
    assert second.jar.named("doorward_session", "portal.localhost") is None
    assert await is_alive(house, cookie_of(first))
    assert await records(house) == 1
    (refused,) = [json.loads(line) for line in b"".join(house.lines).splitlines() if b"login.refused" in line]
    assert refused["reason"] == "too_many_sessions"
    await push_the_button(house, first)
    await sign_in(house, second)


@pytest.mark.parametrize("end", ["deleted", "expired"])
async def test_a_session_that_ended_by_itself_holds_no_place(
    open_house: OpenHouse, provider: MisbehavingProvider, end: str
) -> None:
    house = await open_house(apps=limited(1, when_full="refuse"), provider=provider)
    await sign_in(house)
    (name,) = await house.worker.redis.keys(house.worker.store.record_prefix + "*")
    await (house.worker.redis.delete(name) if end == "deleted" else house.worker.redis.pexpire(name, 1))
    await eventually(lambda: _count(house, 0))
    await sign_in(house)


async def test_sessions_from_before_the_limit_count(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(apps=limited(2), provider=provider)
    mia = Identity(issuer=provider.issuer, subject=str(MIA["sub"]))
    begun = [utc_now() - timedelta(hours=hours) for hours in (3, 2, 1)]
    old = [await house.session(identity=mia, created_at=since) for since in begun]
    await sign_in(house)
    assert [await is_alive(house, cookie) for cookie in old] == [False, False, True]


async def _ready(house: House) -> None:
    await eventually(lambda: house.worker.providers["openid"].provider.ready)


async def _count(house: House, wanted: int) -> bool:
    return await records(house) == wanted


@pytest.mark.parametrize("when_full", ["newest_wins", "refuse"])
async def test_the_limit_is_exact_when_logins_come_at_once_to_several_doors(
    open_house: OpenHouse, provider: MisbehavingProvider, when_full: str
) -> None:
    """Two doors with one Redis; the second has the keys in another order, as in the middle of a change of keys."""
    most, keys = 3, [new_key(), new_key()]
    apps = limited(most, when_full=when_full)
    doors = [
        await open_house(apps=apps, provider=provider, keys=keys),
        await open_house(apps=apps, provider=provider, keys=keys[::-1], openid={"client_id": "doorward-2"}),
    ]
    for house in doors:
        await _ready(house)

    async def login(house: House) -> Answer:
        """As far as the callback's answer."""
        browser = house.browser()
        await house.choose(browser, await browser.open(house.origin()), follow=False)
        return await browser.follow()

    answers = await asyncio.gather(*(login(doors[number % 2]) for number in range(16)))
    assert await records(doors[0]) == most
    let_in = [answer for answer in answers if answer.status == 303]
    assert len(let_in) == (most if when_full == "refuse" else len(answers))
    assert {answer.status for answer in answers} <= {303, 403}
