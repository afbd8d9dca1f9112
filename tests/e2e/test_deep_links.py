"""A person opens a page of the portal from a bookmark, signs in at the provider and lands on that page."""

import json

from playwright.sync_api import BrowserContext, Page, expect

from gateway.demo.people import MEMBER
from tests.e2e.conftest import Snap
from tests.e2e.stack import Door
from tests.e2e.steps import PROVIDER_PAGE, choose_person, visit_as


def test_a_deep_link_survives_the_sign_in(door: Door, page: Page, snap: Snap) -> None:
    """A-01."""
    link = door.origin("portal") + "/bookings?room=caf%C3%A9&view=week"
    page.goto(link)
    expect(page).to_have_title(PROVIDER_PAGE)
    snap(page, "01 the provider asks")
    choose_person(page, MEMBER)
    expect(page).to_have_url(link)
    expect(page.get_by_text(MEMBER.name).first).to_be_visible()
    snap(page, "02 the deep link after sign-in")


def test_the_portal_learns_who_signed_in_from_the_headers(door: Door, page: Page, snap: Snap) -> None:
    """A-13: e-mail, name and groups come from userinfo here."""
    visit_as(page, door.origin("portal") + "/api/whoami", MEMBER)
    expect(page).to_have_url(door.origin("portal") + "/api/whoami")
    told = json.loads(page.locator("body").inner_text())
    assert told["signed_in_by"] == "gateway"
    assert told["headers"]["X-Forwarded-User"] == MEMBER.subject
    assert told["headers"]["X-Forwarded-Email"] == MEMBER.email
    assert told["headers"]["X-Forwarded-Name"] == MEMBER.name
    assert told["headers"]["X-Forwarded-Groups"] == "members"
    assert told["assertion"]["iss"] == door.origin("portal")
    assert told["assertion"]["sub"] == MEMBER.subject
    assert not [name for name in told["cookies"] if "doorward" in name], "the gateway's cookie is the gateway's"


def test_each_tab_lands_on_its_own_deep_link(door: Door, context: BrowserContext, page: Page) -> None:
    """A-54: both tabs were sent to the provider before either signed in."""
    links = [door.origin("portal") + path for path in ("/bookings", "/profile")]
    tabs = [page, context.new_page()]
    for tab, link in zip(tabs, links, strict=True):
        tab.goto(link)
    for tab, link in zip(tabs, links, strict=True):
        choose_person(tab, MEMBER)
        expect(tab).to_have_url(link)


def test_a_program_is_told_to_sign_in_and_is_not_redirected(door: Door) -> None:
    answer = door.ask("portal", "/api/whoami", headers={"Accept": "application/json", "Sec-Fetch-Mode": "cors"})
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert json.loads(answer.body)["code"] == "login_required"


def test_a_return_address_never_leads_away_from_the_site(door: Door, page: Page) -> None:
    """A-50, with the browser's own reading of the address."""
    for away in (
        "//evil.example/",
        "/%5Cevil.example",
        "https://evil.example/",
        "https:evil.example",
        "/%09/evil.example",
    ):
        page.context.clear_cookies()
        page.goto(door.origin("portal") + "/oauth2/start?rd=" + away)
        choose_person(page, MEMBER)
        page.wait_for_url(door.origin("portal") + "/**")
