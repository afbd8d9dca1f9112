"""A password request by the name of OPTIONS, or of a method that nobody has heard of, before upstreams that do not look at the method."""

from typing import Any

import pytest

from gateway.config.reading.packs import pack_names
from gateway.operations.probe.requests import password_requests
from gateway.policy.passwords import Blocked, NeedsBody, PasswordRoutes, load_pack
from tests.flows.conftest import OpenHouse
from tests.unit.policy.made import app, head, target

PREFLIGHT = "Origin: https://portal.example.net\r\nAccess-Control-Request-Method: POST\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
BODY = b"grant_type=password&username=a&password=b"
CLOSED = {"prevent_password_login": True}
#: A stranger gets past everything but the door: by a public entry, by the app's own word, as a preflight.
OPENED: list[dict[str, Any]] = [
    {"public": ["* /api/**", "* /login/**", "* /user/**"]},
    {"unauthenticated": "pass"},
    {"cors_preflight": "pass"},
]
MORE_THAN_A_PREFLIGHT: list[tuple[str, str, bytes | None]] = [
    ("/api/token", "", None),
    ("/api/token", "", BODY),
    ("/api/token", FORM, BODY),
    ("/api/token", PREFLIGHT, BODY),
    ("/api/token", PREFLIGHT + FORM, BODY),
    ("/api/token", PREFLIGHT + "Transfer-Encoding: chunked\r\n", None),
    ("/api/token", "Origin: https://portal.example.net\r\n", None),
    ("/api/token", "Access-Control-Request-Method: POST\r\n", None),
    ("/api/token", PREFLIGHT + "Origin: https://other.example.net\r\n", None),
    ("/api/token", PREFLIGHT + "Access-Control-Request-Method: GET\r\n", None),
    ("/api/token", "Origin: https://portal.example.net\r\nAccess-Control-Request-Method: PO ST\r\n", None),
    ("/api/token", "Origin: \r\nAccess-Control-Request-Method: POST\r\n", None),
    ("/api/token", PREFLIGHT + "X-HTTP-Method-Override: POST\r\n", None),
    ("/api/token?_method=POST", PREFLIGHT, None),
    ("/api/token?x=1;%5Fmethod=post", PREFLIGHT, None),
    ("/api/token?grant_type=password&username=a&password=b", PREFLIGHT, None),
    ("/api/token?grant%5ftype=custom", PREFLIGHT, None),
    ("/api/token?Password=b", PREFLIGHT, None),
    ("/api/token", PREFLIGHT + "Cookie: a=b\r\n", None),
    ("/api/token", PREFLIGHT + "Authorization: Bearer x\r\n", None),
    ("/en/API/Token;x=1/", FORM, BODY),
    ("/login?Email=a&Password=b", PREFLIGHT, None),
    ("/login.js", FORM, b"Email=a&Password=b"),
    ("/user/login?t=a", PREFLIGHT, None),
]


@pytest.mark.parametrize("opened", OPENED, ids=lambda keys: next(iter(keys)))
async def test_no_options_passes_a_password_route_but_a_preflight(
    open_house: OpenHouse, opened: dict[str, Any]
) -> None:
    """C-77."""
    house = await open_house(openid=CLOSED, apps={"portal": {"password_routes": "nexudus", **opened}})
    for path, fields, body in MORE_THAN_A_PREFLIGHT:
        response = await house.ask(path, method="OPTIONS", fields=fields, body=body)
        assert response.status in (400, 403), (path, fields, response.head)
    assert house.upstream.requests == []


async def test_a_chunked_body_is_one_even_where_it_turns_out_to_be_empty(open_house: OpenHouse) -> None:
    """C-77."""
    house = await open_house(openid=CLOSED, apps={"portal": {"password_routes": "nexudus", "public": ["* /api/**"]}})
    for body in (b"0\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)):
        head_ = f"OPTIONS /api/token HTTP/1.1\r\nHost: {house.host()}\r\n{PREFLIGHT}Transfer-Encoding: chunked\r\n\r\n"
        assert (await house.raw(head_.encode() + body)).status == 403
    assert house.upstream.requests == []


@pytest.mark.parametrize("path", ["/api/token", "/en/api/token", "/profile", "/login", "/api/token?lang=en"])
@pytest.mark.parametrize("fields", ["", "Access-Control-Request-Headers: authorization\r\nContent-Length: 0\r\n"])
async def test_a_preflight_passes_a_password_route_and_brings_nothing_that_a_page_could_act_on(
    open_house: OpenHouse, path: str, fields: str
) -> None:
    """C-77: the browser asks first for `grant_type=refresh_token` too."""
    keys = {"password_routes": "nexudus", "cors_preflight": "pass"}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    assert (await house.ask(path, method="OPTIONS", fields=PREFLIGHT + fields)).status == 200
    (seen,) = house.upstream.requests
    assert (seen.body, seen.values("cookie"), seen.values("authorization")) == (b"", [], [])
    assert (await house.ask(path, method="POST", fields=FORM, body=BODY)).status in (401, 403)
    assert len(house.upstream.requests) == 1


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND", "QUERY", "M-SEARCH", "FROBNICATE", "post", "X!"])
async def test_a_rule_without_methods_is_for_every_method(open_house: OpenHouse, method: str) -> None:
    """C-77: registered or not."""
    house = await open_house(
        openid=CLOSED, apps={"portal": {"password_routes": "nexudus", "public": ["* /api/**", "* /login/**"]}}
    )
    for path in ("/api/token", "/login", "/api/sys/users/token"):
        response = await house.ask(path, method=method, fields=FORM, body=BODY)
        assert response.status in (400, 403, 501), path
    assert house.upstream.requests == []


async def test_a_preflight_asks_for_no_other_protocol(open_house: OpenHouse) -> None:
    """C-77, B-41: an upstream that answers 101 would have a tunnel to somebody without a session, and past the doors."""
    keys = {"password_routes": "nexudus", "cors_preflight": "pass", "upgrades": ["tunnel"]}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    upgrade = PREFLIGHT + "Connection: upgrade\r\nUpgrade: tunnel\r\n"
    for path, status in (("/api/token", 403), ("/rooms", 401)):
        assert (await house.ask(path, method="OPTIONS", fields=upgrade)).status == status
    assert house.upstream.requests == []


async def test_other_routes_answer_options_as_the_application_likes(open_house: OpenHouse) -> None:
    """The honest client beside: nothing but password routes asks for a preflight."""
    house = await open_house(openid=CLOSED, apps={"portal": {"password_routes": "nexudus", "public": ["* /api/**"]}})
    assert (await house.ask("/api/rooms", method="OPTIONS")).status == 200
    assert (await house.ask("/api/rooms", method="OPTIONS", fields=FORM, body=b"a=b")).status == 200
    assert len(house.upstream.requests) == 2


def judged(
    doors: PasswordRoutes, method: str, path: str, *fields: tuple[bytes, bytes], body: bytes | None = None
) -> object:
    where = target(path)
    return doors.match(doors.candidates(method, where), head(method, path, *fields, body=body), where, None)


@pytest.mark.parametrize("pack", pack_names())
def test_options_with_the_bodies_of_every_rule_of_every_pack_is_refused(pack: str) -> None:
    """C-77: also at rules that name their methods."""
    doors = PasswordRoutes(app(password_routes=[pack]), closed=True)
    preflight = ((b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"POST"))
    for rule in load_pack(pack):
        for ask in password_requests(rule):
            path = ask.path + ("?" + ask.query if ask.query else "")
            for method in ("OPTIONS", *(("PROPFIND", "FROBNICATE") if rule.match.startswith("*") else ())):
                for fields in (ask.fields, (*ask.fields, *preflight)):
                    body = ask.body or b"a=b"
                    found = judged(doors, method, path, (b"Content-Type", ask.kind), *fields, body=body)
                    # A body that says what it is, is read before it is refused.
                    assert isinstance(found, Blocked | (NeedsBody if method != "OPTIONS" else Blocked)), (method, path)
            assert isinstance(judged(doors, "OPTIONS", path, *ask.fields), Blocked), path


async def test_forward_auth_cannot_see_that_a_preflight_has_no_body(open_house: OpenHouse) -> None:
    """C-77, C-01: the proxy in front keeps the body for itself, and with it the length."""
    keys = {"password_routes": "nexudus", "cors_preflight": "pass", "public": ["* /api/**"]}
    house = await open_house(openid=CLOSED, apps={"portal": keys}, trusted_proxies=["127.0.0.0/8"])
    for uri, status in (("/api/token", 403), ("/login", 403), ("/rooms", 401), ("/api/rooms", 202)):
        described = f"X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Host: {house.host()}\r\nX-Forwarded-Uri: {uri}\r\n"
        response = await house.ask("/oauth2/auth", fields=described + PREFLIGHT)
        assert response.status == status, uri
