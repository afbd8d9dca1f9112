"""The sample dashboard: it shows what happened in the portal, and has a password login of its own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio

from gateway.demo.bookings import Bookings
from gateway.demo.dashboard import SampleDashboard
from gateway.demo.people import ADMIN, MEMBER
from gateway.demo.visitor import Guests, Visitor

NOW = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
ADA = {
    "X-Forwarded-User": "hd-1003",
    "X-Forwarded-Email": ADMIN.email,
    "X-Forwarded-Name": "Ada Marsh",
    "X-Forwarded-Groups": "members,staff",
}
NOAH = Visitor(
    email="noah@harbourdesk.example", name="Noah Okafor", groups=(), member_number="87650001", by_gateway=True
)


@pytest_asyncio.fixture
async def dashboard() -> AsyncIterator[SampleDashboard]:
    running = SampleDashboard(Bookings(lambda: NOW), Guests())
    await running.start()
    yield running
    await running.close()


@pytest_asyncio.fixture
async def http(dashboard: SampleDashboard) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(dashboard.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


@pytest.mark.parametrize("path", ["/", "/dashboards/now", "/members", "/bookings"])
async def test_each_page_shows_which_identity_headers_it_received(http: aiohttp.ClientSession, path: str) -> None:
    page = await (await http.get(path, headers=ADA)).text()
    for shown in ("What the gateway told us", "X-Forwarded-Groups", "members,staff", ADMIN.email):
        assert shown in page


async def test_a_booking_made_in_the_portal_shows_on_the_dashboard(
    dashboard: SampleDashboard, http: aiohttp.ClientSession
) -> None:
    day = dashboard.bookings.today
    dashboard.bookings.book(
        room_id="lantern", day=day, start=14, hours=1, title="Type review", email=MEMBER.email, name=MEMBER.name
    )
    page = await (await http.get("/bookings", headers=ADA)).text()
    assert "Type review" in page
    assert "Now" in page


async def test_a_person_who_came_through_the_gateway_appears_among_the_members(
    dashboard: SampleDashboard, http: aiohttp.ClientSession
) -> None:
    assert "Noah" not in await (await http.get("/members", headers=ADA)).text()
    dashboard.guests.note(NOAH, NOW)
    page = await (await http.get("/members", headers=ADA)).text()
    assert "Noah Okafor" in page
    assert "New today" in page
    assert "Noah Okafor" in await (await http.get("/", headers=ADA)).text()


async def test_members_are_found_by_name_company_or_address(http: aiohttp.ClientSession) -> None:
    rows = await (await http.get("/api/members", params={"q": "PAPER boat"}, headers=ADA)).json()
    assert [row["name"] for row in rows] == ["Wen Zhao"]
    page = await (await http.get("/members", params={"q": "<nobody>"}, headers=ADA)).text()
    assert "Nobody matches “&lt;nobody&gt;”" in page


async def test_occupancy_never_exceeds_the_desks(http: aiohttp.ClientSession) -> None:
    zones = await (await http.get("/api/occupancy", headers=ADA)).json()
    assert all(0 <= zone["taken"] <= zone["desks"] for zone in zones)


async def test_guests_are_bounded_and_keep_the_newest() -> None:
    guests = Guests()
    for number in range(500):
        visitor = Visitor(email=f"p{number}@x.example", name="P", groups=(), member_number="", by_gateway=True)
        guests.note(visitor, NOW)
    assert [len(guests.all()), guests.all()[-1].email] == [200, "p499@x.example"]


async def test_its_own_password_login_works_for_staff_alone_and_is_counted(
    dashboard: SampleDashboard, http: aiohttp.ClientSession
) -> None:
    asked = await http.get("/members", allow_redirects=False)
    assert asked.headers["Location"] == "/login?continue_to=/members"
    assert 'name="continue_to" value="/members"' in await (await http.get("/login?continue_to=%2Fmembers")).text()
    refused = await http.post("/login", data={"Email": MEMBER.email, "Password": MEMBER.password})
    assert (refused.status, dashboard.password_logins) == (400, 0)
    fields = {"Email": ADMIN.email, "Password": ADMIN.password, "continue_to": "/members"}
    entered = await http.post("/login", data=fields)
    assert (entered.status, entered.url.path, dashboard.password_logins) == (200, "/members", 1)
