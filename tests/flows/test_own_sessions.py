"""`/oauth2/sessions`: people see where they are signed in, and end what they do not want; nobody else's."""

import html
import json
import re
from typing import Any

import pytest

from gateway.sessions.indexes import Indexes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.store import SessionStore
from tests.fakes.browser import Browser
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MisbehavingProvider
from tests.flows.conftest import OpenHouse
from tests.flows.test_pages import assert_locked_down, assert_personal
from tests.flows.test_sign_out import TWO_APPS, cookie_of, is_alive, signed_in
from tests.flows.test_websockets import open_socket

PAGE = "/oauth2/sessions"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(apps=TWO_APPS, provider=provider)


async def with_agent(house: House, agent: str, *apps: str) -> Browser:
    browser = house.browser()
    browser.user_agent = agent
    for app in apps:
        assert (await house.sign_in(browser, app=app)).status == 200
    return browser


def events(house: House) -> list[dict[str, Any]]:
    return [json.loads(line) for line in house.lines if b'"session.revoked"' in line]


async def test_a_person_sees_each_session_and_ends_one(house: House) -> None:
    other = await with_agent(house, FIREFOX, "portal", "dashboard")
    browser = await with_agent(house, "", "portal")
    page = await browser.open(house.origin() + PAGE)
    words = page.document.words
    assert page.status == 200
    assert words.count("Firefox · Windows") == 2
    assert words.count("Unknown browser") == words.count("This browser") == 1
    assert house.host("dashboard") in words
    assert words.count("End this session") == 2
    assert words.count("127.0.0.1") == 3
    on_dashboard = next(
        number for number in (0, 1) if house.host("dashboard") in page.text.split("<li>")[2 + number].split("</li>")[0]
    )
    answer = await browser.submit(on_dashboard)
    assert answer.url == house.origin() + PAGE
    assert answer.document.words.count("End this session") == 1
    assert not await is_alive(house, cookie_of(other, "dashboard"), "dashboard")
    assert await is_alive(house, cookie_of(other))
    (event,) = events(house)
    assert (event["by"], event["app"]) == ("person", "dashboard")


async def test_one_click_ends_all_others_and_keeps_this_one(house: House) -> None:
    others = [await signed_in(house, "portal", "dashboard"), await signed_in(house)]
    stranger = house.browser()
    await house.sign_in(stranger, ADA["sub"])
    browser = await signed_in(house)
    page = await browser.open(house.origin() + PAGE)
    last = len(page.document.forms) - 1
    answer = await browser.submit(last)
    assert "You are signed in in this browser only." in answer.document.words
    assert answer.document.forms == []
    for other in others:
        assert not await is_alive(house, cookie_of(other))
    assert await is_alive(house, cookie_of(browser))
    assert await is_alive(house, cookie_of(stranger))
    assert len(events(house)) == 3


async def test_a_handle_of_another_person_ends_nothing(house: House) -> None:
    """C-84: a handle stands in events, and an application has it from the assertion."""
    victim = house.browser()
    await house.sign_in(victim, ADA["sub"])
    key = SessionStore.key_of(cookie_of(victim).partition("=")[2])
    stored = await house.worker.store.fetch(key, house.host(), "portal")
    assert stored is not None
    browser = await signed_in(house)
    for form in (f"end={stored.session.sid}", "end=others", "end=", "", f"end={stored.session.sid}&end=others"):
        answer = await browser.post_from(house.origin() + "/", house.origin() + PAGE, form.encode())
        assert (answer.status, answer.location) == (303, house.origin() + PAGE)
    assert await is_alive(house, cookie_of(victim))
    # Nor one that stands in the wrong index, as after a fault of Redis.
    who = KeyRing(house.worker.config.keys)
    prefix = house.worker.config.redis.key_prefix
    own = await house.worker.store.fetch(
        SessionStore.key_of(cookie_of(browser).partition("=")[2]), house.host(), "portal"
    )
    assert own is not None
    names = Indexes(who, prefix).of_person(own.session.identity.issuer, own.session.identity.subject)
    await house.worker.redis.zadd(names[0], {key: 9e9})
    page = await browser.open(house.origin() + PAGE)
    assert page.document.forms == []
    await browser.post_from(house.origin() + "/", house.origin() + PAGE, b"end=others")
    assert await is_alive(house, cookie_of(victim))


async def test_a_form_on_another_site_ends_nothing(house: House) -> None:
    """C-49: by Origin and by Sec-Fetch-Site; a sibling of the same site counts as another."""
    other, browser = await signed_in(house), await signed_in(house)
    for initiator in ("https://evil.example/", house.origin("dashboard") + "/"):
        answer = await browser.post_from(initiator, house.origin() + PAGE, b"end=others")
        assert answer.status in (303, 403)  # a cookie that stays at home, or a refusal
        assert answer.location in ("", house.origin() + f"/oauth2/start?rd={PAGE}")
    cookie = cookie_of(browser)
    for fields in (
        "Origin: https://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "",
    ):
        answer_ = await house.ask(PAGE, method="POST", cookie=cookie, body=b"end=others", fields=BROWSER + fields)
        assert answer_.status == 403, fields
    assert await is_alive(house, cookie_of(other))


async def test_a_stranger_signs_in_first_and_comes_back(house: House) -> None:
    browser = house.browser()
    page = await house.sign_in(browser, at=PAGE)
    assert page.url == house.origin() + PAGE
    assert "Where you are signed in" in page.document.words
    assert house.upstream.requests == []


async def test_script_in_a_user_agent_is_text(house: House) -> None:
    await with_agent(house, "<script>alert(1)</script> Firefox/1 <img src=x onerror=alert(1)>", "portal")
    browser = await signed_in(house)
    page = await house.ask(PAGE, cookie=cookie_of(browser), fields=BROWSER)
    assert_locked_down(page)
    assert_personal(page)
    assert "Firefox" in page.body.decode()
    assert "alert" not in page.body.decode()


async def test_the_page_is_bounded_and_says_what_it_leaves_out(house: House) -> None:
    browser = await signed_in(house)
    own = await house.worker.store.fetch(
        SessionStore.key_of(cookie_of(browser).partition("=")[2]), house.host(), "portal"
    )
    assert own is not None
    subject = own.session.identity.subject
    for _ in range(53):
        await house.session(subject=subject)
    page = await browser.open(house.origin() + PAGE)
    assert page.document.words.count("End this session") == 50
    assert "3 older ones are not shown." in page.document.words
    await browser.submit(len(page.document.forms) - 1)
    assert browser.page.document.forms == []


async def test_an_open_websocket_of_an_ended_session_is_closed(house: House) -> None:
    other, browser = await signed_in(house), await signed_in(house)
    socket = await open_socket(house, cookie_of(other))
    await browser.post_from(house.origin() + "/", house.origin() + PAGE, b"end=others")
    assert await socket.ended()


async def test_the_page_speaks_the_readers_language(house: House) -> None:
    await signed_in(house)
    cookie = cookie_of(await signed_in(house))
    for tag, words in (("de", "Alle anderen Sitzungen beenden"), ("ar", "إنهاء جميع الجلسات الأخرى")):
        page = await house.ask(PAGE, cookie=cookie, fields=f"{BROWSER}Accept-Language: {tag}\r\n")
        assert words in html.unescape(page.body.decode())
        assert re.search(rf'<html lang="{tag}" dir="{"rtl" if tag == "ar" else "ltr"}">', page.body.decode())


async def test_the_sign_out_page_leads_there(house: House) -> None:
    browser = await signed_in(house)
    page = await browser.open(house.origin() + "/oauth2/sign_out")
    assert page.document.link("Where you are signed in") == PAGE
