"""The toggle table of the README, every row, with every kind of directory, on both surfaces, through the whole product."""

from typing import Any

import pytest

from tests.fakes.browser import Answer, Browser
from tests.fakes.directories import KINDS, asked_to_create
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"
EMAIL = str(MIA["email"])
APPS = {
    "portal": {"headers": {"X-Portal-Customer": "{directory.id}"}, "password_routes": "nexudus", "unauthenticated": "pass"},
    "dashboard": {
        "surface": "dashboard", "headers": {"X-Portal-Customer": "{directory.id}"}, "password_routes": "nexudus",
        "unauthenticated": "pass",
    },
}  # fmt: skip

#: create_users, prevent_password_login, unregistered_when_sso_only: what becomes of a stranger at the portal.
TABLE = [
    (False, False, None, "refused"),
    (True, False, None, "created"),
    (False, True, None, "refused"),
    (True, True, None, "refused"),
    (True, True, "refuse", "refused"),
    (True, True, "create", "created"),
]


def toggles(create: bool, prevent: bool, sso_only: str | None, dashboard: bool) -> dict[str, Any]:
    openid: dict[str, Any] = {"create_users": create, "prevent_password_login": prevent}
    openid["prevent_dashboard_password_login"] = dashboard
    return openid | ({} if sso_only is None else {"unregistered_when_sso_only": sso_only})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dashboard_doors", [False, True])
@pytest.mark.parametrize(("create", "prevent", "sso_only", "outcome"), TABLE)
async def test_each_row_holds_for_strangers_and_members_on_both_surfaces_with_every_directory(
    open_house: OpenHouse, provider: MisbehavingProvider, kind: str,
    create: bool, prevent: bool, sso_only: str | None, outcome: str, dashboard_doors: bool,
) -> None:  # fmt: skip
    """On dashboards the directory is not asked and nothing is created; the password routes follow each surface's own toggle."""
    openid = toggles(create, prevent, sso_only, dashboard_doors)
    async with KINDS[kind]() as api:
        house = await open_house(apps=APPS, provider=provider, directory=api.section(), openid=openid)
        await the_password_route_is(house, "portal", closed=prevent)
        await the_password_route_is(house, "dashboard", closed=dashboard_doors)
        await somebody_comes_to_the_dashboard_and_nobody_is_asked(house, api)
        stranger = house.browser()
        page = await signed_in(house, stranger)
        if outcome == "created":
            assert page.text == "you asked for /bookings"
            assert customer_seen(house) == api.ids[0].encode()
        else:
            assert page.status == 403
            assert "You are not registered here" in page.text
            assert stranger.jar.named(COOKIE, "portal.localhost") is None
            assert customer_seen(house) is None
            assert api.addresses == []
            api.add(EMAIL, "Mia")
        member = house.browser()
        assert (await signed_in(house, member)).text == "you asked for /bookings"
        assert customer_seen(house) == api.ids[0].encode()
        assert api.addresses == [EMAIL]
        assert asked_to_create(api) == (outcome == "created")


async def the_password_route_is(house: House, app: str, *, closed: bool) -> None:
    """A stranger's password reaches the upstream exactly where the toggle is off."""
    form = b"grant_type=password&username=a&password=b"
    fields = "Content-Type: application/x-www-form-urlencoded\r\n"
    answer = await house.ask("/api/token", app=app, method="POST", fields=fields, body=form)
    reached = [request for request in house.upstreams[app].requests if b"/api/token" in request.head]
    assert (answer.status, len(reached)) == ((403, 0) if closed else (200, 1))
    house.upstreams[app].requests.clear()


async def somebody_comes_to_the_dashboard_and_nobody_is_asked(house: House, api: Any) -> None:
    browser = house.browser()
    await signed_in(house, browser, app="dashboard")
    assert browser.jar.named(COOKIE, "dashboard.localhost") is not None
    assert house.upstreams["dashboard"].requests[-1].values("x-portal-customer") == []
    told = {event for event, app in house.worker.audit.counts if app == "dashboard"}
    assert not {event for event in told if event.startswith(("account.", "directory."))}
    assert api.addresses == []


async def signed_in(house: House, browser: Browser, app: str = "portal") -> Answer:
    """These apps let strangers pass, so the login is asked for by name."""
    page = await browser.open(f"{house.origin(app)}/oauth2/start?rd=/bookings")
    return await house.choose(browser, page)


def customer_seen(house: House) -> bytes | None:
    """The customer number of the last request that reached the portal with one."""
    numbers = [value for request in house.upstream.requests for value in request.values("x-portal-customer")]
    return numbers[-1] if numbers else None


@pytest.mark.parametrize("kind", KINDS)
async def test_with_openid_off_no_directory_is_asked(
    open_house: OpenHouse, provider: MisbehavingProvider, kind: str
) -> None:
    """The first row."""
    async with KINDS[kind]() as api:
        openid = {"enabled": False, "create_users": True, "prevent_password_login": True}
        house = await open_house(apps=APPS, provider=provider, directory=api.section(), openid=openid)
        await the_password_route_is(house, "portal", closed=False)
        page = await house.browser().open(house.origin() + "/x", headers={"X-Portal-Customer": "1"})
        assert page.text == "you asked for /x"
        assert customer_seen(house) is None
        assert api.addresses == []
