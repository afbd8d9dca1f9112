"""A form that is sent into an ended session is kept for the person who filled it in, and for no other; or the page says that it is lost."""

import asyncio
import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from gateway.held_forms.form import LARGEST, NotKept, form_of
from gateway.held_forms.store import HeldForm, HeldForms
from gateway.sessions.keyring import KeyRing
from gateway.sessions.owners import Owner
from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_sign_out import cookie_of

ROOM = "/rooms/12?day=2"
TYPED = b"note=Two+chairs%2C+please%21&room=12&name=Jos%C3%A9"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    rules = [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]
    return await open_house(apps={"portal": {"rules": rules}, "dashboard": {"surface": "dashboard"}}, provider=provider)


async def ended(house: House, person: object = MIA["sub"]) -> Browser:
    """A browser with the form's page open, whose session has ended meanwhile."""
    browser = house.browser()
    await house.sign_in(browser, person, at="/rooms")
    await house.worker.store.revoke(house.worker.store.key_of(cookie_of(browser).partition("=")[2]))
    return browser


async def send(house: House, browser: Browser, body: bytes = TYPED, **headers: str) -> Answer:
    """The form's page sends it. A header field with "" is left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await browser.post_from(house.origin() + "/rooms", house.origin() + ROOM, body, named)


async def come_back(house: House, browser: Browser, page: Answer, person: object = MIA["sub"]) -> Answer:
    """Follow the page's link, sign in, and land where it leads."""
    return await house.choose(browser, await browser.click(page.document.link("Sign in")), person)


def posted(house: House) -> list[tuple[str, bytes]]:
    """Target and body of each POST that reached the application."""
    return [(each.target, each.body) for each in house.upstream.requests if each.line.startswith(b"POST ")]


def events(house: House, name: str) -> list[dict[str, Any]]:
    lines = b"".join(house.lines).splitlines()
    return [event for line in lines if (event := json.loads(line)).get("event") == name]


async def forms(house: House) -> list[bytes | str]:
    """The names of the kept forms in Redis."""
    return list(await house.worker.redis.keys(house.worker.config.redis.key_prefix + "form:*"))


async def at_the_form(house: House, browser: Browser, person: object = MIA["sub"]) -> Answer:
    """Sign in, whoever is signed in at the provider, and land on the page of the form."""
    page = await browser.open(house.origin() + "/oauth2/start?rd=/oauth2/form&prompt=login")
    return await house.choose(browser, page, person)


def kept(page: Answer) -> bool:
    return page.status == 401 and "is kept for 15 minutes" in page.text


def reasons(house: House) -> list[str]:
    return [event["reason"] for event in events(house, "form.lost")]


async def test_a_form_is_kept_and_sent_once_after_the_sign_in_and_a_click(house: House) -> None:
    """C-81: twice."""
    browser = await ended(house)
    page = await send(house, browser)
    assert kept(page)
    assert "/rooms/12" in page.text
    page = await come_back(house, browser, page)
    assert (page.status, page.url) == (200, house.origin() + "/oauth2/form")
    assert "has not been sent yet" in page.text
    assert posted(house) == []  # before the click
    ready = page
    page = await browser.submit()
    assert (page.status, page.url) == (200, house.origin() + ROOM)
    assert posted(house) == [(ROOM, TYPED)]
    assert house.upstream.requests[-1].values("x-forwarded-email") == [b"mia@example.com"]
    browser.history.append(ready)  # the back button, and another click
    page = await browser.submit()
    assert (page.status, "no longer kept" in page.text) == (410, True)
    page = await browser.open(house.origin() + "/oauth2/form")
    assert page.status == 410
    assert posted(house) == [(ROOM, TYPED)]
    assert (len(events(house, "form.kept")), len(events(house, "form.sent")), reasons(house)) == (1, 1, [])


async def test_a_form_in_another_charset_is_sent_in_the_same_bytes(house: House) -> None:
    """A-75: and to a URL of this very origin."""
    browser = await ended(house)
    await send(house, browser, b"name=Jos%E9")
    await house.sign_in(browser, at="/oauth2/form")
    form = browser.page.document.forms[0]
    assert 'accept-charset="windows-1252"' in browser.page.text
    assert form.fields["name"] == "José"
    page = await browser.post_from(browser.page.url, house.origin() + "/oauth2/form", b"name=Jos%E9")
    assert (page.status, page.header("Location")) == (307, house.origin() + ROOM)


async def test_of_clicks_at_once_one_sends_it(house: House) -> None:
    """C-81: with the browser's cookie in each."""
    browser = await ended(house)
    await send(house, browser)
    await house.sign_in(browser, at="/oauth2/form")
    form = browser.jar.named("doorward_form", "portal.localhost")
    assert form is not None
    fields = (
        f"Origin: {house.origin()}\r\nSec-Fetch-Mode: navigate\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    )
    cookie = f"{cookie_of(browser)}; doorward_form={form.value}"
    click = partial(house.ask, "/oauth2/form", method="POST", cookie=cookie, fields=fields, body=TYPED)
    answers = await asyncio.gather(*(click() for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [307, 410, 410]
    assert (await click()).status == 410


async def test_a_form_of_another_site_is_not_kept(house: House) -> None:
    """C-80: nor one of a sibling host, of a page that hides where it is, or without Origin."""
    for number, origin in enumerate(("https://evil.example", house.origin("dashboard"), "null", "")):
        browser = await ended(house)
        page = await send(house, browser, Origin=origin)
        assert (page.status, "was not accepted" in page.text, kept(page)) == (401, True, False)
        assert reasons(house)[number:] == ["cross_site"]
    browser = await ended(house)
    assert not kept(await send(house, browser, Sec_Fetch_Site="cross-site"))
    assert not kept(await send(house, browser, Sec_Fetch_Site="same-site"))
    assert kept(await send(house, browser, Sec_Fetch_Site=""))


async def test_a_page_of_another_site_cannot_have_it_sent(house: House) -> None:
    """C-80."""
    browser = await ended(house)
    await send(house, browser)
    await house.sign_in(browser, at="/oauth2/form")
    page = await browser.post_from("https://evil.example/", house.origin() + "/oauth2/form", TYPED)
    assert page.status == 403
    where = house.origin() + "/oauth2/form"
    page = await browser.post_from(house.origin("dashboard") + "/", where, TYPED)
    assert page.status == 403
    assert posted(house) == []


@pytest.mark.parametrize("cookie", ["A" * 43, "short", ""])
async def test_a_made_up_cookie_keeps_nothing(house: House, cookie: str) -> None:
    """C-81."""
    sent = {"Cookie": f"doorward_session={cookie}"} if cookie else {}
    page = await send(house, house.browser(), TYPED, **sent)
    assert (page.status, "was not accepted" in page.text) == (401, True)
    assert reasons(house) == ["unknown_person" if len(cookie) == 43 else "no_session"]
    assert await forms(house) == []


async def test_a_session_of_another_host_keeps_nothing_here(house: House) -> None:
    """C-08, C-81."""
    cookie = await house.session("dashboard")
    await house.worker.store.revoke(house.worker.store.key_of(cookie.partition("=")[2]))
    await send(house, house.browser(), Cookie=cookie)
    assert reasons(house) == ["unknown_person"]


async def test_another_person_neither_sees_nor_sends_it(house: House) -> None:
    """C-81: and the first person still can."""
    browser = await ended(house)
    await send(house, browser)
    page = await at_the_form(house, browser, ADA["sub"])
    assert (page.status, "Another person filled in this form" in page.text) == (403, True)
    assert "chairs" not in page.text
    where = house.origin() + "/oauth2/form"
    answer = await browser.post_from(where, where, TYPED)
    assert answer.status == 403
    browser.history.append(page)
    page = await browser.click(page.document.link("Use another account"))
    page = await house.choose(browser, page)
    assert "has not been sent yet" in page.text
    page = await browser.submit()
    assert posted(house) == [(ROOM, TYPED)]


async def test_a_copied_cookie_of_the_form_is_nothing_without_the_person(house: House) -> None:
    """C-81."""
    browser = await ended(house)
    await send(house, browser)
    copied = browser.jar.named("doorward_form", "portal.localhost")
    assert copied is not None
    cookie = f"doorward_form={copied.value}"
    assert (await house.ask("/oauth2/form", cookie=cookie)).status == 303
    other = await house.session(subject="eve")
    answer = await house.ask("/oauth2/form", cookie=f"{other}; {cookie}")
    assert (answer.status, b"chairs" in answer.body) == (403, False)
    elsewhere = await house.session("dashboard", subject=str(MIA["sub"]))
    assert (await house.ask("/oauth2/form", app="dashboard", cookie=f"{elsewhere}; {cookie}")).status == 410


async def test_the_second_sending_passes_the_gate_anew(house: House) -> None:
    """C-81: a rule that this person does not meet refuses it, as it would have refused it before."""
    browser = await ended(house)
    page = await browser.post_from(house.origin() + "/rooms", house.origin() + "/admin/rooms", TYPED)
    assert kept(page)
    await come_back(house, browser, page)
    page = await browser.submit()
    assert (page.status, page.url) == (403, house.origin() + "/admin/rooms")
    assert posted(house) == []


async def test_what_is_sent_is_what_was_kept(house: House) -> None:
    """C-81."""
    browser = await ended(house)
    await send(house, browser)
    await house.sign_in(browser, at="/oauth2/form")
    page = await browser.submit(note="changed")
    assert page.status == 400
    assert posted(house) == []


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"room=12&password=x", "", "password"),
        (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            "upload",
        ),
        (b"a=" + b"x" * LARGEST, "", "too_large"),
        (b'{"a": 1}', "application/json", "not_repeatable"),
        (b"a=%00", "", "not_repeatable"),
    ],
)
async def test_what_cannot_be_kept_is_said_to_be_lost(house: House, body: bytes, kind: str, reason: str) -> None:
    """C-81: a password, a file, too much; and the sign-in leads back to the form's page."""
    browser = await ended(house)
    page = await send(house, browser, body, **({"Content_Type": kind} if kind else {}))
    assert (page.status, "was not accepted" in page.text, "/rooms/12" in page.text) == (401, True, True)
    assert reasons(house) == [reason]
    assert await forms(house) == []
    page = await come_back(house, browser, page)
    assert (page.status, page.url) == (200, house.origin() + "/rooms")


async def test_a_form_of_a_password_route_is_not_kept(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """C-81: whatever its fields are called, where the route is open."""
    door = {
        "match": "POST /rooms/**",
        "kind": "password",
        "reason": "a test",
        "source": "a test",
        "when": {"form": {"kind": "login"}},
    }
    house = await open_house(
        apps={"portal": {"password_routes": [door]}}, provider=provider, openid={"prevent_password_login": True}
    )
    browser = await ended(house)
    page = await send(house, browser)
    assert not kept(page)
    assert reasons(house) == ["password"]


async def test_a_session_keeps_one_form_and_its_last_version(house: House) -> None:
    browser = await ended(house)
    assert kept(await send(house, browser, b"note=first"))
    assert kept(await send(house, browser, b"note=second"))
    page = await browser.post_from(house.origin() + "/rooms", house.origin() + "/elsewhere", b"note=third")
    assert not kept(page)
    assert reasons(house) == ["another_form"]
    await house.sign_in(browser, at="/oauth2/form")
    await browser.submit()
    assert posted(house) == [(ROOM, b"note=second")]


async def test_a_form_lives_fifteen_minutes_and_is_sealed(house: House) -> None:
    browser = await ended(house)
    page = await send(house, browser)
    (name,) = await forms(house)
    assert (
        timedelta(minutes=14)
        < timedelta(milliseconds=int(await house.worker.redis.pttl(name)))
        <= timedelta(minutes=15)
    )
    assert b"chairs" not in str(await house.worker.redis.get(name)).encode()
    (cookie,) = [value for value in page.all("Set-Cookie") if value.startswith("doorward_form=")]
    assert "Max-Age=900; HttpOnly; SameSite=Lax" in cookie
    await house.worker.redis.delete(name)  # as its time does
    page = await come_back(house, browser, page)
    assert (page.status, "no longer kept" in page.text) == (410, True)


async def test_forms_of_a_fleet_have_bounded_room(house: House) -> None:
    """C-81: forms that were sent count until their time is over, replaced ones too."""
    room = HeldForms(house.worker.redis, KeyRing(house.worker.config.keys), "room:", room=2000)
    route = house.worker.sites.by_host[house.host()].route
    held = HeldForm(form=form_of("/x", b"a=" + b"x" * 300), owner=Owner(issuer="i", subject="s", sid="d"))

    async def keep(number: int) -> bool:
        try:
            await room.keep(room.token_of(f"session {number}"), held, route)
        except NotKept as refused:
            return refused.loss != "no_room"
        return True

    taken = [await keep(number) for number in range(8)]
    assert taken == [*[True] * 3, *[False] * 5]
    assert len(await house.worker.redis.keys("room:form:*")) == 3
    await room.take(room.token_of("session 0"))
    assert not await keep(0)
    await house.worker.redis.hset("room:forms", mapping=dict.fromkeys(await house.worker.redis.hkeys("room:forms"), 0))
    assert await keep(0)
    assert 0 < await house.worker.redis.pttl("room:forms") <= 18 * 60_000


async def test_a_session_that_ended_by_itself_is_known_too(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps={"portal": {"session": {"idle": "200ms"}}}, provider=provider)
    browser = house.browser()
    await house.sign_in(browser, at="/rooms")
    await eventually(lambda: house.worker.cache.size == 0)
    assert kept(await send(house, browser))


async def test_a_program_gets_a_problem_document(house: House) -> None:
    """No form of a program is kept."""
    answer = await house.ask(
        "/rooms", method="POST", body=b"a=1", fields="Content-Type: application/x-www-form-urlencoded\r\n"
    )
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "login_required")
