"""The console of `doorward demo` in a browser: who gets in, every page on a phone and on a desk, and what its buttons do to other people's pages.

Pictures go to `build/e2e/console/`.
"""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gateway.console import registry
from gateway.demo.people import ADMIN, MEMBER, Person
from tests.e2e.stack import OUTPUT, running_demo
from tests.e2e.steps import shows
from tests.e2e.test_pages import AXE, NO_FINDING

#: Every page there is, and some with what people type.
PAGES = (
    *(page.path for page in registry.PAGES if page.template), "/console/sessions?person=nobody&older_than=x", "/console/no-such-page",
    "/console/act/close-doors?app=portal", "/console/explain?url=http%3A%2F%2Fportal.localhost%2F&as=mia%40harbourdesk.example",
)  # fmt: skip
SIGN_IN = "Sign in · Sample sign-in"
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 860}
SOCKET = """() => new Promise(resolve => {
    window.socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws');
    window.socket.onopen = () => resolve('open');
    window.ended = new Promise(done => { window.socket.onclose = () => done('closed'); });
})"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The demo's."""
    with running_demo("console-demo") as found:
        yield found


Visitor = Callable[..., Page]


@pytest.fixture
def visitor(browser: Browser, port: int) -> Iterator[Visitor]:
    """`visitor(person, app, **settings of the browser)`: a browser of their own, signed in to the app."""
    contexts: list[BrowserContext] = []

    def open_as(person: Person, app: str = "console", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, **settings})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"http://{app}.localhost:{port}/")
        expect(page).to_have_title(SIGN_IN)
        page.get_by_role("button", name=person.email).click()
        expect(page).not_to_have_title(SIGN_IN)
        return page

    yield open_as
    for context in contexts:
        context.close()


def go(page: Page, port: int, target: str) -> None:
    page.goto(f"http://console.localhost:{port}{target}")


@pytest.mark.parametrize("device", ["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_and_axe_finds_nothing(visitor: Visitor, port: int, device: str, scheme: str) -> None:
    page = visitor(ADMIN, viewport=PHONE if device == "phone" else DESK, color_scheme=scheme, bypass_csp=True)
    go(page, port, "/console/sessions")
    first = page.evaluate(
        """fetch(location.href, {headers: {Accept: 'application/json'}}).then(it => it.json()).then(it => it.sessions[0])"""
    )
    found: dict[str, list[str]] = {}
    for number, target in enumerate((*PAGES, first["of"], first["end"])):
        go(page, port, target)
        page.evaluate(AXE)
        found[target] = page.evaluate(NO_FINDING)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, target
        (OUTPUT / "console").mkdir(parents=True, exist_ok=True)
        page.screenshot(path=OUTPUT / "console" / f"{number:02}-{device}-{scheme}.png", full_page=True)
    assert found == {target: [] for target in found}


def test_nothing_breaks_the_pages_own_policy(visitor: Visitor, port: int) -> None:
    """C-94: style, script and picture are loaded under it, and nothing else is tried."""
    page = visitor(ADMIN)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    for target in PAGES:
        go(page, port, target)
        assert page.evaluate("getComputedStyle(document.body).margin") == "0px"
    assert complaints == []
    go(page, port, "/console/")
    assert "UTC" in (page.locator("time").first.get_attribute("title") or "")


def test_a_member_is_refused_on_a_page_of_the_door(visitor: Visitor) -> None:
    """C-92."""
    page = visitor(MEMBER)
    shows(page, "You don't have access to this page")
    expect(page.get_by_text("Overview")).to_have_count(0)


def test_the_pages_work_without_script_and_by_keyboard(visitor: Visitor, port: int) -> None:
    page = visitor(ADMIN, java_script_enabled=False)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("link", name="People and sessions").last.click()
    page.get_by_label("Person").fill("Ada")
    page.keyboard.press("Enter")
    shows(page, "Ada Marsh")
    expect(page.locator("time").first).to_contain_text("UTC")
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_text("Menu").click()
    page.get_by_role("link", name="Explain").first.click()
    page.get_by_label("Address", exact=True).fill(f"http://portal.localhost:{port}/")
    page.get_by_role("button", name="Explain").click()
    shows(page, "Step by step")


def test_the_end_of_a_persons_sessions_closes_their_page(visitor: Visitor, port: int) -> None:
    """C-44."""
    member = visitor(MEMBER, "portal")
    assert member.evaluate(SOCKET) == "open"
    page = visitor(ADMIN)
    go(page, port, f"/console/sessions?person={MEMBER.subject}&app=portal")
    page.get_by_role("link", name=MEMBER.name).first.click()
    page.get_by_role("link", name=re.compile("^End (all|it)")).click()
    shows(page, "What is not saved there is lost")
    page.get_by_role("button", name="End").click()
    shows(page, "ended")
    assert member.evaluate("window.ended") == "closed"
    assert member.evaluate("fetch('/oauth2/userinfo').then(answer => answer.status)") == 401


def test_break_glass_is_opened_seen_and_closed(visitor: Visitor, port: int, browser: Browser) -> None:
    """C-34: this machine's address is the range."""
    page = visitor(ADMIN)
    go(page, port, "/console/doors")
    page.get_by_role("link", name="Open an app's own login").click()
    page.get_by_label("Address ranges").fill("127.0.0.1")
    page.get_by_label("For how long").fill("5m")
    page.get_by_label("Reason").fill("<b>the provider</b> is down")
    page.get_by_role("button", name="Go on").click()
    shows(page, "Nothing is open yet")
    page.get_by_role("button", name="Open it now").click()
    shows(page, "<b>the provider</b> is down")
    stranger = browser.new_context().new_page()
    expect_own_login(stranger, port)
    go(page, port, "/console/")
    shows(page, "Open by break-glass")
    go(page, port, "/console/doors")
    page.get_by_role("link", name="Close now").click()
    page.get_by_role("button", name="Close it now").click()
    shows(page, "Nothing is open")
    stranger.context.close()


def expect_own_login(stranger: Page, port: int) -> None:
    """The portal without a session, as soon as the worker applies the opening."""
    for _ in range(50):
        stranger.goto(f"http://portal.localhost:{port}/")
        if stranger.title() != SIGN_IN:
            return
        stranger.wait_for_timeout(100)
    raise AssertionError("the portal still asks for a sign-in")


def test_a_toggle_is_saved_holds_at_the_door_is_confirmed_and_rolled_back(visitor: Visitor, port: int) -> None:
    """While the change is in force the portal's own login is no password route any more, but a page that asks for a sign-in: 401, not 403."""
    page = visitor(ADMIN)
    await_login(port, 403)
    go(page, port, "/console/settings/edit/change")
    prevent = page.get_by_role("group", name="Prevent users from using their password to log in", exact=True)
    prevent.get_by_label("Off").check()
    page.get_by_role("button", name="Save Changes").click()
    shows(page, "Save these settings?")
    await_login(port, 403)
    page.get_by_label("Why").fill("the provider moves tonight")
    page.get_by_role("button", name="Save", exact=True).click()
    await_login(port, 401)
    go(page, port, "/console/settings/edit/confirm")
    page.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_title(SIGN_IN)
    page.get_by_role("button", name=ADMIN.email).click()
    page.get_by_role("button", name="Confirm: these settings stay").click()
    go(page, port, "/console/settings/history")
    shows(page, "the provider moves tonight")
    go(page, port, "/console/settings/edit/rollback")
    page.get_by_label("Why").fill("it has moved")
    page.get_by_role("button", name="Roll back").click()
    await_login(port, 403)


def await_login(port: int, status: int) -> None:
    """The portal's own login, with the right password, answers so in the end."""
    body = f"grant_type=password&username={MEMBER.email}&password={MEMBER.password}".encode()
    found = 0
    for _ in range(100):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/token", body, {"Host": f"portal.localhost:{port}"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        if found == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"the portal's own login answers {found}, not {status}")


def test_a_login_test_as_a_customer_tells_its_story(visitor: Visitor, port: int, browser: Browser) -> None:
    page = visitor(ADMIN)
    go(page, port, "/console/act/try-it")
    page.get_by_role("button", name="Begin").click()
    address = page.locator("main a[target=_blank]").get_attribute("href")
    assert address is not None
    customer = browser.new_context().new_page()
    customer.goto(address)
    customer.get_by_role("button", name="Sign in").click()
    customer.get_by_role("button", name=MEMBER.email).click()
    shows(customer, "The test has ended")
    page.get_by_role("link", name="Look at the story").click()
    shows(page, MEMBER.name)
    assert [cookie["name"] for cookie in customer.context.cookies() if cookie["name"] == "doorward_session"] == []
    customer.context.close()
