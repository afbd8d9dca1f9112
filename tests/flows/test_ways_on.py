"""A person who is refused goes on: with another account, at another provider, and to the page that was asked for."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.operations.check import advise
from tests.fakes.browser import Answer, Browser
from tests.fakes.directories import NexudusApi
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream
from tests.flows.conftest import OpenHouse

DEEP = "/rooms?day=2"


@pytest.fixture
async def api() -> AsyncIterator[NexudusApi]:
    async with NexudusApi() as running:
        yield running


async def another_account(house: House, browser: Browser, page: Answer) -> Answer:
    """Click the link and sign in as Ada, for whom the provider asks again."""
    page = await browser.click(page.document.link("Use another account"))
    return await house.choose(browser, page, ADA["sub"])


async def test_a_person_whose_address_is_not_verified_or_foreign_goes_on_with_another_account(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    for change, title in (
        ({"email_verified": False}, "not verified"),
        ({"email": "mia@elsewhere.example"}, "not meant for your email address"),
    ):
        house = await open_house(
            provider=provider, openid={"require_verified_email": "always", "email_domains": ["example.com"]}
        )
        provider.people[str(MIA["sub"])] = {**MIA, **change}
        browser = house.browser()
        page = await house.sign_in(browser, MIA["sub"], at=DEEP)
        assert (page.status, title in page.text) == (403, True)
        page = await another_account(house, browser, page)
        assert (page.status, page.url) == (200, house.origin() + DEEP)
        assert house.upstream.requests[-1].values("x-forwarded-email") == [b"ada@example.com"]


async def test_a_person_who_is_not_registered_goes_on_with_another_account(
    open_house: OpenHouse, provider: MisbehavingProvider, api: NexudusApi
) -> None:
    house = await open_house(provider=provider, directory=api.section(timeout="20s"))
    browser = house.browser()
    page = await house.sign_in(browser, MIA["sub"], at=DEEP)
    assert (page.status, "You are not registered here" in page.text) == (403, True)
    page = await another_account(house, browser, page)
    assert page.status == 403  # nor is she
    again = page.document.link("Try again")
    assert "rd=/rooms%3Fday%3D2" in again


async def test_a_person_with_too_many_sessions_comes_in_when_one_has_ended(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    limits = {"portal": {"session": {"max_per_person": 1, "when_full": "refuse"}}}
    house = await open_house(apps=limits, provider=provider)
    first, browser = house.browser(), house.browser()
    await house.sign_in(first, MIA["sub"])
    page = await house.sign_in(browser, MIA["sub"], at=DEEP)
    assert page.status == 403
    await house.worker.store.revoke_person(provider.issuer, str(MIA["sub"]))
    page = await browser.click(page.document.link("Try again"))
    assert (page.status, page.url) == (200, house.origin() + DEEP)


async def test_signed_out_says_the_truth_to_a_person_who_is_signed_in(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider)
    browser = house.browser()
    await house.sign_in(browser, MIA["sub"])
    page = await browser.open(house.origin() + "/oauth2/signed_out")
    assert "You are signed in" in page.text
    assert "mia@example.com" in page.text
    page = await browser.click(page.document.link("Sign out"))
    page = await browser.open(house.origin() + "/oauth2/signed_out")
    assert "You are signed out" in page.text
    assert page.document.link("Sign in again") == "/oauth2/start"


async def to_its_login(request: Any, reader: Any, writer: Any) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: /login?next=/\r\nContent-Length: 0\r\n\r\n")


async def with_a_form(request: Any, reader: Any, writer: Any) -> None:
    page = b"<form><input name=p type='password'></form>"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))


CLOSED: dict[str, Any] = {
    "apps": {"portal": {"password_routes": ["nexudus"]}},
    "openid": {"prevent_password_login": True},
}


async def test_an_application_that_asks_for_its_own_login_is_named_with_what_to_do(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """On the log line of the page, and by `check --online` before anyone meets the page."""
    house = await open_house(**CLOSED)
    with caplog.at_level(logging.WARNING, "doorward.app"):
        page = await house.ask("/login", fields=BROWSER, cookie=await house.session())
    assert (page.status, b"The application asks for its own login" in page.body) == (403, True)
    (line,) = [record.getMessage() for record in caplog.records if "password_login_disabled" in record.getMessage()]
    assert "X-Forwarded-User" in line
    assert "apps.portal.hand_off" in line
    for answer, how in ((to_its_login, "sends / to its own login page /login"), (with_a_form, "shows a password form")):
        house.upstream.answer = answer
        (warned,) = [line for line in await advise(house.worker.config) if line.startswith("apps.portal.upstream")]
        assert how in warned
        assert "set apps.portal.hand_off" in warned
    house.upstream.answer = RecordingUpstream().answer
    assert [line for line in await advise(house.worker.config) if "apps." in line] == []


async def test_an_application_whose_own_login_is_open_is_not_warned_of(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"password_routes": ["nexudus"]}})
    house.upstream.answer = to_its_login
    assert [line for line in await advise(house.worker.config) if "apps." in line] == []
