"""A client that describes its own request to the proxy in front, in a style that this proxy does not use and therefore does not overwrite."""

import json
from typing import Any

import pytest

from tests.fakes.house import House
from tests.fakes.wire import WireResponse
from tests.flows.conftest import OpenHouse

APPS: dict[str, dict[str, Any]] = {
    "portal": {
        "public": ["GET /public/**"],
        "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
        "password_routes": ["nexudus"],
    },
    "dashboard": {"surface": "dashboard", "require": {"groups": ["staff"]}},
}
#: What each proxy says of itself.
STYLES = {
    "nginx": "X-Original-Method: {method}\r\nX-Original-URI: {uri}\r\n",
    "ingress-nginx": "X-Original-Method: {method}\r\nX-Original-URL: http://{host}{uri}\r\n",
    "traefik": "X-Forwarded-Method: {method}\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {uri}\r\n",
}
URIS = (
    "X-Forwarded-Uri: /public/x\r\n",
    "X-Original-URI: /public/x\r\n",
    "X-Original-URL: http://{host}/public/x\r\n",
    "X-Original-URL: http://{host}/public/x#\r\n",
    "X-Original-URL: /public/x\r\n",
)


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(apps=APPS, trusted_proxies=["127.0.0.0/8"], openid={"prevent_password_login": True})


async def ask(
    house: House, style: str, uri: str, *, method: str = "GET", app: str = "portal", injected: str = "", cookie: str | None = None
) -> WireResponse:  # fmt: skip
    said = STYLES[style].format(method=method, uri=uri, host=house.host(app))
    names = {line.partition(":")[0].lower() for line in said.split("\r\n")}
    added = [line for line in injected.split("\r\n") if line and line.partition(":")[0].lower() not in names]
    return await house.ask(
        "/oauth2/auth", app=app, cookie=cookie, fields=said + "".join(f"{line}\r\n" for line in added)
    )


@pytest.mark.parametrize("style", STYLES)
async def test_a_client_cannot_have_another_path_judged_than_the_proxy_asks_about(house: House, style: str) -> None:
    """C-01: the fields of the other styles come from the client, and nothing tells that by looking at one of them."""
    member = await house.session(groups=("member",))
    for injected in URIS:
        for cookie in (None, member):
            text = injected.format(host=house.host())
            response = await ask(house, style, "/admin/x", injected=text, cookie=cookie)
            assert response.status in (401, 403), (injected, response.status)
    assert (await ask(house, style, "/public/x")).status == 202


@pytest.mark.parametrize("style", ["nginx", "ingress-nginx"])
async def test_a_client_cannot_have_its_request_judged_as_one_to_another_app(house: House, style: str) -> None:
    """C-01, C-09: the portal's session, sent by hand to the dashboard."""
    portal = await house.session(groups=("staff",))
    for name in ("X-Forwarded-Host", "X-Original-Host"):
        injected = f"{name}: {house.host('portal')}\r\n"
        response = await ask(house, style, "/", app="dashboard", injected=injected, cookie=portal)
        assert response.status in (401, 403), name
    mine = await house.session("dashboard", groups=("staff",))
    agreeing = f"X-Forwarded-Host: {house.host('dashboard')}\r\nX-Forwarded-Uri: /\r\n"
    assert (await ask(house, style, "/", app="dashboard", injected=agreeing, cookie=mine)).status == 202


@pytest.mark.parametrize("style", STYLES)
async def test_a_client_cannot_have_another_method_judged(house: House, style: str) -> None:
    """C-01, B-35."""
    for injected in ("X-Forwarded-Method: GET\r\n", "X-Original-Method: GET\r\n"):
        response = await ask(house, style, "/public/x", method="DELETE", injected=injected)
        assert response.status in (401, 403)


@pytest.mark.parametrize(
    ("style", "injected"),
    [
        ("nginx", "X-Forwarded-Uri: /public/y"), ("nginx", "X-Original-URL: http://{host}/public/y"), ("nginx", "X-Forwarded-Host: {other}"),
        ("nginx", "X-Original-Host: {other}"), ("nginx", "X-Original-URL: http://{other}/public/x"), ("nginx", "X-Forwarded-Method: POST"),
        ("ingress-nginx", "X-Forwarded-Uri: /public/y"), ("ingress-nginx", "X-Original-URI: /public/y"), ("ingress-nginx", "X-Forwarded-Host: {other}"),
        ("ingress-nginx", "X-Original-Host: {other}"), ("ingress-nginx", "X-Forwarded-Method: POST"),
        ("traefik", "X-Original-URI: /public/y"), ("traefik", "X-Original-URL: http://{host}/public/y"), ("traefik", "X-Original-Host: {other}"),
        ("traefik", "X-Original-URL: http://{other}/public/x"), ("traefik", "X-Original-Method: POST"),
    ],
)  # fmt: skip
async def test_what_is_said_twice_and_differently_is_refused(house: House, style: str, injected: str) -> None:
    """C-01: which of the two the proxy said, nobody can tell; so neither is believed, though either by itself would be answered."""
    line = injected.format(host=house.host(), other=house.host("dashboard"))
    assert (await ask(house, style, "/public/x")).status == 202
    refused = await ask(house, style, "/public/x", injected=line)
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "forward_auth_refused")


async def test_an_original_url_is_read_as_it_stands(house: House) -> None:
    """C-04, C-11: nothing is cut off, dropped or joined before it is judged."""
    for uri in ("/public/x#/../admin", "//public/x#", "/public/x#"):
        assert (await ask(house, "ingress-nginx", uri)).status == 403
    for url in (f"http://{house.host()}", f"http://{house.host()}?x=1"):
        fields = f"X-Original-Method: GET\r\nX-Original-URL: {url}\r\n"
        assert (await house.ask("/oauth2/auth", fields=fields, cookie=await house.session())).status == 202
    for url in (
        "http://",
        "http:///public/x",
        f"ftp://{house.host()}/public/x",
        "http://[::1/public/x",
        f"http://a@{house.host()}/public/x",
    ):
        fields = f"X-Original-Method: GET\r\nX-Original-URL: {url}\r\n"
        assert (await house.ask("/oauth2/auth", fields=fields)).status == 403, url


async def test_what_is_refused_is_told_like_everywhere_else(house: House) -> None:
    """An attack on a site behind forward-auth is seen in the events of the app that was attacked."""
    member = await house.session("dashboard", groups=("member",))
    assert (await ask(house, "nginx", "/admin", app="dashboard", cookie=member)).status == 403
    assert (await ask(house, "traefik", "/api/token", method="POST")).status == 403
    events = [json.loads(line) for line in house.lines if b'"event"' in line]
    assert [(event["event"], event["app"], event["rule"]) for event in events] == [
        ("access.denied", "dashboard", "require"),
        ("route.blocked", "portal", "nexudus: * /api/token"),
    ]
    assert events[0]["session"]
