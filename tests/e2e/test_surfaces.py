"""Portal and dashboard are two doors: each asks its own question."""

from playwright.sync_api import Page, expect

from gateway.demo.people import ADMIN, MEMBER
from tests.e2e.conftest import Snap
from tests.e2e.stack import Door
from tests.e2e.steps import PROVIDER_PAGE, cookies_of, shows, visit_as


def test_the_dashboard_is_refused_to_a_member(door: Door, page: Page, snap: Snap) -> None:
    """C-20."""
    visit_as(page, door.origin("dashboard") + "/members", MEMBER)
    shows(page, "have access to this page")
    shows(page, MEMBER.email)
    snap(page, "03 the dashboard refuses a member")
    cookies = cookies_of(page.context, door.origin("dashboard"))
    assert door.ask("dashboard", "/api/members", headers={"Cookie": cookies}).status == 403


def test_the_dashboard_is_open_to_an_admin(door: Door, page: Page, snap: Snap) -> None:
    visit_as(page, door.origin("dashboard") + "/members", ADMIN)
    expect(page).to_have_url(door.origin("dashboard") + "/members")
    shows(page, ADMIN.name)
    snap(page, "04 the dashboard opens to an admin")


def test_a_session_of_the_portal_is_none_at_the_dashboard(door: Door, page: Page) -> None:
    visit_as(page, door.origin("portal") + "/", ADMIN)
    expect(page).to_have_url(door.origin("portal") + "/")
    cookies = cookies_of(page.context, door.origin("portal"))
    assert door.ask("portal", "/api/rooms", headers={"Cookie": cookies}).status == 200
    assert door.ask("dashboard", "/api/members", headers={"Cookie": cookies}).status == 401


def test_the_dashboards_people_are_never_created_in_the_directory(door: Door, page: Page) -> None:
    created = door.behind.accounts(ADMIN.email)
    visit_as(page, door.origin("dashboard") + "/", ADMIN)
    expect(page).to_have_url(door.origin("dashboard") + "/")
    assert door.behind.accounts(ADMIN.email) == created
    page.context.clear_cookies()
    page.goto(door.origin("dashboard") + "/")
    expect(page).to_have_title(PROVIDER_PAGE)
