"""Strangers who answer their own sign-ins with codes that they made up, and the people who share their address."""

import pytest

from gateway.sign_in.address_rate import MOST, AddressRate
from tests.fakes.browser import Answer
from tests.fakes.clock import SettableClock
from tests.fakes.office import Office
from tests.fakes.provider import broken_off
from tests.unit.web.made import PORTAL_ORIGIN

STRANGER = "203.0.113.7"


@pytest.fixture
async def strict(closed_office: Office) -> Office:
    await closed_office.open(sections={"limits": {"failed_callbacks_per_address": "5/min"}})
    return closed_office


async def make_up(office: Office, address: str = STRANGER) -> Answer:
    """A sign-in of one's own, answered with a code that the provider did not give."""
    browser = office.browser()
    await browser.open(f"{PORTAL_ORIGIN}/oauth2/start?rd=/bookings", follow=False)
    state = browser.page.location.partition("&state=")[2].partition("&")[0]
    iss = office.provider.issuer
    return await browser.open(
        f"{PORTAL_ORIGIN}/oauth2/callback?code=x&state={state}&iss={iss}", follow=False, headers={"X-Real-IP": address}
    )


async def come_back(office: Office, address: str = STRANGER) -> Answer:
    """A whole sign-in."""
    browser = office.browser()
    callback = await office.arrive(browser)
    return await browser.open(callback, follow=False, headers={"X-Real-IP": address})


async def test_made_up_codes_of_one_address_cost_the_provider_and_redis_a_bounded_number(strict: Office) -> None:
    """A-85: and a page with a way on says how long to wait; people elsewhere are not affected."""
    answers = [await make_up(strict) for _ in range(20)]
    assert [answer.status for answer in answers] == [400] * 5 + [429] * 15
    assert strict.provider.count("token") == 5
    assert len([key async for key in strict.redis.scan_iter(match=strict.prefix + "*")]) == 5
    last = answers[-1]
    assert last.header("Retry-After") == "12"
    assert "Too many sign-ins have failed" in last.document.words
    assert last.document.link("Try again") == "/oauth2/start"
    assert strict.events("login.refused")[-1]["reason"] == "too_many_failures"
    assert (await come_back(strict, "203.0.113.8")).status == 303
    assert (await come_back(strict)).status == 429
    strict.clock.advance(12)
    assert (await come_back(strict)).status == 303


async def test_sign_ins_that_succeed_do_not_count(strict: Office) -> None:
    """A-85: many people share one address."""
    assert [(await come_back(strict)).status for _ in range(12)] == [303] * 12
    assert (await make_up(strict)).status == 400


async def test_callbacks_without_an_attempt_count_too(strict: Office) -> None:
    """A-85."""
    for status in (400, 400, 400, 400, 400, 429):
        answer = await strict.browser().open(
            f"{PORTAL_ORIGIN}/oauth2/callback?code=x&state=y", headers={"X-Real-IP": STRANGER}
        )
        assert answer.status == status


@pytest.mark.parametrize(("mode", "kind"), [("no-cors", "image"), ("navigate", "iframe")])
async def test_another_site_does_not_use_up_the_share_of_its_readers_address(
    strict: Office, mode: str, kind: str
) -> None:
    """A-85: its page loads our callback again and again, in the browser of a person who shares the address with others."""
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind, "X-Real-IP": STRANGER}
    for _ in range(10):
        answer = await strict.browser().open(f"{PORTAL_ORIGIN}/oauth2/callback?code=x&state=y", headers=fetched)
        assert answer.status == 400
    assert (await come_back(strict)).status == 303


async def test_an_ipv6_client_counts_by_its_network(strict: Office) -> None:
    """A-85: a /64 has more addresses than anybody can count."""
    for number in range(5):
        assert (await make_up(strict, f"2001:db8:0:1::{number:x}")).status == 400
    assert (await make_up(strict, "2001:db8:0:1:ffff::1")).status == 429
    assert (await make_up(strict, "2001:db8:0:2::1")).status == 400


async def test_a_code_that_the_provider_did_not_answer_may_be_tried_again(office: Office) -> None:
    """A-54: the mark of a used attempt is set only for what the provider redeemed or refused."""
    browser = office.browser()
    callback = await office.arrive(browser, rd="/bookings")
    before = list(browser.jar.cookies)
    office.provider.faults["token"] = broken_off
    assert (await browser.open(callback, follow=False)).status in (502, 503)
    office.provider.faults.clear()
    browser.jar.cookies = before
    landed = await browser.open(callback, follow=False)
    assert (landed.status, landed.location) == (303, f"{PORTAL_ORIGIN}/bookings")


@pytest.mark.parametrize("nonce", ["another", None])
async def test_a_code_that_was_redeemed_or_refused_is_used(office: Office, nonce: str | None) -> None:
    """A-54: whatever its tokens are worth."""
    browser = office.browser()
    callback = await office.arrive(browser)
    before = list(browser.jar.cookies)
    if nonce is not None:
        office.provider.told.id_token["nonce"] = nonce
    else:
        callback = callback.replace("code=", "code=x")
    assert (await browser.open(callback, follow=False)).status in (400, 403)
    browser.jar.cookies = before
    assert (await browser.open(callback, follow=False)).status == 400
    assert office.events("login.refused")[-1]["reason"] == "attempt_used"
    assert office.provider.count("token") == 1


def test_what_is_remembered_of_addresses_is_bounded_and_ends() -> None:
    """A-85: the newest failures stay."""
    clock = SettableClock()
    failures = AddressRate(1, clock.monotonic)
    for number in range(MOST + 500):
        failures.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failures) == MOST
    assert failures.wait("10.0.0.1") == 0
    assert failures.wait(f"10.0.{(MOST + 499) >> 8}.{(MOST + 499) & 255}") == 60
    clock.advance(60)
    assert failures.wait(f"10.0.{(MOST + 499) >> 8}.{(MOST + 499) & 255}") == 0
