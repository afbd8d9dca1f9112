"""Every page of ours in a browser on a phone: axe-core finds nothing, nothing is cut off, and it is in the language that the browser asks for.

Pictures go to `build/e2e/pages/`, German ones in light colours and Arabic ones in dark.
"""

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from gateway.config.schema import PageSettings
from gateway.demo.nexudus.faults import Fault
from gateway.demo.people import ADMIN, NEWCOMER
from gateway.errors import access, dependencies, hand_off, requests, signing_in
from gateway.errors.refusal import Refusal
from gateway.languages.message import Message
from gateway.languages.negotiation import PreferredLanguages
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages
from tests.e2e.backstage import Backstage
from tests.e2e.conftest import OpenDoor
from tests.e2e.processes import free_port
from tests.e2e.stack import HERE, OUTPUT, CertifiedProvider, Door
from tests.e2e.steps import choose_person
from tests.unit.web.made import PORTAL, made_sites

AXE = (HERE / "node_modules" / "axe-core" / "axe.min.js").read_text()
PHONE: ViewportSize = {"width": 390, "height": 844}
LANGUAGES: dict[str, tuple[str, Literal["light", "dark"]]] = {"de": ("ltr", "light"), "ar": ("rtl", "dark")}
#: As much as a page can hold.
FACTS = {
    "account": "a.very.long.name.of.a.member@subsidiary.example.com",
    "cause": Message(
        "redirect_loop.not_finished",
        "The sign-in page sent you back before the sign-in was finished. It may be using a return address other than {address}, "
        "or another server may be answering at that address.",
    ).fill(address="https://members.space.example.com:8443/oauth2/callback"),
    "target": "/bookings/new",
}
NO_FINDING = """async () => {
    const found = await axe.run(document, {resultTypes: ['violations']});
    return found.violations.map(each => `${each.id}: ${each.nodes.map(node => node.html).join(' ').slice(0, 300)}`);
}"""


def refusals() -> dict[str, Refusal]:
    """One of each class in gateway/errors."""
    modules = (requests, access, signing_in, hand_off, dependencies)
    kinds = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    classes = [kind for kind in kinds if issubclass(kind, Refusal)]
    return {kind.__name__: kind("a reason") for kind in sorted(classes, key=lambda kind: kind.__name__)}


class PageServer:
    """Serves the page of each refusal under its name, as the gateway renders it."""

    def __init__(self) -> None:
        self.port = free_port()
        self._pages = Pages(PageSettings(title="Harbour Desk", support="mailto:help@example.com"))
        self._refusals = refusals()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{name}", self._page)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        refusal = self._refusals[request.match_info["name"]]
        refusal.facts |= FACTS
        context = PageContext(
            request_id="0123456789abcdef-42",
            site=made_sites()[PORTAL],
            return_to="/bookings?day=2",
            retry_url="/bookings?day=2",
            languages=PreferredLanguages([request.headers["Accept-Language"].encode()]),
        )
        page = self._pages.render(refusal, context, html=True)
        return web.Response(status=page.status, headers=dict(page.headers), body=page.body)


@pytest.fixture(scope="module")
def page_server() -> Iterator[PageServer]:
    backstage, server = Backstage(), PageServer()
    backstage.run(server.start())
    yield server
    backstage.run(server.close())
    backstage.close()


@pytest.fixture(params=LANGUAGES)
def phone(request: pytest.FixtureRequest, browser: Browser) -> Iterator[BrowserContext]:
    """A phone whose browser asks for one language."""
    _, colors = LANGUAGES[request.param]
    context = browser.new_context(
        viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True, locale=request.param, color_scheme=colors
    )
    context.set_default_timeout(15_000)
    yield context
    context.close()


def findings(page: Page, name: str) -> list[str]:
    """What is wrong with the page that the browser shows."""
    language = str(page.evaluate("navigator.language"))
    direction, _ = LANGUAGES[language]
    folder = OUTPUT / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{language}-{name}.png", full_page=True)
    page.evaluate(AXE)
    found = list(page.evaluate(NO_FINDING))
    shown = page.evaluate("[document.documentElement.lang, document.documentElement.dir]")
    if shown != [language, direction]:
        found.append(f"is in {shown}")
    if page.evaluate("document.documentElement.scrollWidth > screen.width"):
        found.append("is wider than the phone")
    return found


def test_the_page_of_every_refusal_is_accessible_on_a_phone(page_server: PageServer, phone: BrowserContext) -> None:
    page, wrong = phone.new_page(), {}
    for name in refusals():
        page.goto(f"http://127.0.0.1:{page_server.port}/{name}")
        if found := findings(page, name):
            wrong[name] = found
    assert wrong == {}


def test_the_pages_of_signing_out_are_accessible_on_a_phone(door: Door, phone: BrowserContext) -> None:
    page, origin = phone.new_page(), door.origin("portal")
    page.goto(origin + "/bookings")
    choose_person(page, ADMIN)
    expect(page).to_have_url(origin + "/bookings")
    wrong = {}
    elsewhere = phone.browser
    assert elsewhere is not None
    with elsewhere.new_context() as another:
        other = another.new_page()
        other.goto(origin + "/bookings")
        choose_person(other, ADMIN)
        expect(other).to_have_url(origin + "/bookings")
    for path in ("sign_out", "sessions", "signed_out", "nothing"):
        page.goto(f"{origin}/oauth2/{path}")
        wrong[path] = findings(page, f"signed-in-{path}")
    phone.clear_cookies()
    for path in ("signed_out", "callback?state=x&code=y"):
        page.goto(f"{origin}/oauth2/{path}")
        wrong["stranger " + path] = findings(page, re.sub(r"\W.*", "", path))
    assert {name: found for name, found in wrong.items() if found} == {}


def test_the_choice_of_a_provider_is_accessible_on_a_phone(
    open_door: OpenDoor, provider: CertifiedProvider, phone: BrowserContext
) -> None:
    members = {
        "authority_url": provider.issuer,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "title": "Members",
    }
    door = open_door(
        "two-providers",
        {"title": "Company account"},
        apps={"portal": {"providers": ["openid", "members"]}},
        sections={"providers": {"members": members}},
    )
    page = phone.new_page()
    page.goto(door.origin("portal") + "/bookings")
    expect(page.get_by_role("link", name="Members")).to_be_visible()
    assert findings(page, "choose-provider") == []


def test_the_page_that_waits_for_an_account_is_accessible_and_goes_on(
    open_door: OpenDoor, phone: BrowserContext
) -> None:
    """What it loads next is held back while it is looked at."""
    door = open_door("slow-directory", {})
    door.behind.directory.faults.add(Fault(kind="slow", match="* /api/spaces/coworkers*", times=None, seconds=4))
    page = phone.new_page()
    page.route("**/oauth2/wait?*", lambda route: route.abort("aborted"))
    page.goto(door.origin("portal") + "/bookings")
    choose_person(page, NEWCOMER)
    expect(page.locator("main.waiting")).to_be_visible(timeout=30_000)
    assert findings(page, "setting-up") == []
    door.behind.directory.faults.clear()
    page.unroute("**/oauth2/wait?*")
    page.locator("a.button").click()
    expect(page).to_have_url(door.origin("portal") + "/bookings", timeout=30_000)
