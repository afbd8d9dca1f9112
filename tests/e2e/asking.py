"""What must hold whichever proxy asks Doorward and forwards by itself: the cases of tests/e2e/test_forward_auth.py and of tests/fronts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from tests.e2e.processes import free_port
from tests.e2e.recipes import RECIPES, Place
from tests.fakes.browser import Browser
from tests.fakes.forged import FORGED, FORGED_BY_OTHERS, FORGED_TABLE, UNDERSCORED, is_forged
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.wire import Wire, WireResponse

APPS: Final = {
    "portal": {
        "public": ["GET /open/**"],
        "rules": [{"match": "* /staff/**", "require": {"groups": ["staff"]}}],
        "forward_auth_cookies": True,
    }
}
DEEP: Final = (
    "/bookings?day=2&room=1",
    "/x?q=a%26b&r=%23&rd=/elsewhere&prompt=none",
    "/caf%C3%A9/x%20y?rd=https://evil.example/&allowed_groups=staff",
)


@dataclass(frozen=True, slots=True)
class Asking:
    """A proxy of the recipe `name`, on `port`, and the house that it asks."""

    name: str
    house: House
    port: int

    def browser(self) -> Browser:
        return Browser({self.house.origin(): self.port})

    async def signed_in(self, person: object = MIA["sub"]) -> Browser:
        browser = self.browser()
        page = await self.house.sign_in(browser, person, at="/oauth2/start")
        assert page.status == 200
        return browser

    def cookies(self, browser: Browser) -> str:
        """What a browser sends to the application's pages."""
        return browser.jar.header(self.house.origin() + "/", same_site=True, navigation=True, safe=True)

    async def send(self, target: str, fields: str = "", method: str = "GET", body: bytes = b"") -> WireResponse:
        wire = await Wire.open(self.port)
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.house.host()}\r\n{fields}"
        head += f"Content-Length: {len(body)}\r\n" if body else ""
        await wire.send(head.encode("latin-1") + b"\r\n" + body)
        response = await wire.response()
        await wire.close()
        return response


@asynccontextmanager
async def asking(name: str, valkey: str, prefix: str, folder: Path) -> AsyncIterator[Asking]:
    provider = MisbehavingProvider()
    await provider.start()
    house = await House.open(valkey, prefix, provider=provider, apps=APPS, trusted_proxies=["127.0.0.1/32"])
    port = free_port()
    application = house.upstream.url.removeprefix("http://")
    proxy = await asyncio.to_thread(
        RECIPES[name], Place(folder=folder, port=port, door=house.port, application=application, host=house.host())
    )
    try:
        yield Asking(name, house, port)
    finally:
        proxy.stop()
        await house.close()
        await provider.close()


async def a_person_signs_in_and_ends_on_the_whole_address(front: Asking) -> None:
    """The query of the page is nobody's: it neither ends the address nor becomes the sign-in's own."""
    for deep in DEEP:
        page = await front.house.sign_in(front.browser(), at=deep)
        assert (page.status, page.url) == (200, front.house.origin() + deep)
        request = front.house.upstream.requests[-1]
        assert request.target == deep
        assert request.values("X-Forwarded-Email") == [str(MIA["email"]).encode()]
        assert len(request.values("X-Doorward-Jwt-Assertion")) == 1


async def nothing_forged_and_no_session_cookie_reaches_the_application(front: Asking) -> None:
    """C-30, C-31, C-35, C-62: under every name of ours and of others, for people with and without a session."""
    browser = await front.signed_in()
    cookie = front.cookies(browser)
    assert "doorward_session=" in cookie
    cookies = f"Cookie: a=1; {cookie}; b=2\r\n"
    for target, sent, travels in (
        ("/page", cookies, [b"a=1; b=2"]), ("/open/page", cookies, [b"a=1; b=2"]), ("/open/page", "Cookie: a=1\r\n", [b"a=1"]), ("/open/page", "", []),
    ):  # fmt: skip
        before = len(front.house.upstream.requests)
        assert (await front.send(target, sent + lines(FORGED))).status == 200
        (request,) = front.house.upstream.requests[before:]
        assert [line for line in request.head.split(b"\r\n") if is_forged(line)] == []
        assert [value for value in request.values("Cookie") if value] == travels
        assert b"doorward_session" not in request.head
        assert request.values("X-Forwarded-User") == ([str(MIA["sub"]).encode()] if target == "/page" else [])
        for chunk in (FORGED_BY_OTHERS, UNDERSCORED, *chunks(FORGED_TABLE)):
            await front.send(target, sent + lines(chunk))
    assert [
        line for each in front.house.upstream.requests for line in each.head.split(b"\r\n") if is_forged(line)
    ] == []
    assert not any(b"doorward_session" in each.head for each in front.house.upstream.requests)


async def rules_and_methods_hold(front: Asking) -> None:
    """C-01: of a stranger, of a person and of one with the group."""
    mia, ada = await front.signed_in(), await front.signed_in(ADA["sub"])
    assert (await front.send("/open/x")).status == 200
    assert (await front.browser().post_from(front.house.origin(), front.house.origin() + "/open/x", b"a=1")).status in (
        302,
        401,
    )
    assert (await mia.open(front.house.origin() + "/staff/x")).status == 403
    assert (await ada.open(front.house.origin() + "/staff/x")).status == 200
    kind = {"Content-Type": "application/octet-stream"}
    answer = await ada.post_from(front.house.origin(), front.house.origin() + "/staff/x", b"body" * 2000, kind)
    assert answer.status == 200
    last = front.house.upstream.requests[-1]
    assert (last.line.split(b" ")[0], last.body) == (b"POST", b"body" * 2000)


async def a_program_without_a_session_is_told_so(front: Asking) -> None:
    """Traefik's middleware for errors knows one answer for everybody."""
    response = await front.send("/api/x?a=1&b=2", "Accept: application/json\r\nSec-Fetch-Mode: cors\r\n")
    if front.name == "traefik":
        assert response.status == 302
        return
    assert response.status == 401
    document = json.loads(response.body)
    there = front.house.origin() + "/oauth2/start?rd=/api/x%3Fa%3D1%26b%3D2"
    assert (document["code"], document["sign_in_url"]) == ("login_required", there)


async def no_visitor_gets_an_answer_that_is_for_the_proxy(front: Asking) -> None:
    """C-23: it has the assertion, and the cookies that scripts cannot read."""
    browser = await front.signed_in()
    cookie = f"Cookie: {front.cookies(browser)}\r\n"
    described = "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\nX-Original-URI: /\r\nX-Original-Method: GET\r\n"
    for target in (
        "/oauth2/auth",
        "/oauth2/auth/",
        "/oauth2/auth/x",
        "/oauth2/%61uth",
        "/oauth2/%61uth/x",
        "/oauth2//auth",
        "/oauth2/./auth",
        "/x/../oauth2/auth",
        *(("/_doorward",) if front.name == "nginx" else ()),
    ):
        response = await front.send(target, cookie + described)
        assert (response.status // 100, response.value("cookie"), response.value("x-doorward-jwt-assertion")) == (
            4,
            None,
            None,
        ), target


async def a_handshake_reaches_the_application(front: Asking) -> None:
    """C-19."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    browser = await front.signed_in()
    cookie = f"Cookie: {front.cookies(browser)}\r\n"
    await front.send("/live", upgrade + cookie)
    assert front.house.upstream.requests[-1].values("Upgrade") == [b"websocket"]
    before = len(front.house.upstream.requests)
    assert (await front.send("/open/live", upgrade)).status in (302, 401)
    assert len(front.house.upstream.requests) == before


def lines(fields: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


def chunks(fields: dict[str, str], size: int = 40) -> Iterator[dict[str, str]]:
    pairs = iter(fields.items())
    while chunk := dict(islice(pairs, size)):
        yield chunk


CASES: Final[tuple[Callable[[Asking], Awaitable[None]], ...]] = (
    a_person_signs_in_and_ends_on_the_whole_address,
    nothing_forged_and_no_session_cookie_reaches_the_application,
    rules_and_methods_hold,
    a_program_without_a_session_is_told_so,
    no_visitor_gets_an_answer_that_is_for_the_proxy,
    a_handshake_reaches_the_application,
)
