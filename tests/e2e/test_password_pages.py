"""With the toggles on, the applications' own password pages lead into the sign-in at the provider."""

import pytest
from playwright.sync_api import Page, expect

from gateway.demo.people import ADMIN
from tests.e2e.conftest import Snap
from tests.e2e.stack import Door
from tests.e2e.steps import PROVIDER_PAGE, choose_person, visit_as


@pytest.mark.parametrize(
    ("name", "login"),
    [("portal", "/login"), ("portal", "/en/Login?ReturnUrl=%2Fprofile"), ("dashboard", "/login?continue_to=%2F")],
)
def test_the_password_page_is_redirected_into_the_sign_in(door: Door, page: Page, name: str, login: str) -> None:
    """C-12."""
    page.goto(door.origin(name) + login)
    expect(page).to_have_title(PROVIDER_PAGE)
    choose_person(page, ADMIN)
    expect(page).to_have_url(door.origin(name) + "/")
    assert door.behind.portal.password_visits == door.behind.dashboard.password_visits == 0


def test_with_a_live_session_the_password_page_explains_itself_and_does_not_loop(
    door: Door, page: Page, snap: Snap
) -> None:
    visit_as(page, door.origin("portal") + "/bookings", ADMIN)
    expect(page).to_have_url(door.origin("portal") + "/bookings")
    page.goto(door.origin("portal") + "/login")
    assert page.url == door.origin("portal") + "/login"
    assert page.locator("input[type=password]").count() == 0
    snap(page, "05 the password page with a live session")
    assert door.behind.portal.password_visits == 0


def test_a_password_that_is_sent_all_the_same_never_arrives(door: Door, page: Page, snap: Snap) -> None:
    """C-12."""
    visit_as(page, door.origin("portal") + "/bookings", ADMIN)
    expect(page).to_have_url(door.origin("portal") + "/bookings")
    with page.expect_navigation() as navigation:
        page.evaluate(
            """() => {
                const form = document.createElement('form');
                form.method = 'post'; form.action = '/login';
                form.innerHTML = '<input name="Email" value="a@b"><input name="Password" value="x">';
                document.body.append(form); form.submit();
            }"""
        )
    assert navigation.value is not None
    assert navigation.value.status in (303, 403)
    snap(page, "06 a password that is sent all the same")
    assert door.behind.portal.password_visits == 0
