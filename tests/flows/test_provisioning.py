"""Who is let in, created or refused at a login, and a directory that does not answer as it should."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.demo.nexudus_stub import SERVICE, Fault, NexudusStub
from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"
LIST = "GET /api/spaces/coworkers"
READ = "GET /api/spaces/coworkers/*"
CREATE = "POST /api/spaces/coworkers"
TOKEN = "POST /api/token"
MEMBER: dict[str, Any] = {"email": MIA["email"], "full_name": MIA["name"]}
CREATING = {"create_users": True}
#: What one login is told must not make the next one wait here; the fleet's budget has tests of its own.
UNLIMITED = {"per_second": 0, "per_minute": 0, "per_hour": 0, "per_day": 0, "writes_per_minute": 0, "writes_per_day": 0}
APPS = {
    "portal": {"headers": {"X-Portal-Customer": "{directory.id}"}},
    "dashboard": {"surface": "dashboard", "headers": {"X-Portal-Customer": "{directory.id}"}},
}


@pytest.fixture
async def stub() -> AsyncIterator[NexudusStub]:
    async with NexudusStub() as running:
        yield running


async def a_house(
    open_house: OpenHouse,
    provider: MisbehavingProvider,
    stub: NexudusStub,
    *,
    openid: dict[str, Any] | None = None,
    timeout: str = "5s",
) -> House:
    directory = {
        "kind": "nexudus", "base_url": stub.url, "username": SERVICE[0], "password": SERVICE[1], "business_ids": [501],
        "country_id": 1113, "time_zone_id": 2029, "timeout": timeout,
        "budget": UNLIMITED,
    }  # fmt: skip
    return await open_house(
        apps=APPS, provider=provider, directory=directory, openid=CREATING if openid is None else openid
    )


def customers(stub: NexudusStub) -> list[str]:
    return [str(row["Email"]) for row in stub.coworkers]


def events(house: House, name: str, app: str = "portal") -> int:
    return house.worker.audit.counts[name, app]


def has_session(browser: Browser, app: str = "portal") -> bool:
    return browser.jar.named(COOKIE, f"{app}.localhost") is not None


async def assert_nobody_came_in(house: House, browser: Browser, page: Answer) -> None:
    """No session in the browser or in Redis, nothing at the upstream, and a way on."""
    assert "text/html" in (page.header("Content-Type") or "")
    assert not has_session(browser)
    assert await house.worker.redis.keys(house.worker.config.redis.key_prefix + "s:*") == []
    assert house.upstream.requests == []
    assert events(house, "login.succeeded") == 0
    assert events(house, "login.refused") == 1
    assert page.document.links


async def test_fifty_first_logins_of_one_person_at_once_make_one_account(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    """Twelve, here; the provisioner's own tests have fifty in several processes."""
    house = await a_house(open_house, provider, stub)
    browsers = [house.browser() for _ in range(12)]
    pages = await asyncio.gather(*(house.sign_in(browser, at=f"/{n}") for n, browser in enumerate(browsers)))
    assert [page.text for page in pages] == [f"you asked for /{n}" for n in range(12)]
    assert customers(stub) == [MIA["email"]]
    (record,) = stub.coworkers
    seen = {value for request in house.upstream.requests for value in request.values("x-portal-customer")}
    assert seen == {str(record["Id"]).encode()}


async def test_a_suspended_account_lets_nobody_in(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    stub.world.add_coworker(**MEMBER, Active=False)
    house = await a_house(open_house, provider, stub)
    browser = house.browser()
    page = await house.sign_in(browser)
    assert page.status == 403
    assert "Your account is not active" in page.text
    await assert_nobody_came_in(house, browser, page)
    assert events(house, "account.refused") == 1
    assert len(stub.coworkers) == 1


async def test_a_client_cannot_name_its_own_customer_number(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    """C-30, C-31: nor on a dashboard, where nobody has one."""
    house = await a_house(open_house, provider, stub)
    browser = house.browser()
    await house.sign_in(browser)
    await browser.open(house.origin() + "/x", headers={"X-Portal-Customer": "666", "x_portal_customer": "666"})
    await house.sign_in(browser, app="dashboard")
    await browser.open(house.origin("dashboard") + "/x", headers={"X-Portal-Customer": "666"})
    (record,) = stub.coworkers
    assert house.upstream.requests[-1].values("x-portal-customer") == [str(record["Id"]).encode()]
    assert house.upstreams["dashboard"].requests[-1].values("x-portal-customer") == []
    for upstream in house.upstreams.values():
        assert all(b"666" not in request.head for request in upstream.requests)


# --- a directory that does not answer ---------------------------------------------------------------------------------

#: What goes wrong, and how: for ever, so that the person's time runs out.
FAULTS = {
    "throttled without Retry-After": [Fault(kind="throttle", times=None)],
    "throttled with 429 and a long Retry-After": [Fault(kind="throttle", status=429, retry_after="120", times=None)],
    "list is HTML": [Fault(kind="html", match=LIST, times=None)],
    "list failed with 200": [Fault(kind="unsuccessful", match=LIST, times=None)],
    "list is slow": [Fault(kind="slow", match=LIST, seconds=30, times=None)],
    "list is cut off": [Fault(kind="cut", match=LIST, times=None)],
    "list is 500": [Fault(kind="error", match=LIST, times=None, status=500)],
    "creation failed with 200": [Fault(kind="unsuccessful", match=CREATE, times=None)],
    "creation is HTML": [Fault(kind="html", match=CREATE, times=None)],
    "creation throttled": [Fault(kind="throttle", match=CREATE, times=None)],
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_directory_that_fails_lets_nobody_in_makes_nothing_twice_and_the_page_says_what_to_do(
    open_house: OpenHouse,
    provider: MisbehavingProvider,
    stub: NexudusStub,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = await a_house(open_house, provider, stub, timeout="1s")
    stub.faults.add(*FAULTS[fault])
    browser = house.browser()
    page = await house.sign_in(browser, at="/bookings?x=1")
    assert page.status == 503
    assert page.header("Retry-After")
    assert "Your account could not be looked up" in page.text
    assert "Please try again" in page.text
    assert SERVICE[0] not in page.text
    assert events(house, "directory.failed") == 1
    assert any("the directory failed" in record.getMessage() for record in caplog.records)
    await assert_nobody_came_in(house, browser, page)
    assert customers(stub) == []
    # Back to normal, the page's own link finishes the login; there is one account.
    stub.faults.clear()
    page = await browser.click(page.document.link("Try again"))
    page = await house.choose(browser, page)
    assert page.url == house.origin() + "/bookings?x=1"
    assert customers(stub) == [MIA["email"]]


@pytest.mark.parametrize("match", [TOKEN, "* /*"])
async def test_a_service_account_that_is_refused_lets_nobody_in_and_is_not_hammered(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub, match: str
) -> None:
    """A wrong password, tried at every login, would lock the account: for a while it is not tried again."""
    stub.faults.add(Fault(kind="answer", match=match, status=400, body='{"error":"invalid_grant"}', times=None))
    house = await a_house(open_house, provider, stub, timeout="1s")
    for _ in range(5):
        page = await house.sign_in(house.browser())
        assert page.status == 503
        assert SERVICE[0] not in page.text
    assert sum(method == "POST" for method, _, _ in stub.seen) <= 2
    assert house.upstream.requests == []
    assert events(house, "directory.failed") == 5
    assert customers(stub) == []


async def test_a_directory_that_is_down_lets_nobody_in_and_signs_nobody_out(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    house = await a_house(open_house, provider, stub, timeout="1s")
    await stub.close()
    browser = house.browser()
    page = await house.sign_in(browser)
    assert page.status == 503
    await assert_nobody_came_in(house, browser, page)
    assert (await house.ask("/", cookie=await house.session())).status == 200


@pytest.mark.parametrize("kind", ["cut", "slow", "html", "error"])
async def test_a_creation_whose_answer_was_lost_is_found_and_not_repeated(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub, kind: Any
) -> None:
    house = await a_house(open_house, provider, stub, timeout="2s")
    stub.faults.add(Fault(kind=kind, match=CREATE, after=True, status=500, seconds=30))
    browser = house.browser()
    page = await house.sign_in(browser, at="/bookings")
    if page.status == 503:
        page = await browser.click(page.document.link("Try again"))
        page = await house.choose(browser, page)
    assert page.text == "you asked for /bookings"
    assert customers(stub) == [MIA["email"]]
    assert stub.counters["coworkers.create"] == 1


async def test_while_a_list_does_not_show_what_was_made_nothing_is_made_again(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """The answer to the creation was lost, and the list lags: the person is asked to come back, and then let in."""
    async with NexudusStub(list_lag=1.0) as stub:
        house = await a_house(open_house, provider, stub, timeout="2s")
        stub.faults.add(Fault(kind="cut", match=CREATE, after=True))
        browser = house.browser()
        page = await house.sign_in(browser, at="/bookings")
        tries = 1
        while page.status == 503 and tries < 200:
            page = await browser.click(page.document.link("Try again"))
            page = await house.choose(browser, page)
            tries += 1
        assert tries > 2
        assert page.text == "you asked for /bookings"
        assert customers(stub) == [MIA["email"]]
        assert stub.counters["coworkers.create"] == 1


async def test_a_short_throttling_is_waited_for(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    house = await a_house(open_house, provider, stub)
    stub.faults.add(
        Fault(kind="throttle", match=LIST, retry_after="0"),
        Fault(kind="throttle", match=CREATE, status=429, retry_after="0"),
    )
    page = await house.sign_in(house.browser(), at="/bookings")
    assert page.text == "you asked for /bookings"
    assert customers(stub) == [MIA["email"]]


async def test_a_person_without_an_address_is_not_registered(
    open_house: OpenHouse, provider: MisbehavingProvider, stub: NexudusStub
) -> None:
    provider.told.userinfo.update(email="")
    house = await a_house(open_house, provider, stub)
    page = await house.sign_in(house.browser())
    assert page.status == 403
    assert "You are not registered here" in page.text
    assert customers(stub) == []
