"""Login tests of the demo in a browser: as a customer, as an admin, as a person who is not registered, and in a second browser.

Pictures go to `build/e2e/try-it/`.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gateway.demo.people import ADMIN, MEMBER, NEWCOMER, Person
from tests.e2e.stack import OUTPUT, running_demo
from tests.e2e.test_pages import AXE, NO_FINDING

SIGN_IN = "Sign in · Sample sign-in"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The demo's."""
    with running_demo("try-it-demo") as found:
        yield found


OpenBrowser = Callable[[], Page]


@pytest.fixture
def fresh(browser: Browser) -> Iterator[OpenBrowser]:
    """Opens a browser of its own."""
    contexts: list[BrowserContext] = []

    def open_browser() -> Page:
        contexts.append(browser.new_context(viewport={"width": 360, "height": 740}, bypass_csp=True))
        contexts[-1].set_default_timeout(20_000)
        return contexts[-1].new_page()

    yield open_browser
    for context in contexts:
        context.close()


@pytest.fixture
def operator(fresh: OpenBrowser, port: int) -> Page:
    page = fresh()
    page.goto(f"http://console.localhost:{port}/console/try-it")
    page.get_by_role("button", name=ADMIN.email).click()
    expect(page.get_by_role("heading", name="Try it")).to_be_visible()
    return page


def picture(page: Page, name: str) -> None:
    (OUTPUT / "try-it").mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / "try-it" / f"{name}.png", full_page=True)
    page.evaluate(AXE)
    assert page.evaluate(NO_FINDING) == []


def begun(operator: Page, app: str, page: str = "/") -> str:
    """The address to open; the operator's page shows the story."""
    operator.get_by_role("link", name="Begin a test").click()
    operator.locator("select[name=app]").select_option(app)
    operator.locator("input[name=page]").fill(page)
    operator.get_by_role("button", name="Begin").click()
    address: str | None = operator.locator("main a[target=_blank]").get_attribute("href")
    assert address is not None
    operator.get_by_role("link", name="Look at the story").click()
    expect(operator.get_by_text("has not ended")).to_be_visible()
    return address


def tried(fresh: OpenBrowser, address: str, person: Person) -> Page:
    page = fresh()
    page.goto(address)
    picture(page, "offer")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_title(SIGN_IN)
    page.get_by_role("button", name=person.email).click()
    expect(page.get_by_role("heading", name="The test has ended")).to_be_visible()
    return page


@pytest.mark.parametrize(
    ("app", "person", "said"),
    [
        ("portal", MEMBER, "The sign-in succeeds, and the page is served."),
        ("portal", NEWCOMER, "The sign-in succeeds, and the page is served."),
        ("dashboard", ADMIN, "The sign-in succeeds, and the page is served."),
        ("dashboard", MEMBER, "Failed at decision"),
    ],
)
def test_a_login_test_tells_its_story_by_itself(
    operator: Page, fresh: OpenBrowser, app: str, person: Person, said: str
) -> None:
    """Without a click: the page renews itself. No session is left in the other browser."""
    page = tried(fresh, begun(operator, app), person)
    expect(operator.get_by_text(said)).to_be_visible()
    expect(operator.get_by_text(person.email).first).to_be_visible()
    if person is NEWCOMER:
        expect(operator.get_by_role("row", name="would create")).to_be_visible()
    picture(operator, f"{app}-{person.email.partition('@')[0]}")
    seen = page.goto(page.url.partition("/oauth2")[0] + "/oauth2/userinfo")
    assert seen is not None
    assert seen.status == 401


def test_a_link_is_worth_nothing_in_a_second_browser_nor_twice(operator: Page, fresh: OpenBrowser) -> None:
    """C-85."""
    address = begun(operator, "portal")
    first = tried(fresh, address, MEMBER)
    second = fresh()
    second.goto(address)
    expect(second.get_by_role("heading", name="This test link can't be used")).to_be_visible()
    picture(second, "gone")
    first.goto(address)
    first.get_by_role("button", name="Sign in", exact=True).click()
    expect(first.get_by_role("heading", name="This test link can't be used")).to_be_visible()
