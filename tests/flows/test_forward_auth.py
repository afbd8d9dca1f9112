"""`/oauth2/auth`: the gate's answer for another proxy, which forwards the request itself."""

import json
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

APPS: dict[str, dict[str, Any]] = {
    "portal": {
        "public": ["GET /assets/**"],
        "forward_auth_cookies": True,
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
        assert json.loads(stranger.body)["sign_in_url"] == house.origin() + "/oauth2/start" + (
            "?rd=/bookings" if method == "GET" else ""
        )
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
    assert (response.status, code(response)) == (403, "forward_auth_refused")  # said twice


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
    assert (await ask(house, uri, cookie=await house.session(groups=("staff",)))).status == 403


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
    refused = await house.ask("/oauth2/auth", cookie=cookie, fields=described)
    assert (refused.status, code(refused)) == (403, "forward_auth_refused")
    plain = await open_house(trusted_proxies=["127.0.0.0/8"])
    described = f"X-Forwarded-Host: {plain.host()}\r\nX-Forwarded-Uri: /bookings\r\n"
    assert (await plain.ask("/oauth2/auth", cookie=await plain.session(), fields=described)).status == 202


QUESTION = "GET /oauth2/auth{query} HTTP/1.1\r\nHost: {asked}\r\n{fields}\r\n"
#: A question under Doorward's own address; only what it describes names the app.
ELSEWHERE = {
    "traefik": STYLES["traefik"],
    "ingress-nginx": STYLES["ingress-nginx"],
    "nginx": STYLES["nginx"] + "X-Forwarded-Host: {host}\r\n",
    "caddy": STYLES["caddy"],
}


@pytest.mark.parametrize("style", ELSEWHERE)
async def test_the_described_host_names_the_app_whatever_host_the_question_came_under(house: House, style: str) -> None:
    """C-09: and so does the session's."""
    portal, dashboard = await house.session(), await house.session("dashboard", groups=("staff",))
    wire = await Wire.open(house.port)
    for asked in ("10.0.0.7:4180", "doorward", house.host("portal") if style != "nginx" else "doorward:80"):
        for cookie, app, status in (
            (portal, "portal", 202), (dashboard, "dashboard", 202), (portal, "dashboard", 401), (dashboard, "portal", 401)
        ):  # fmt: skip
            fields = ELSEWHERE[style].format(method="GET", host=house.host(app), uri="/x") + f"Cookie: {cookie}\r\n"
            await wire.send(QUESTION.format(query="", asked=asked, fields=fields).encode())
            response = await wire.response()
            assert response.status == status, (asked, app)
            assert response.values("x-forwarded-user") == (["bob"] if status == 202 else [])
    await wire.close()


async def test_a_question_under_another_host_opens_no_app_under_that_host(house: House) -> None:
    """C-13: the same connection, the same fields, another target."""
    fields = ELSEWHERE["traefik"].format(method="GET", host=house.host(), uri="/x")
    fields += f"Cookie: {await house.session()}\r\n"
    wire = await Wire.open(house.port)
    for target, status in (("/oauth2/auth", 202), ("/x", 421), ("/oauth2/auth", 202), ("/oauth2/userinfo", 421)):
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: doorward:4180\r\n{fields}\r\n".encode())
        assert (await wire.response()).status == status, target
    await wire.close()
    assert not house.upstream.requests


async def test_a_question_about_no_app_is_refused_with_the_reason(house: House, open_house: OpenHouse) -> None:
    """C-13; nginx makes 500 of any status but 401 and 403."""
    for described, reason in (
        ("X-Original-URI: /\r\n", "forward-auth without the original host"),
        ("X-Forwarded-Host: evil.example\r\nX-Forwarded-Uri: /\r\n", "no app has the host evil.example"),
        (f"X-Forwarded-Host: {house.host()}\r\n", "forward-auth without the original URI"),
    ):
        refused = await house.raw(QUESTION.format(query="", asked="doorward", fields=described).encode())
        assert (refused.status, json.loads(refused.body)["reason"]) == (403, reason)
    stranger = await open_house(apps=APPS)
    fields = ELSEWHERE["traefik"].format(method="GET", host=stranger.host(), uri="/assets/x")
    refused = await stranger.raw(QUESTION.format(query="", asked="doorward", fields=fields).encode())
    assert refused.status == 421


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("allowed_groups=staff", 202), ("allowed_groups=admins,staff", 202), ("allowed_groups=admins", 403), ("allowed_groups=Staff", 403),
        ("allowed_emails=a@b.c,MIA@example.com", 202), ("allowed_emails=bob@example.com", 403), ("allowed_email_domains=example.com", 202),
        ("allowed_email_domains=example.org,example.net", 403), ("allowed_groups=staff&allowed_email_domains=example.com", 202),
        ("allowed_groups=staff&allowed_email_domains=example.org", 403), ("allowed_groups=admins&allowed_email_domains=example.com", 403),
        ("allowed_groups=staff&allowed_groups=admins", 403), ("allowed_groups=a%2Cstaff", 202),
    ],
)  # fmt: skip
async def test_a_query_narrows_who_is_let_in(house: House, query: str, status: int) -> None:
    mia = await house.session(email="mia@example.com", groups=("staff", "members"))
    described = STYLES["traefik"].format(method="GET", host=house.host(), uri="/bookings")
    response = await house.ask(f"/oauth2/auth?{query}", cookie=mia, fields=described)
    assert response.status == status
    if status == 403:
        assert code(response) == "access_denied"
        events = [json.loads(line) for line in b"".join(house.lines).splitlines() if b"access.denied" in line]
        assert [event["rule"] for event in events][-1] in query
    assert (await house.ask(f"/oauth2/auth?{query}", fields=described)).status == 401


async def test_a_query_opens_nothing(house: House, open_house: OpenHouse) -> None:
    """It adds to the rules; a page that is public to all is not so to the proxy that asks for a group."""
    staff = await house.session(groups=("staff",))
    for uri, cookie, status in (
        ("/admin/x", await house.session(groups=("members",)), 403), ("/admin/x", staff, 202), ("/assets/x", None, 401), ("/assets/x", staff, 202),
        ("/assets/x", await house.session(), 403), ("/api/token", staff, 403),
    ):  # fmt: skip
        described = STYLES["traefik"].format(method="GET", host=house.host(), uri=uri)
        response = await house.ask("/oauth2/auth?allowed_groups=members,staff", cookie=cookie, fields=described)
        assert response.status == status, uri
    off = await open_house(trusted_proxies=["127.0.0.0/8"], openid={"enabled": False})
    described = STYLES["traefik"].format(method="GET", host=off.host(), uri="/")
    assert (await off.ask("/oauth2/auth", fields=described)).status == 202
    closed = await off.ask("/oauth2/auth?allowed_groups=staff", fields=described)
    assert (closed.status, code(closed)) == (403, "sign_in_disabled")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("allowed_groups=", "allowed_groups"), ("allowed_groups=a,", "allowed_groups"), ("allowed_groups", "cannot be read"),
        ("allowed_email=a@b.c", "'allowed_email'"), ("Allowed_Groups=a", "'Allowed_Groups'"), ("rd=/", "'rd'"),
        ("allowed_emails=example.com", "allowed_emails"), ("allowed_email_domains=*.example.com", "allowed_email_domains"),
        ("allowed_groups=%ff", "cannot be read"), ("allowed_groups=a&allowed_roles=b", "'allowed_roles'"), ("allowed_groups=%0d%0ax", "allowed_groups"),
    ],
)  # fmt: skip
async def test_any_other_query_is_refused_with_the_reason_in_body_and_log(
    house: House, caplog: pytest.LogCaptureFixture, query: str, named: str
) -> None:
    """C-21: what is ignored lets in more people than its author means."""
    described = STYLES["traefik"].format(method="GET", host=house.host(), uri="/assets/x")
    for cookie in (None, await house.session(groups=("a", "b"))):
        with caplog.at_level("INFO", "doorward"):
            refused = await house.ask(f"/oauth2/auth?{query}", cookie=cookie, fields=described)
        assert (refused.status, code(refused)) == (403, "forward_auth_refused")
        assert named in json.loads(refused.body)["reason"]
        assert named in caplog.text


@pytest.mark.parametrize("uri", ["/bookings?a=1&b=2", "/x?q=a%26b", "/x?rd=/admin&prompt=login", "/caf%C3%A9?%20"])
async def test_a_401_names_the_sign_in_that_ends_on_the_page(house: House, uri: str) -> None:
    response = await ask(house, uri)
    found = json.loads(response.body)["sign_in_url"]
    url = urlsplit(found)
    assert (response.status, url.path, parse_qs(url.query)) == (401, "/oauth2/start", {"rd": [uri]})
    page = await ask(house, uri, fields=BROWSER)
    assert (page.status, escape(found) in page.body.decode()) == (401, True)
    sent = f"Sec-Fetch-Mode: cors\r\nReferer: {house.origin()}/list?page=2\r\n"
    for method, there in (("GET", "/list?page=2"), ("POST", "/list?page=2")):
        response = await ask(house, uri, method=method, fields=sent)
        assert parse_qs(urlsplit(json.loads(response.body)["sign_in_url"]).query) == {"rd": [there]}


async def about(
    house: House, target: str, *, method: str = "GET", cookie: str | None = None, fields: str = ""
) -> WireResponse:
    """Envoy's question: the request itself, behind a longer path."""
    return await house.ask("/oauth2/auth" + target, method=method, cookie=cookie, fields=fields)


async def test_envoy_is_answered_about_the_request_behind_the_path(house: House) -> None:
    """It takes 200 alone for an admission, and hands any other response to the browser."""
    mia, ada = await house.session(email="mia@example.com"), await house.session(groups=("staff",))
    for target, method, cookie, status in (
        ("/bookings?x=1", "GET", mia, 200), ("/admin/x", "GET", mia, 403), ("/admin/x", "DELETE", ada, 200), ("/bookings", "GET", None, 401),
        ("/assets/x", "GET", None, 200), ("/api/token", "POST", ada, 403), ("/bookings?allowed_groups=x&rd=/", "POST", mia, 200), ("/", "HEAD", mia, 200),
        ("/oauth2/userinfo", "GET", mia, 403),
    ):  # fmt: skip
        response = await about(house, target, method=method, cookie=cookie)
        assert response.status == status, (method, target)
        assert (
            response.values("x-who") == (["mia@example.com"] if status == 200 and cookie == mia else [])
            or cookie == ada
        )
    page = await about(house, "/bookings?a=1&b=2", fields=BROWSER)
    assert (page.status, page.value("location")) == (302, house.origin() + "/oauth2/start?rd=/bookings%3Fa%3D1%26b%3D2")
    assert all(not upstream.requests for upstream in house.upstreams.values())


@pytest.mark.parametrize(
    "target",
    ["/../assets/x", "/../../assets/x", "/..", "/x/../../../assets/x", "/%2e%2e/userinfo", "/../userinfo", "/..;/userinfo"],
)  # fmt: skip
async def test_no_path_makes_a_question_the_request_itself(house: House, target: str) -> None:
    """C-01: Envoy would take any 200 for an admission, that of an application or of a page of ours too."""
    for cookie in (None, await house.session(groups=("staff",))):
        response = await about(house, target, cookie=cookie, fields=BROWSER)
        assert (response.status, response.value("location")) in ((400, None), (403, None))
    assert all(not upstream.requests for upstream in house.upstreams.values())


async def test_what_follows_the_path_cannot_be_outvoted(house: House, open_house: OpenHouse) -> None:
    """C-01: Envoy passes on the fields of a client, as the recipe has it."""
    member = await house.session()
    for injected in (
        "X-Forwarded-Uri: /assets/x", "X-Original-URI: /assets/x", f"X-Original-URL: http://{house.host()}/assets/x", "X-Forwarded-Method: POST",
        "X-Original-Method: HEAD", f"X-Forwarded-Host: {house.host('dashboard')}", f"X-Original-Host: {house.host('dashboard')}",
    ):  # fmt: skip
        refused = await about(house, "/admin/x", cookie=member, fields=injected + "\r\n")
        assert (refused.status, code(refused)) == (403, "forward_auth_refused"), injected
    stranger = await open_house(apps=APPS)
    assert code(await about(stranger, "/assets/x")) == "untrusted_peer"


async def test_the_answer_has_the_cookies_that_may_travel(house: House) -> None:
    """C-35: the other proxy puts them in the place of the client's."""
    session = await house.session()
    for sent, travels in (
        (f"a=1; {session}; b=2", ["a=1; b=2"]),
        (session, [""]),
        (f"{session}; doorward_login_x=1", [""]),
    ):
        answer = await ask(house, "/bookings", cookie=sent)
        assert (answer.status, answer.values("cookie")) == (202, travels)
    assert (await ask(house, "/assets/x")).values("cookie") == []
    staff = await house.session("dashboard", groups=("staff",))
    unasked = await ask(house, "/", app="dashboard", cookie=f"a=1; {staff}")  # an app without forward_auth_cookies
    assert (unasked.status, unasked.values("cookie")) == (202, [])


@pytest.mark.parametrize(
    "target",
    ["/oauth2/%61uth", "/oauth2//auth", "/OAUTH2/auth", "/oauth2/./auth", "/oauth2/auth;x", "/x/../oauth2/auth"],
)
async def test_a_question_has_one_spelling(house: House, target: str) -> None:
    """C-23: the proxy that lets no visitor ask knows this one."""
    described = STYLES["traefik"].format(method="GET", host=house.host(), uri="/x")
    answer = await house.ask(target, cookie=await house.session(), fields=described)
    assert (answer.status, answer.values("x-forwarded-user")) in ((404, []), (400, []), (403, []))


async def test_a_handshake_is_asked_about_with_its_upgrade(house: House) -> None:
    """Caddy passes it on in its question."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    assert (await ask(house, "/live", cookie=await house.session(), fields=upgrade)).status == 202
    assert (await ask(house, "/live", fields=upgrade)).status == 401
    assert (await ask(house, "/assets/x", fields=upgrade)).status == 401  # C-19


NAMES = {
    "doorward": ("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Name"),
    "oauth2-proxy": ("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups"),
}


@pytest.mark.parametrize("names", ["doorward", "oauth2-proxy", "both"])
async def test_an_app_chooses_the_names_of_the_identity_fields(open_house: OpenHouse, names: str) -> None:
    """C-30: for what is forwarded and for forward-auth alike; a client's are gone under each name, whatever is chosen."""
    house = await open_house(apps={"portal": {"header_names": names}}, trusted_proxies=["127.0.0.0/8"])
    cookie = await house.session(groups=("a", "b"))
    every = [
        *NAMES["doorward"],
        *NAMES["oauth2-proxy"],
        "X-Auth-Request-Preferred-Username",
        "X-Auth-Request-Access-Token",
    ]
    chosen = {name for style in NAMES if names in (style, "both") for name in NAMES[style]}
    forged = "".join(f"{name}: forged\r\n{name.replace('-', '_')}: forged\r\n" for name in every)
    assert (await house.ask("/x", cookie=cookie, fields=forged.replace("X_", "Y_"))).status == 200
    request = house.upstream.requests[-1]
    answer = await ask(house, "/x", cookie=cookie)
    for name in every:
        value = (
            {"User": "bob", "Email": "bob@example.com", "Groups": "a,b", "Name": "Bob"}[name.rpartition("-")[2]]
            if name in chosen
            else None
        )
        assert request.values(name) == ([] if value is None else [value.encode()]), name
        assert answer.values(name.lower()) == ([] if value is None else [value]), name
    assert answer.value("x-doorward-jwt-assertion") is not None


async def test_a_trusted_proxy_names_where_a_sign_in_ends(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """`X-Auth-Request-Redirect`, as oauth2-proxy has it: nginx's $request_uri stands in it without being escaped."""
    deep = "/bookings?a=1&b=%26&rd=/x&prompt=none"
    for trusted, there in ((["127.0.0.0/8"], deep), ([], "/")):
        house = await open_house(provider=provider, trusted_proxies=trusted)
        for path, expected in (("/oauth2/start", there), ("/oauth2/start?rd=/named", "/named")):
            fields = f"{BROWSER}X-Auth-Request-Redirect: {deep}\r\n"
            begun = await house.ask(path, fields=fields)
            assert begun.status == 302
            events = [json.loads(line) for line in house.lines if b"login.started" in line]
            assert events[-1]["page"] == expected.partition("?")[0]
        elsewhere = await house.ask(
            "/oauth2/start", fields=BROWSER + "X-Auth-Request-Redirect: https://evil.example/\r\n"
        )
        assert json.loads([line for line in house.lines if b"login.started" in line][-1])["page"] == "/"
        assert elsewhere.status == 302
