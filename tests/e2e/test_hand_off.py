"""The sample portal keeps a session of its own, as Nexudus does: nobody sees its form, its token or anybody else's session."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from playwright.sync_api import BrowserContext, Page, expect

from gateway.demo.listener import Listener
from gateway.demo.own_login import COOKIE
from gateway.demo.people import ADMIN, MEMBER, NEWCOMER, Person
from tests.e2e.backstage import Backstage
from tests.e2e.conftest import OpenDoor, Snap
from tests.e2e.stack import Door
from tests.e2e.steps import PROVIDER_PAGE, choose_person, confirm_sign_out, shows, visit_as

HAND_OFF: dict[str, Any] = {
    "kind": "nexudus",
    "session_cookies": [COOKIE],
}


@pytest.fixture(scope="module", params=["server", "browser"])
def street(open_door: OpenDoor, request: pytest.FixtureRequest) -> Door:
    apps = {"portal": {"hand_off": {**HAND_OFF, "via": request.param}}}
    return open_door(f"hand-off-{request.param}", {}, apps=apps, keeps_sessions=True)


@pytest.fixture
def asked(page: Page) -> list[str]:
    """Every address that the browser asks for."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


def is_open_for(page: Page, street: Door, path: str, person: Person) -> None:
    """The portal shows `path` to this person."""
    expect(page).to_have_url(street.origin("portal") + path)
    assert page.locator("input[type=password]").count() == 0
    page.goto(street.origin("portal") + "/profile")
    shows(page, person.email)


def harbour(context: BrowserContext, street: Door) -> dict[str, Any]:
    found = [cookie for cookie in context.cookies(street.origin("portal")) if cookie["name"] == COOKIE]
    assert len(found) == 1
    return dict(found[0])


def sign_out(page: Page, street: Door) -> None:
    page.goto(street.origin("portal") + "/oauth2/sign_out")
    page.get_by_role("button", name=re.compile("sign out", re.IGNORECASE)).click()
    confirm_sign_out(page)
    shows(page, "You are signed out")


def test_signing_in_opens_the_portal_without_its_form(
    street: Door, page: Page, asked: list[str], snap: Snap, request: pytest.FixtureRequest
) -> None:
    """C-48: in the usual kind the token is in no address that the browser asks for."""
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    snap(page, "30 the portal that keeps its own session")
    is_open_for(page, street, "/bookings", MEMBER)
    links = [url for url in asked if "/user/login?t=" in url]
    assert len(links) == (1 if request.node.callspec.params["street"] == "browser" else 0)
    assert not [
        url for url in asked if re.search(r"/login(\?|$)", url) and "localhost" in url and "/user/login" not in url
    ]
    assert street.behind.portal.password_visits == 0


def test_somebody_who_is_new_gets_an_account_and_the_portal_in_one_go(street: Door, page: Page) -> None:
    visit_as(page, street.origin("portal") + "/bookings", NEWCOMER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    assert street.behind.accounts(NEWCOMER.email) == 1


def test_when_the_portals_session_ends_the_page_opens_all_the_same(
    street: Door, page: Page, context: BrowserContext
) -> None:
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    before = harbour(context, street)["value"]
    street.behind.portal.own_login.end_sessions()
    page.goto(street.origin("portal") + "/community?from=bookmark")
    is_open_for(page, street, "/community?from=bookmark", MEMBER)
    assert harbour(context, street)["value"] != before
    assert street.behind.portal.password_visits == 0


def test_a_form_that_meets_an_ended_session_says_that_it_was_not_taken(street: Door, page: Page, snap: Snap) -> None:
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    street.behind.portal.own_login.end_sessions()
    page.evaluate(
        """() => {
            const form = document.createElement('form');
            form.method = 'post'; form.action = '/bookings';
            document.body.append(form); form.submit();
        }"""
    )
    shows(page, "had ended")
    snap(page, "31 a form that met an ended session")
    page.goto(street.origin("portal") + "/bookings")
    is_open_for(page, street, "/bookings", MEMBER)


def test_two_tabs_after_the_portals_session_ended(street: Door, page: Page, context: BrowserContext) -> None:
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    other = context.new_page()
    street.behind.portal.own_login.end_sessions()
    page.evaluate("() => { location.href = '/community'; }")
    other.goto(street.origin("portal") + "/invoices")
    expect(page).to_have_url(street.origin("portal") + "/community")
    expect(other).to_have_url(street.origin("portal") + "/invoices")
    shows(other, "Invoices")


def test_signing_out_ends_the_portals_session_and_takes_its_cookie_away(
    street: Door, page: Page, context: BrowserContext
) -> None:
    """C-44."""
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    kept = harbour(context, street)
    sign_out(page, street)
    assert [cookie for cookie in context.cookies(street.origin("portal")) if cookie["name"] == COOKIE] == []
    context.add_cookies([{"name": COOKIE, "value": kept["value"], "url": street.origin("portal")}])
    page.goto(street.origin("portal") + "/bookings")
    expect(page).to_have_title(PROVIDER_PAGE)


def test_a_second_person_in_the_same_browser_never_gets_the_first_ones_session(
    street: Door, page: Page, context: BrowserContext
) -> None:
    """C-37: not even with the first one's cookie put back."""
    visit_as(page, street.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(street.origin("portal") + "/bookings")
    first = harbour(context, street)
    sign_out(page, street)
    page.goto(street.origin("portal") + "/bookings")
    choose_person(page, ADMIN)
    is_open_for(page, street, "/bookings", ADMIN)
    context.add_cookies([{"name": COOKIE, "value": first["value"], "url": street.origin("portal")}])
    page.goto(street.origin("portal") + "/community")
    is_open_for(page, street, "/community", ADMIN)


# --- what is hidden in pages ------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Anmeldung</title></head><body><h1>Grüße</h1>
<form id="login"><input type="password"></form><a href="/forgot-password">Lost?</a><p>Der Rest.</p></body></html>"""


@pytest.fixture(scope="module")
def strict_application() -> Iterator[str]:
    """Its policy allows no style at all, its page says its encoding itself, and it compresses whatever it is asked."""

    async def answer(request: web.Request) -> web.Response:
        headers = {
            "Content-Type": "text/html",
            "Content-Encoding": "gzip",
            "Content-Security-Policy": "default-src 'none'",
        }
        return web.Response(body=gzip.compress(PAGE.encode()), headers=headers)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    backstage, listener = Backstage(), Listener(app)
    backstage.run(listener.start("127.0.0.1", 0))
    yield listener.url
    backstage.run(listener.close())
    backstage.close()


def test_a_password_form_is_hidden_under_the_strictest_policy(
    open_door: OpenDoor, page: Page, strict_application: str, snap: Snap
) -> None:
    hide = {"hide": ["form#login", 'a[href*="forgot"]']}
    app = {"upstream": strict_application, "public": ["GET /**"], "password_routes": [], "responses": hide}
    door = open_door("hiding", {"prevent_password_login": False}, apps={"open": app})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(door.origin("open") + "/login")
    expect(page.get_by_role("heading", name="Grüße")).to_be_visible()
    expect(page.get_by_text("Der Rest.")).to_be_visible()
    expect(page.locator("form#login")).to_be_hidden()
    assert page.locator("form#login").count() == 1
    assert not [text for text in complaints if "Content Security Policy" in text]
    snap(page, "32 a page whose form is hidden")
