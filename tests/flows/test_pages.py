"""Every page of ours, as a person gets it and as a program does: locked down, stored by nobody, with the request's id on it."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse
from tests.flows.conftest import OpenHouse

REQUEST_ID = "page-test.7"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


@dataclass
class Asker:
    """Asks one house, as a browser or as a program."""

    house: House
    fields: str

    async def __call__(self, target: str, *, fields: str = "", **more: Any) -> WireResponse:
        return await self.house.ask(target, fields=f"{self.fields}X-Request-Id: {REQUEST_ID}\r\n{fields}", **more)


Make = Callable[[Asker], Awaitable[WireResponse]]


async def _slow(request: Any, reader: Any, writer: Any) -> None:
    await reader.read()


async def _nonsense(request: Any, reader: Any, writer: Any) -> None:
    writer.write(b"nonsense\r\n\r\n")


async def forbidden(ask: Asker) -> WireResponse:
    return await ask("/admin", cookie=await ask.house.session())


async def own_login(ask: Asker) -> WireResponse:
    return await ask("/login", cookie=await ask.house.session())


async def upstream_slow(ask: Asker) -> WireResponse:
    ask.house.upstream.answer = _slow
    return await ask("/x", cookie=await ask.house.session())


async def upstream_nonsense(ask: Asker) -> WireResponse:
    ask.house.upstream.answer = _nonsense
    return await ask("/x", cookie=await ask.house.session())


async def unknown_host(ask: Asker) -> WireResponse:
    head = f"GET / HTTP/1.1\r\nHost: nobody.example\r\n{ask.fields}X-Request-Id: {REQUEST_ID}\r\n\r\n"
    return await ask.house.raw(head.encode())


async def cross_site(ask: Asker) -> WireResponse:
    return await ask("/oauth2/sign_out", method="POST", body=b"", fields="Origin: https://evil.example\r\n")


#: What a person meets, by status and code.
PAGES: dict[str, tuple[int, str, Make]] = {
    "ambiguous": (400, "ambiguous_target", lambda ask: ask("/a%2fb")),
    "answer of a stranger": (400, "sign_in_expired", lambda ask: ask("/oauth2/callback?code=x&state=y")),
    "who am I": (401, "login_required", lambda ask: ask("/oauth2/userinfo")),
    "forbidden": (403, "access_denied", forbidden),
    "password door": (403, "password_login_disabled", lambda ask: ask("/forgot-password")),
    "from another site": (403, "cross_site_request", cross_site),
    "forward-auth for strangers": (403, "untrusted_peer", lambda ask: ask("/oauth2/auth")),
    "nothing here": (404, "not_found", lambda ask: ask("/oauth2/nothing")),
    "method": (405, "method_not_allowed", lambda ask: ask("/oauth2/callback", method="POST", body=b"")),
    "unknown host": (421, "unknown_host", unknown_host),
    "upstream fault": (502, "upstream_fault", upstream_nonsense),
    "upstream slow": (504, "upstream_timeout", upstream_slow),
    "provider down": (503, "provider_unavailable", lambda ask: ask("/oauth2/start")),
}
SECTIONS: dict[str, Any] = {
    "apps": {
        "portal": {
            "password_routes": ["nexudus"],
            "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
            "timeouts": {"response_headers": "200ms"},
        }
    },
    "openid": {"prevent_password_login": True},
}


def assert_personal(response: WireResponse) -> None:
    """C-39: nobody stores it, nobody is told of it, nobody guesses its type."""
    assert response.value("cache-control") == "no-store"
    assert response.value("x-content-type-options") == "nosniff"
    assert response.value("referrer-policy") in ("no-referrer", "same-origin")
    assert response.value("server") is None
    assert response.values("content-length") != []
    assert "aiohttp" not in response.head.decode("latin-1").lower()


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs


def assert_locked_down(response: WireResponse) -> None:
    """A page that loads nothing, runs nothing and is framed by nobody."""
    text = response.body.decode()
    assert response.value("content-type") == "text/html; charset=utf-8"
    (policy,) = response.values("content-security-policy")
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", directives["style-src"])
    assert directives["img-src"] == "data:"
    assert directives["base-uri"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert "script-src" not in directives
    assert "unsafe" not in policy
    found = Tags()
    found.feed(text)
    assert not found.names & {"script", "iframe", "object", "embed", "link", "base"}
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert all((value or "").startswith("data:") for name, value in found.attributes if name in ("src", "srcset"))
    assert not re.search(r"@import|url\((?!['\"]?data:)", text)
    assert '<meta name="viewport"' in text
    assert "prefers-color-scheme" in text
    assert text.count("<h1") == 1


@pytest.mark.parametrize("name", PAGES)
async def test_each_refusal_is_a_locked_page_for_people_and_a_problem_document_for_programs(
    open_house: OpenHouse, name: str
) -> None:
    """C-39, A-76: with its stable code and the request's id."""
    status, code, make = PAGES[name]
    house = await open_house(**SECTIONS)
    page = await make(Asker(house, BROWSER))
    assert page.status == status
    assert_personal(page)
    assert_locked_down(page)
    assert REQUEST_ID in page.body.decode()
    problem = await make(Asker(house, "Accept: application/json\r\n"))
    assert problem.status == status
    assert_personal(problem)
    assert problem.value("content-type") == "application/problem+json"
    document = json.loads(problem.body)
    assert document["code"] == code
    assert document["status"] == status
    assert document["request_id"] == REQUEST_ID
    assert document["title"]
    assert document["detail"]
    assert document["type"].endswith(code)
    if status in (503, 401):
        assert problem.value("retry-after" if status == 503 else "www-authenticate") is not None


async def test_with_a_session_the_closed_login_page_is_a_page_too(open_house: OpenHouse) -> None:
    house = await open_house(**SECTIONS)
    page = await own_login(Asker(house, BROWSER))
    assert page.status == 403
    assert_personal(page)
    assert_locked_down(page)


async def test_redis_that_is_down_has_its_page(open_house: OpenHouse, valkey: str, prefix: str) -> None:
    """C-43."""
    async with FlakyLink(valkey) as link:
        house = await open_house(redis={"url": link.url, "key_prefix": prefix})
        cookie = await house.session()
        link.refuse()
        await eventually(lambda: not house.worker.cache.trusted)
        page = await Asker(house, BROWSER)("/x", cookie=cookie)
        assert (page.status, page.value("retry-after") is not None) == (503, True)
        assert_personal(page)
        assert_locked_down(page)


async def test_pages_of_the_way_out_are_locked_down_too(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """The question has the one form of ours: it may go to us, the provider, and nowhere else in plain http."""
    house = await open_house(provider=provider)
    ask = Asker(house, BROWSER)
    question = await ask("/oauth2/sign_out", cookie=await house.session())
    assert question.status == 200
    assert_personal(question)
    assert_locked_down(question)
    assert b"bob@example.com" in question.body
    policy = question.value("content-security-policy") or ""
    (forms,) = re.findall(r"form-action ([^;]*)", policy)
    assert set(forms.split()) == {"'self'", "https:", provider.issuer}
    gone = await ask("/oauth2/signed_out")
    assert_personal(gone)
    assert_locked_down(gone)
    assert "form-action 'none'" in (gone.value("content-security-policy") or "")


async def test_redirects_are_stored_by_nobody_and_tell_nobody_where_they_come_from(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-39: the code and the state travel in no Referer."""
    house = await open_house(provider=provider)
    browser = house.browser()
    await house.sign_in(browser, at="/x")
    ours = [answer for answer in browser.history if answer.url.startswith(house.origin()) and answer.location]
    assert [answer.status for answer in ours] == [302, 303]
    for answer in ours:
        assert answer.header("Cache-Control") == "no-store"
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.body == b""


async def test_what_the_provider_said_of_a_person_is_shown_as_text(open_house: OpenHouse) -> None:
    """A-60, A-76."""
    house = await open_house(**SECTIONS)
    name = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
    cookie = await house.session(email=None, name=name)
    page = await Asker(house, BROWSER)("/admin", cookie=cookie)
    assert page.status == 403
    assert_locked_down(page)
    assert b"<img src=x" not in page.body
    assert b"&lt;img src=x onerror=alert(1)&gt;" in page.body
    assert b"{{7*7}}" in page.body


@pytest.mark.parametrize("sent", ["<script>alert(1)</script>", "a b", "x" * 500, "caf\xe9", 'a"b'])
async def test_a_request_id_that_is_none_is_replaced_by_one_of_ours(open_house: OpenHouse, sent: str) -> None:
    house = await open_house()
    page = await house.ask("/oauth2/nothing", fields=f"{BROWSER}X-Request-Id: {sent}\r\n")
    assert page.status in (400, 404)
    assert_locked_down(page)
    assert sent.encode("latin-1") not in page.body
    document = json.loads((await house.ask("/oauth2/nothing", fields=f"X-Request-Id: {sent}\r\n")).body)
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", document["request_id"])


async def test_title_and_logo_are_the_operators_and_enter_as_text_and_data(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(PNG)
    house = await open_house(pages={"title": "Harbour <b> & Co", "logo": str(logo)})
    page = await house.ask("/oauth2/nothing", fields=BROWSER)
    assert_locked_down(page)
    assert b"Harbour &lt;b&gt; &amp; Co" in page.body
    assert b'src="data:image/png;base64,' in page.body


async def test_head_has_the_headers_of_the_page_and_no_body(open_house: OpenHouse) -> None:
    house = await open_house()
    whole = await house.ask("/oauth2/nothing", fields=BROWSER)
    bare = await house.ask("/oauth2/nothing", method="HEAD", fields=BROWSER)
    assert (bare.status, bare.body) == (whole.status, b"")
    assert bare.value("content-type") == whole.value("content-type")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /" + "x" * 70_000, 414),
        ("GET /\r\nX-Long: " + "x" * 70_000, 431),
        ("GET  /two-spaces", 400),
        ("BREW /", 501),
    ],
)
async def test_a_request_that_cannot_be_parsed_is_refused_in_few_words(
    open_house: OpenHouse, line: str, status: int
) -> None:
    """B-50, C-14: it has no page, no host, and nothing of it is said back."""
    house = await open_house()
    first, _, rest = line.partition("\r\n")
    head = f"{first} HTTP/1.1\r\nHost: {house.host()}\r\n" + (f"{rest}\r\n" if rest else "") + "\r\n"
    response = await house.raw(head.encode())
    assert response.status == status
    assert b"xxxx" not in response.body
    assert response.value("connection") == "close"


@pytest.mark.parametrize("name", ["forbidden", "nothing here", "provider down"])
async def test_both_planes_speak_the_browsers_language_and_json_stays_english(open_house: OpenHouse, name: str) -> None:
    house = await open_house(**SECTIONS)
    _, _, make = PAGES[name]
    page = await make(Asker(house, BROWSER + "Accept-Language: de-DE,de;q=0.9,en;q=0.5\r\n"))
    assert_locked_down(page)
    assert (page.value("content-language"), page.value("vary")) == ("de", "Accept-Language")
    assert b'<html lang="de" dir="ltr">' in page.body
    document = json.loads((await make(Asker(house, "Accept-Language: de\r\n"))).body)
    assert document["title"] in (
        "You don't have access to this page",
        "Page not found",
        "The sign-in page is not available",
    )
