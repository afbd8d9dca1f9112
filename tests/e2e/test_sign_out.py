"""Signing out once ends every surface, at once, and a kept cookie is worth nothing."""

import re

import pytest
from playwright.sync_api import Page, expect

from gateway.demo.people import ADMIN
from tests.e2e.conftest import Snap
from tests.e2e.stack import Door
from tests.e2e.steps import PROVIDER_PAGE, confirm_sign_out, cookies_of, shows, visit_as


@pytest.fixture
def both(door: Door, page: Page) -> dict[str, str]:
    """Signed in on both surfaces; the Cookie header of each."""
    visit_as(page, door.origin("dashboard") + "/members", ADMIN)
    expect(page).to_have_url(door.origin("dashboard") + "/members")
    page.goto(door.origin("portal") + "/bookings")  # the provider knows the person already
    expect(page).to_have_url(door.origin("portal") + "/bookings")
    return {name: cookies_of(page.context, door.origin(name)) for name in ("portal", "dashboard")}


def test_sign_out_ends_both_surfaces_and_a_replayed_cookie_is_refused(
    door: Door, page: Page, both: dict[str, str], snap: Snap
) -> None:
    """A-20, C-44, C-45."""
    for name, path in (("portal", "/api/rooms"), ("dashboard", "/api/members")):
        assert door.ask(name, path, headers={"Cookie": both[name]}).status == 200
    page.goto(door.origin("portal") + "/oauth2/sign_out")
    snap(page, "07 sign-out asks first")
    page.get_by_role("button", name=re.compile("sign out", re.IGNORECASE)).click()
    confirm_sign_out(page)
    shows(page, "You are signed out")
    assert page.url.startswith(door.origin("portal") + "/oauth2/signed_out")
    snap(page, "08 signed out")

    for name, path in (("portal", "/api/rooms"), ("dashboard", "/api/members")):
        for _ in range(4):  # every worker has heard of it
            assert door.ask(name, path, headers={"Cookie": both[name]}).status == 401
        page.goto(door.origin(name) + path)
        expect(page).to_have_title(PROVIDER_PAGE)
    left = [cookie["name"] for cookie in page.context.cookies(door.origin("portal")) if "login" not in cookie["name"]]
    assert not [name for name in left if "doorward" in name], "the browser has no session cookie left"


def test_the_link_of_the_site_signs_out_without_asking(door: Door, page: Page, both: dict[str, str]) -> None:
    page.evaluate(
        """() => {
            const link = document.createElement('a');
            link.href = '/oauth2/sign_out'; document.body.append(link); link.click();
        }"""
    )
    confirm_sign_out(page)
    shows(page, "You are signed out")
    assert door.ask("portal", "/api/rooms", headers={"Cookie": both["portal"]}).status == 401


def test_an_open_websocket_is_closed_by_the_sign_out(door: Door, page: Page, both: dict[str, str]) -> None:
    """C-19, C-44."""
    page.evaluate(
        """() => new Promise((resolve, reject) => {
            window.socketEnded = false;
            window.socket = new WebSocket(`ws://${location.host}/ws`);
            socket.onopen = resolve; socket.onerror = reject; socket.onclose = () => { window.socketEnded = true; };
        })"""
    )
    other = page.context.new_page()
    other.goto(door.origin("portal") + "/oauth2/sign_out")
    other.get_by_role("button", name=re.compile("sign out", re.IGNORECASE)).click()
    expect(other.get_by_role("button", name="Sign out of the provider")).to_be_visible()
    page.wait_for_function("() => window.socketEnded", timeout=5_000)


def test_another_site_cannot_sign_a_person_out(door: Door, page: Page, both: dict[str, str]) -> None:
    """C-49."""
    elsewhere = page.context.new_page()
    elsewhere.goto(door.provider.issuer + "/.well-known/openid-configuration")
    sign_out = door.origin("portal") + "/oauth2/sign_out"
    image = "url => new Promise(done => { const i = new Image(); i.onload = i.onerror = () => done(); i.src = url; })"
    elsewhere.evaluate(image, sign_out)
    with elsewhere.expect_navigation():
        elsewhere.evaluate(
            """url => {
                const form = document.createElement('form');
                form.method = 'post'; form.action = url; document.body.append(form); form.submit();
            }""",
            sign_out,
        )
    assert door.ask("portal", "/api/rooms", headers={"Cookie": both["portal"]}).status == 200
