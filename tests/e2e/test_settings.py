"""The Settings page of `doorward demo` in a browser: the toggles are moved, said in a sentence, saved, confirmed, and rolled back.

Pictures go to `build/e2e/settings/`.
"""

import re
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from gateway.demo.people import ADMIN, MEMBER
from tests.e2e.stack import OUTPUT, running_demo
from tests.e2e.steps import shows
from tests.e2e.test_pages import AXE, NO_FINDING

SETTINGS = "/console/settings"
SIGN_IN = "Sign in · Sample sign-in"


@pytest.fixture(scope="module")
def origin() -> Iterator[Callable[[str], str]]:
    """`origin(app)` of a running demo."""
    with running_demo("settings-demo") as port:
        yield lambda app: f"http://{app}.localhost:{port}"


def sign_in(page: Page) -> None:
    expect(page).to_have_title(SIGN_IN)
    page.get_by_role("button", name=ADMIN.email).click()
    expect(page).not_to_have_title(SIGN_IN)


def choose(page: Page, legend: str, choice: str) -> None:
    page.get_by_role("group", name=legend, exact=True).get_by_label(choice, exact=True).check()


def password_grant(portal: str) -> int:
    """The status of a stranger's password login at the portal: 403 where it is refused for every person, 401 where it is for those who are signed in."""
    host = urlsplit(portal).netloc
    connection = HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=30)
    form = {"grant_type": "password", "username": MEMBER.email, "password": MEMBER.password}
    fields = {"Host": host, "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    connection.request("POST", "/api/token", urlencode(form), fields)
    status = connection.getresponse().status
    connection.close()
    return status


def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until it is true; after how many seconds it was."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds
        time.sleep(0.05)
    return time.monotonic() - began


def pictured(page: Page, name: str) -> None:
    folder = OUTPUT / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def test_toggles_are_moved_said_saved_confirmed_and_rolled_back(page: Page, origin: Callable[[str], str]) -> None:
    console, portal = origin("console"), origin("portal")
    page.goto(f"{console}{SETTINGS}")
    sign_in(page)
    assert password_grant(portal) == 403
    page.get_by_role("link", name="Change settings").click()
    choose(page, "Prevent users from using their password to log in", "Off")
    choose(page, "Create new users if they don't exist", "Off")
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "People can still log in to the portal with their password.")
    shows(page, "is refused, and sees a page that says so")
    pictured(page, "review")
    assert password_grant(portal) == 403  # nothing is saved yet
    page.get_by_label("Why").fill("a drill")
    page.get_by_role("button", name="Save", exact=True).click()
    shows(page, "Version 1 waits to be confirmed")
    took = until(lambda: password_grant(portal) == 401)
    print(f"the saved settings were in force after {took:.2f} s")
    pictured(page, "pending")
    page.get_by_role("link", name="Sign in again and confirm").click()
    sign_in(page)
    page.get_by_role("button", name="Confirm").click()
    expect(page).to_have_url(re.compile(f"{re.escape(SETTINGS)}$"))
    expect(page.get_by_text("waits to be confirmed")).to_have_count(0)
    page.get_by_role("link", name="History").click()
    shows(page, "saved, confirmed by")
    page.goto(f"{console}{SETTINGS}/edit/rollback")
    shows(page, "No person can log in to the portal with a password.")
    page.get_by_label("Why").fill("the drill is over")
    page.get_by_role("button", name="Roll back").click()
    shows(page, "Version 2 waits to be confirmed")
    until(lambda: password_grant(portal) == 403)
    page.get_by_role("link", name="Roll back now").click()
    page.get_by_label("Why").fill("undone")
    page.get_by_role("button", name="Roll back").click()
    until(lambda: password_grant(portal) == 401)


def test_another_client_without_its_secret_and_a_wrong_secret_are_not_saved(
    page: Page, origin: Callable[[str], str]
) -> None:
    page.goto(f"{origin('console')}{SETTINGS}/edit/change")
    sign_in(page)
    page.get_by_label("Client ID").fill("another")
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "enter it again, because the Authority URL or the Client ID is another one")
    page.goto(f"{origin('console')}{SETTINGS}/edit/change")
    page.get_by_label("Client Secret").fill("not the secret")
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "invalid_client")
    page.goto(f"{origin('console')}{SETTINGS}/edit/change")
    page.get_by_label("Authority URL").fill("http://localhost:9")
    page.get_by_label("Client Secret").fill("entered for it")
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "the connection was refused")


def test_axe_finds_nothing_on_the_pages_of_a_change(page: Page, origin: Callable[[str], str]) -> None:
    page.goto(f"{origin('console')}{SETTINGS}/edit/change")
    sign_in(page)
    page.get_by_label("Log out URL").fill("https://login.example.com/bye")
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "Save these settings?")
    page.evaluate(AXE)
    assert page.evaluate(NO_FINDING) == []
