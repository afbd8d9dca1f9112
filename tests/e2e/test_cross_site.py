"""A single-page portal calls an API host that portal and dashboard share: from a name under the same domain, and from another site.

The API host has `surface: shared`, `unauthenticated: pass` and `cors_preflight: pass`. A real browser decides which cookie goes along.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from gateway.demo.people import MEMBER
from tests.e2e.backstage import Backstage
from tests.e2e.processes import Program, free_port
from tests.e2e.stack import CertifiedProvider, start_gateway
from tests.e2e.steps import visit_as
from tests.e2e.test_upstreams import settings
from tests.fakes.recorder import Recorded, RecordingUpstream

FORM = "application/x-www-form-urlencoded"
CALL = """async ([url, options]) => {
  try {
    const answer = await fetch(url, {credentials: 'include', ...options});
    return [answer.status, await answer.text()];
  } catch (error) {
    return [0, error.name];
  }
}"""


async def api(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An API that lets any page call it, as a portal's own does."""
    origin = (request.values("Origin") or [b"*"])[0]
    cors = b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Credentials: true\r\n" % origin
    asked = request.values("Access-Control-Request-Headers")
    if request.line.startswith(b"OPTIONS "):
        allowed = (
            b"Access-Control-Allow-Methods: GET, POST\r\nAccess-Control-Allow-Headers: %b\r\n" % (asked or [b"x"])[0]
        )
        writer.write(b"HTTP/1.1 204 No Content\r\n" + cors + allowed + b"\r\n")
    else:
        body = b"api"
        writer.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (cors, len(body), body)
        )


async def page(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The single-page portal: one page whatever is asked for."""
    body = b"<!doctype html><title>Portal</title>"
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@dataclass(frozen=True, slots=True)
class Town:
    """`api` is the API host's origin, `answered` that of the same API where Doorward answers preflights for `far` alone, `near` a portal under the same domain, `far` the same portal on another site."""

    api: str
    answered: str
    near: str
    far: str
    upstream: RecordingUpstream

    def seen(self, method: str, path: str) -> list[Recorded]:
        return [each for each in self.upstream.requests if each.line.startswith(f"{method} {path} ".encode())]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    port = free_port()
    origin = f"http://api.harbour.localhost:{port}"
    provider = CertifiedProvider([origin])
    backstage, upstream, portal = Backstage(), RecordingUpstream(answer=api), RecordingUpstream(answer=page)
    backstage.run(upstream.start())
    backstage.run(portal.start())
    app = {
        "surface": "shared",
        "hosts": [f"api.harbour.localhost:{port}"],
        "upstream": upstream.url,
        "unauthenticated": "pass",
        "cors_preflight": "pass",
        "password_routes": "nexudus",
    }
    far, near = (f"http://members.{domain}.localhost:{portal.port}" for domain in ("elsewhere", "harbour"))
    cors = {
        "allow_origins": [far],
        "allow_headers": ["Authorization", "Content-Type", "X-Portal"],
        "allow_credentials": True,
    }
    answered = {**app, "hosts": [f"answered.harbour.localhost:{port}"], "cors_preflight": cors}
    config = settings(port, provider, {"api": app, "answered": answered})
    # One toggle is enough to shut the doors of a shared host.
    config["openid"] |= {"prevent_password_login": True, "prevent_dashboard_password_login": False}
    gateway: Program = start_gateway(config, tmp_path_factory.mktemp("cross-site"))
    yield Town(origin, f"http://answered.harbour.localhost:{port}", near, far, upstream)
    gateway.stop()
    provider.stop()
    backstage.run(upstream.close())
    backstage.run(portal.close())
    backstage.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, town: Town) -> Iterator[BrowserContext]:
    """A browser that has a session at the API host itself."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    tab = context.new_page()
    visit_as(tab, town.api + "/oauth2/start?rd=/me", MEMBER)
    tab.wait_for_url(town.api + "/me")
    yield context
    context.close()


@pytest.fixture
def tab(signed_in: BrowserContext) -> Iterator[Page]:
    page = signed_in.new_page()
    yield page
    page.close()


def call(tab: Page, url: str, **options: object) -> list[object]:
    answer: list[object] = tab.evaluate(CALL, [url, options])
    return answer


def test_from_another_site_the_call_arrives_without_our_cookie_and_without_a_name(town: Town, tab: Page) -> None:
    """SameSite: the portal's own token does what a session does elsewhere."""
    tab.goto(town.far)
    assert call(tab, town.api + "/api/rooms?far", headers={"Authorization": "Bearer the-portals-own"}) == [200, "api"]
    (preflight,) = town.seen("OPTIONS", "/api/rooms?far")
    (rooms,) = town.seen("GET", "/api/rooms?far")
    for request in (preflight, rooms):
        assert request.values("Cookie") == request.values("X-Forwarded-User") == []
    assert rooms.values("Authorization") == [b"Bearer the-portals-own"]
    assert rooms.values("Sec-Fetch-Site") == [b"cross-site"]


def test_from_the_same_domain_the_browser_sends_the_cookie_and_the_upstream_hears_who_it_is(
    town: Town, tab: Page
) -> None:
    tab.goto(town.near)
    assert call(tab, town.api + "/api/rooms?near", headers={"X-Portal": "1"}) == [200, "api"]
    (preflight,) = town.seen("OPTIONS", "/api/rooms?near")
    (rooms,) = town.seen("GET", "/api/rooms?near")
    assert preflight.values("X-Forwarded-User") == []
    assert rooms.values("X-Forwarded-Email") == [MEMBER.email.encode()]
    assert rooms.values("Cookie") == []  # ours stays with us
    assert rooms.values("Sec-Fetch-Site") == [b"same-site"]


@pytest.mark.parametrize("where", ["near", "far"])
def test_no_page_of_any_site_gets_a_token_with_a_password(town: Town, tab: Page, where: str) -> None:
    """C-12, C-18: whatever Origin and client_id the page names; a refresh token still gets a new one."""
    tab.goto(getattr(town, where))
    before = len(town.seen("POST", "/api/token"))
    password = "grant_type=password&username=a%40b.example&password=x"
    for headers in ({"Content-Type": FORM}, {"Content-Type": FORM, "client_id": "dashboard"}):
        # The refusal names no origin that may read it, so the page learns nothing but that it failed.
        assert call(tab, town.api + "/api/token", method="POST", headers=headers, body=password) == [0, "TypeError"]
    assert len(town.seen("POST", "/api/token")) == before
    refresh = "grant_type=refresh_token&refresh_token=x"
    answer = call(tab, town.api + "/api/token", method="POST", headers={"Content-Type": FORM}, body=refresh)
    assert answer == [200, "api"]
    assert town.seen("POST", "/api/token")[-1].body == refresh.encode()


def test_a_preflight_that_is_answered_here_lets_an_allowed_page_call_and_read_refusals(town: Town, tab: Page) -> None:
    """C-79, C-77: a real browser takes the answer, and the application does not hear of the question."""
    tab.goto(town.far)
    before = len(town.upstream.requests)
    headers = {"Authorization": "Bearer the-portals-own", "X-Portal": "1"}
    assert call(tab, town.answered + "/api/rooms?answered", headers=headers) == [200, "api"]
    password = "grant_type=password&username=a%40b.example&password=x"
    status, said = call(
        tab, town.answered + "/api/token", method="POST", headers={"Content-Type": FORM, "X-Portal": "1"}, body=password
    )
    assert (status, json.loads(str(said))["code"]) == (403, "password_login_disabled")
    assert [request.line.split(b" ")[0] for request in town.upstream.requests[before:]] == [b"GET"]
    # What was not named is not asked for: a field, a method, a page of another origin.
    assert call(tab, town.answered + "/api/rooms", headers={"X-Other": "1"}) == [0, "TypeError"]
    assert call(tab, town.answered + "/api/rooms", method="DELETE") == [0, "TypeError"]
    assert call(tab, town.answered + "/oauth2/userinfo") == [0, "TypeError"]
    tab.goto(town.near)
    assert call(tab, town.answered + "/api/rooms", headers=headers) == [0, "TypeError"]
    assert call(tab, town.answered + "/api/token", method="POST", headers={"Content-Type": FORM}, body=password) == [
        0,
        "TypeError",
    ]
    assert len(town.upstream.requests) == before + 1
