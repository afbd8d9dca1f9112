"""`cors_preflight` in its long form: preflights answered here, and refusals that pages of allowed origins may read, and nobody else's."""

from typing import Any

import pytest

from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

PORTAL = "https://members.example.net"
CORS: dict[str, Any] = {
    "allow_origins": [PORTAL, "http://localhost:3000"],
    "allow_methods": ["GET", "post", "DELETE"],
    "allow_headers": ["Authorization", "X-Portal"],
    "allow_credentials": True,
    "max_age": "15m",
}
CLOSED = {"prevent_password_login": True}
OTHERS = [
    "https://evil.example",
    "null",
    "",
    "*",
    PORTAL + "/",
    PORTAL + ":443",
    PORTAL + ".evil.example",
    PORTAL.replace("https", "http"),
    PORTAL.replace("https://", "https://x."),
    PORTAL.replace("https://", "https://x@"),
    PORTAL.upper(),
    PORTAL + ", https://evil.example",
    "https://evil.example " + PORTAL,
    "http://localhost",
    "http://localhost:30000",
]


def asking(origin: str, method: str = "POST") -> str:
    return f"Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n"


def cors_of(response: WireResponse) -> dict[str, str]:
    lines = response.head.decode("latin-1").split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in lines if line.lower().startswith(("access-control-", "vary:"))]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("path", ["/api/rooms?x=1", "/api/token", "/login?a=b", "/admin", "/"])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_a_preflight_is_answered_here_and_the_upstream_hears_nothing(
    open_house: OpenHouse, path: str, signed_in: bool
) -> None:
    """C-79, C-18: on password routes and restricted ones too; the request that it asks about is judged when it comes."""
    rules = [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]
    keys = {"cors_preflight": CORS, "password_routes": "nexudus", "rules": rules, "public": ["* /api/**"]}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    cookie = await house.session() if signed_in else None
    response = await house.ask(path, method="OPTIONS", fields=asking(PORTAL), cookie=cookie)
    assert (response.status, response.body) == (204, b"")
    assert cors_of(response) == {
        "Access-Control-Allow-Origin": PORTAL,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "Authorization, X-Portal",
        "Access-Control-Max-Age": "900",
        "Vary": "Origin",
    }
    assert response.value("content-length") is None
    assert response.value("set-cookie") is None
    assert house.upstream.requests == []


@pytest.mark.parametrize("origin", OTHERS)
async def test_an_origin_that_is_not_allowed_is_told_nothing(open_house: OpenHouse, origin: str) -> None:
    """C-79: neither by preflights nor by refusals."""
    house = await open_house(openid=CLOSED, apps={"portal": {"cors_preflight": CORS, "password_routes": "nexudus"}})
    response = await house.ask("/api/rooms", method="OPTIONS", fields=asking(origin))
    assert response.status in ((204, 400, 401) if origin else (401,))
    assert "Access-Control-Allow-Origin" not in cors_of(response)
    for path, method, status in (("/rooms", "GET", 401), ("/login", "POST", 403), ("/a%2fb", "GET", 400)):
        response = await house.ask(path, method=method, fields=f"Origin: {origin}\r\n", body=b"a=b")
        assert response.status in (400, status)
        assert set(cors_of(response)) <= {"Vary"}
    assert house.upstream.requests == []


async def test_two_origins_are_nobodys(open_house: OpenHouse) -> None:
    """C-79."""
    house = await open_house(apps={"portal": {"cors_preflight": CORS}})
    for two in (f"Origin: {PORTAL}\r\nOrigin: https://evil.example\r\n", f"Origin: {PORTAL}\r\nOrigin: {PORTAL}\r\n"):
        response = await house.ask("/x", method="OPTIONS", fields=two + "Access-Control-Request-Method: PUT\r\n")
        assert response.status in (400, 401)
        assert "Access-Control-Allow-Origin" not in cors_of(response)
        assert "Access-Control-Allow-Origin" not in cors_of(await house.ask("/x", fields=two))


async def test_refusals_can_be_read_by_an_allowed_origin(open_house: OpenHouse) -> None:
    """400, 401, 403, 503: with the fields, and nothing of a preflight among them."""
    rules = [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]
    keys = {"cors_preflight": CORS, "password_routes": "nexudus", "rules": rules}
    house = await open_house(openid=CLOSED, apps={"portal": keys})
    cookie = await house.session()
    expected = {
        "Access-Control-Allow-Origin": "http://localhost:3000",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    answers = {
        401: await house.ask("/rooms", fields="Origin: http://localhost:3000\r\n"),
        403: await house.ask("/admin", fields="Origin: http://localhost:3000\r\n", cookie=cookie),
        400: await house.ask("/a%2fb", fields="Origin: http://localhost:3000\r\n"),
    }
    for status, response in answers.items():
        assert response.status == status
        assert cors_of(response) == expected, status
    blocked = await house.ask(
        "/api/token", method="POST", fields="Origin: http://localhost:3000\r\n" + form, body=b"grant_type=password"
    )
    assert (blocked.status, cors_of(blocked)) == (403, expected)
    await house.upstream.close()
    away = await house.ask("/rooms", fields="Origin: http://localhost:3000\r\n", cookie=cookie)
    assert (away.status, cors_of(away)) == (503, expected)
    assert cors_of(await house.ask("/rooms")) == {"Vary": "Origin"}


async def test_anybody_is_allowed_without_credentials(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"cors_preflight": {"allow_origins": ["*"]}}})
    response = await house.ask("/x", method="OPTIONS", fields=asking("https://anybody.example"))
    assert cors_of(response) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, POST",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
    refused = await house.ask("/x", fields="Origin: null\r\n")
    assert (refused.status, cors_of(refused)) == (401, {"Access-Control-Allow-Origin": "*", "Vary": "Origin"})


@pytest.mark.parametrize(
    ("target", "fields", "body"),
    [
        ("/x", "X-HTTP-Method-Override: DELETE\r\n", None),
        ("/x?_method=DELETE", "", None),
        ("/x", "", b"a=b"),
        ("/x", "Transfer-Encoding: chunked\r\n", None),
    ],
)
async def test_what_is_more_than_a_preflight_is_judged_like_any_request(
    open_house: OpenHouse, target: str, fields: str, body: bytes | None
) -> None:
    """C-79, B-35."""
    house = await open_house(apps={"portal": {"cors_preflight": CORS}})
    response = await house.ask(target, method="OPTIONS", fields=asking(PORTAL) + fields, body=body)
    assert response.status == 401
    assert "Access-Control-Allow-Methods" not in cors_of(response)
    assert house.upstream.requests == []


async def test_nothing_is_said_of_origins_below_our_own_paths(open_house: OpenHouse) -> None:
    """C-79: `/oauth2/userinfo` says who somebody is, and no page elsewhere is to read it; `/oauth2/sign_out` acts."""
    house = await open_house(apps={"portal": {"cors_preflight": CORS}, "api": {}}, trusted_proxies=["127.0.0.0/8"])
    cookie = await house.session()
    for path in (
        "/oauth2/userinfo",
        "/oauth2/sign_out",
        "/oauth2/start",
        "/oauth2/auth",
        "/OAUTH2/userinfo",
        "/oauth2/x",
        "/.well-known/doorward/jwks.json",
    ):
        for method in ("OPTIONS", "GET", "POST"):
            for given in (cookie, None):
                response = await house.ask(path, method=method, fields=asking(PORTAL), cookie=given)
                assert not any(name.startswith("Access-Control") for name in cors_of(response)), (path, method)
    described = "X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Uri: /x\r\n"
    asked = await house.ask("/oauth2/auth", fields=described + asking(PORTAL))
    assert (asked.status, set(cors_of(asked))) == (401, set())
    assert house.upstream.requests == []
    assert cors_of(await house.ask("/x", app="api", fields=asking(PORTAL))) == {}


async def test_the_connection_goes_on_after_a_preflight(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"cors_preflight": CORS, "public": ["GET /open/**"]}})
    wire = await Wire.open(house.port)
    for _ in range(2):
        await wire.send(f"OPTIONS /open/x HTTP/1.1\r\nHost: {house.host()}\r\n{asking(PORTAL, 'GET')}\r\n".encode())
        assert (await wire.response()).status == 204
        await wire.send(f"GET /open/x HTTP/1.1\r\nHost: {house.host()}\r\nOrigin: {PORTAL}\r\n\r\n".encode())
        answer = await wire.response()
        assert (answer.status, cors_of(answer)) == (200, {})  # the application's own answer stays as it is
    await wire.close()
