"""`/oauth2/auth`: the gate's answer for another proxy, which forwards the request itself."""

import json
from typing import Any

import pytest

from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

APPS: dict[str, dict[str, Any]] = {
    "portal": {
        "public": ["GET /assets/**"],
        "password_routes": ["nexudus"],
        "headers": {"X-Who": "{email}"},
        "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}, {"match": ["* /keys"], "acr": ["mfa"]}],
    },
    "dashboard": {"surface": "dashboard", "require": {"groups": ["staff"]}},
}
TRUSTING = {"apps": APPS, "trusted_proxies": ["127.0.0.0/8"], "openid": {"prevent_password_login": True}}


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(**TRUSTING)


#: How each proxy describes the request that it asks about: method, host and path with query.
STYLES = {
    "traefik": "X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {uri}\r\nX-Forwarded-For: 192.0.2.7\r\n",
    "nginx": "X-Original-Method: {method}\r\nX-Original-URI: {uri}\r\n",
    "ingress-nginx": "X-Original-Method: {method}\r\nX-Original-URL: http://{host}{uri}\r\n",
    "caddy": "X-Forwarded-Method: {method}\r\nX-Forwarded-Uri: {uri}\r\nX-Forwarded-Host: {host}\r\n",
}


async def ask(
    house: House, uri: str, *, style: str = "traefik", method: str = "GET", app: str = "portal", cookie: str | None = None, fields: str = ""
) -> WireResponse:  # fmt: skip
    described = STYLES[style].format(method=method, host=house.host(app), uri=uri)
    # nginx asks under the host that it was asked under; the others may use any host that is ours.
    asked = app if style == "nginx" else "portal"
    return await house.ask("/oauth2/auth", app=asked, cookie=cookie, fields=described + fields)


def code(response: WireResponse) -> str:
    found: str = json.loads(response.body)["code"]
    return found


@pytest.mark.parametrize("style", STYLES)
async def test_each_proxy_gets_202_with_the_identity_401_or_403(house: House, style: str) -> None:
    mia, ada = await house.session(email="mia@example.com"), await house.session(groups=("staff",))
    permitted = await ask(house, "/bookings?x=1", style=style, cookie=mia, fields="X-Forwarded-User: admin\r\n")
    assert permitted.status == 202
    assert permitted.values("x-forwarded-user") == ["bob"]
    assert permitted.values("x-forwarded-email") == ["mia@example.com"]
    assert permitted.values("x-who") == ["mia@example.com"]
    assert permitted.value("x-doorward-jwt-assertion") is not None
    assert permitted.body == b""
    for method in ("GET", "POST", "DELETE"):
        stranger = await ask(house, "/bookings", style=style, method=method)
        assert (stranger.status, code(stranger)) == (401, "login_required")
        assert json.loads(stranger.body)["sign_in_url"] == house.origin() + "/oauth2/start"
    member = await ask(house, "/admin/x", style=style, cookie=mia)
    assert (member.status, code(member)) == (403, "access_denied")
    assert (await ask(house, "/admin/x", style=style, cookie=ada)).status == 202
    assert all(not upstream.requests for upstream in house.upstreams.values())


async def test_a_public_route_is_202_without_an_identity(house: House) -> None:
    response = await ask(house, "/assets/x.css", cookie=await house.session())
    assert response.status == 202
    assert response.values("x-forwarded-user") == []


async def test_a_browser_that_must_sign_in_gets_401_and_never_a_redirect(house: House) -> None:
    """The proxy in front sends it to `/oauth2/start`."""
    response = await ask(house, "/bookings", fields=BROWSER)
    assert response.status == 401
    assert response.value("location") is None
    step_up = await ask(house, "/keys", cookie=await house.session(acr="password"))
    assert (step_up.status, code(step_up)) == (401, "insufficient_user_authentication")
    assert json.loads(step_up.body)["acr_values"] == "mfa"


async def test_peers_that_are_not_trusted_are_refused_whatever_they_say(open_house: OpenHouse) -> None:
    """C-01: no way to ask about one page and get another."""
    house = await open_house(apps=APPS)
    cookie = await house.session(groups=("staff",))
    for style in STYLES:
        response = await ask(house, "/assets/x.css", style=style, cookie=cookie)
        assert (response.status, code(response)) == (403, "untrusted_peer")
    assert (await house.ask("/oauth2/auth", cookie=cookie)).status == 403


async def test_the_session_of_one_host_says_nothing_about_another(house: House) -> None:
    """C-09."""
    portal = await house.session(groups=("staff",))
    assert (await ask(house, "/", app="dashboard", cookie=portal)).status == 401
    dashboard = await house.session("dashboard", groups=("staff",))
    assert (await ask(house, "/", app="dashboard", cookie=dashboard)).status == 202
    response = await ask(house, "/", cookie=None, fields="X-Forwarded-Host: evil.example\r\n")
    assert response.status == 400  # said twice


async def test_an_unknown_host_is_nobodys(house: House) -> None:
    """C-13."""
    fields = "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\nX-Forwarded-Host: evil.example\r\n"
    response = await house.ask("/oauth2/auth", cookie=await house.session(), fields=fields)
    assert response.status in (403, 421)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_password_door_is_shut_and_one_that_needs_the_body_too(house: House, method: str) -> None:
    """C-12: what cannot be judged here stays shut, with a session too."""
    for cookie in (None, await house.session()):
        for uri in ("/api/token", "/LOGIN;x", "/api/sys/users/validate"):
            response = await ask(
                house, uri, method=method, cookie=cookie, fields="Content-Type: application/x-www-form-urlencoded\r\n"
            )
            assert response.status in (401, 403), uri
            if method == "POST":
                assert (response.status, code(response)) == (403, "password_login_disabled")
    basic = await ask(house, "/bookings", cookie=await house.session(), fields="Authorization: Basic YTpi\r\n")
    assert (basic.status, code(basic)) == (403, "password_login_disabled")


@pytest.mark.parametrize(
    "uri",
    [
        "/public/..%2fadmin",
        "/x#/assets/",
        "/x%00",
        "//evil.example/..%5cadmin",
        "/%252e%252e/admin",
        "admin",
        "http://a/b",
    ],
)
async def test_a_uri_that_can_be_read_in_two_ways_is_refused(house: House, uri: str) -> None:
    """C-10."""
    assert (await ask(house, uri, cookie=await house.session(groups=("staff",)))).status in (400, 403)


async def test_our_own_paths_are_not_for_an_upstream(house: House) -> None:
    """C-23."""
    response = await ask(house, "/oauth2/userinfo", cookie=await house.session())
    assert response.status == 403


async def test_the_connection_is_kept_over_every_kind_of_answer(house: House) -> None:
    cookie = await house.session()
    wire = await Wire.open(house.port)
    for number in range(30):
        uri, given = (("/x", f"Cookie: {cookie}\r\n"), ("/x", ""), ("/admin/x", f"Cookie: {cookie}\r\n"))[number % 3]
        described = STYLES["nginx"].format(method="GET", host=house.host(), uri=uri)
        await wire.send(f"GET /oauth2/auth HTTP/1.1\r\nHost: {house.host()}\r\n{described}{given}\r\n".encode())
        response = await wire.response()
        assert response.status == (202, 401, 403)[number % 3]
        assert response.value("connection") != "close"
    await wire.close()


async def test_people_who_came_in_through_the_provider_are_answered_for(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, **TRUSTING)
    browser = house.browser()
    for person, status in ((MIA["sub"], 403), (ADA["sub"], 202)):
        page = await browser.open(house.origin("dashboard") + "/oauth2/start?prompt=login")
        await house.choose(browser, page, person)
        cookie = browser.jar.named("doorward_session", "dashboard.localhost")
        assert cookie is not None
        assert (await ask(house, "/", app="dashboard", cookie=f"doorward_session={cookie.value}")).status == status


async def test_an_app_whose_rules_need_the_method_refuses_to_guess_it(house: House, open_house: OpenHouse) -> None:
    """C-01, B-35."""
    described = f"X-Forwarded-Host: {house.host()}\r\nX-Forwarded-Uri: /bookings\r\n"
    cookie = await house.session()
    assert (await house.ask("/oauth2/auth", cookie=cookie, fields=described)).status == 400
    plain = await open_house(trusted_proxies=["127.0.0.0/8"])
    described = f"X-Forwarded-Host: {plain.host()}\r\nX-Forwarded-Uri: /bookings\r\n"
    assert (await plain.ask("/oauth2/auth", cookie=await plain.session(), fields=described)).status == 202
