"""Ways past the sign-in that others were caught with."""

import pytest

from tests.fakes.house import BROWSER
from tests.flows.conftest import OpenHouse

APPS = {
    "portal": {
        "public": ["GET /public/**", "GET /foo/*/bar"],
        "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}],
    }
}


@pytest.mark.parametrize(
    "field",
    [
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Path",
        "X-Envoy-Original-Path",
        "X_Original_URL",
        "X-Forwarded-Prefix",
    ],
)
async def test_a_header_cannot_name_another_path(open_house: OpenHouse, field: str) -> None:
    """C-01: neither for us, trusted peer or not, nor for the upstream."""
    for trusted in ([], ["127.0.0.1/32"]):
        house = await open_house(apps=APPS, trusted_proxies=trusted)
        assert (await house.ask("/admin", fields=f"{field}: /public/x\r\n")).status == 401
        cookie = await house.session()
        assert (await house.ask("/admin", fields=f"{field}: /public/x\r\n", cookie=cookie)).status == 403
        assert house.upstream.requests == []
        await house.ask("/public/x", fields=f"{field}: /admin\r\n")
        assert b"/admin" not in house.upstream.requests[0].head


@pytest.mark.parametrize("agent", ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "Prometheus/2"])
async def test_a_user_agent_opens_nothing(open_house: OpenHouse, agent: str) -> None:
    """C-02."""
    house = await open_house(apps=APPS)
    assert (await house.ask("/admin", fields=f"User-Agent: {agent}\r\n")).status == 401
    assert house.upstream.requests == []


@pytest.mark.parametrize(
    "target",
    ["/admin/x?path=/public/y", "/admin?/public/", "/admin%3f/public/", "/admin/public/x", "/publicity", "/public", "/publi%63ity", "/foo/secret%23/bar", "/foo/a/b/bar"],
)  # fmt: skip
async def test_only_the_whole_path_opens_a_public_route(open_house: OpenHouse, target: str) -> None:
    """C-03, C-04, C-05."""
    house = await open_house(apps=APPS)
    response = await house.ask(target)
    if target == "/public":
        assert response.status == 200  # X/** includes X
    else:
        assert response.status in (400, 401)
        assert house.upstream.requests == []


@pytest.mark.parametrize("target", ["/public#/../admin", "/admin#/public/", "/public/#"])
async def test_a_raw_fragment_is_400(open_house: OpenHouse, target: str) -> None:
    """C-04."""
    house = await open_house(apps=APPS)
    assert (await house.ask(target)).status == 400
    assert house.upstream.requests == []


@pytest.mark.parametrize(
    "fields",
    ["Authorization: Bearer junk\r\n", "Cookie: session=junk\r\n", "Cookie: doorward_session=" + "A" * 43 + "\r\n", "Cookie: doorward_session=\r\n", "Cookie: doorward_session=" + "x" * 50_000 + "\r\n", "Cookie: ;;;=;==\r\n"],
)  # fmt: skip
async def test_a_credential_proves_nothing_by_being_there(open_house: OpenHouse, fields: str) -> None:
    """C-07, C-47, C-50."""
    house = await open_house(apps=APPS)
    assert (await house.ask("/x?access_token=junk", fields=fields)).status == 401
    assert house.upstream.requests == []


async def test_a_session_of_one_app_is_none_on_the_other(open_house: OpenHouse) -> None:
    """C-09."""
    house = await open_house(
        apps={"portal": {}, "dashboard": {"surface": "dashboard", "require": {"groups": ["staff"]}}}
    )
    cookie = await house.session(groups=("staff",))
    assert (await house.ask("/", cookie=cookie)).status == 200
    for _ in range(2):
        assert (await house.ask("/", app="dashboard", cookie=cookie)).status == 401
    member = await house.session("dashboard", groups=("member",))
    assert (await house.ask("/", app="dashboard", cookie=member)).status == 403
    assert house.upstreams["dashboard"].requests == []


async def test_a_role_header_of_the_client_decides_nothing(open_house: OpenHouse) -> None:
    """C-15."""
    house = await open_house(apps=APPS)
    cookie = await house.session(groups=("member",))
    for fields in (
        "X-Forwarded-Groups: staff\r\n",
        "X-Forwarded-Groups: member\r\nX-Forwarded-Groups: staff\r\n",
        "X-Forwarded-Groups: member,staff\r\n",
    ):
        assert (await house.ask("/admin", cookie=cookie, fields=fields)).status == 403
    assert house.upstream.requests == []


async def test_a_client_cannot_say_which_scheme_or_host_we_are(open_house: OpenHouse) -> None:
    """C-16, C-17."""
    house = await open_house(apps=APPS)
    said = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 80@evil\r\nForwarded: host=evil.example;proto=https\r\n"
    response = await house.ask("/", fields=said)
    assert b"evil" not in response.body + response.head
    assert b"http://" + house.host().encode() in response.body


async def test_nothing_of_the_protected_page_is_in_an_answer_to_a_stranger(open_house: OpenHouse) -> None:
    """C-24, C-39."""
    house = await open_house(apps=APPS)
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
        for fields in ("", BROWSER):
            response = await house.ask("/secret", method=method, fields=fields)
            assert response.status in (302, 303, 401, 503)
            assert b"you asked for" not in response.body
            assert response.value("cache-control") == "no-store"
    assert house.upstream.requests == []


async def test_a_page_of_ours_is_made_here_and_no_other_service_is_asked_for_it(open_house: OpenHouse) -> None:
    """C-22: no cookie, no credential leaves for an error page."""
    house = await open_house(apps=APPS)
    cookie = await house.session(groups=("member",))
    for target, status in (("/admin", 403), ("/oauth2/nothing", 404), ("/%00", 400)):
        response = await house.ask(target, cookie=cookie, fields=BROWSER + "Authorization: Bearer secret\r\n")
        assert response.status == status
        assert b"http" not in response.body.replace(b"http://" + house.host().encode(), b"").replace(b"http-equiv", b"")
    assert house.upstream.requests == []


async def test_our_own_paths_never_reach_an_upstream_in_any_spelling(open_house: OpenHouse) -> None:
    """C-23."""
    house = await open_house(apps={"portal": {"unauthenticated": "pass", "public": ["* /**"]}})
    for target in (
        "/oauth2", "/oauth2/x", "/OAUTH2/userinfo", "/oauth2/%75serinfo", "/x/../oauth2/y", "//oauth2/y", "/oauth2;a=1/x", "/oauth2./x", "/oauth2/auth",
        "/.well-known/doorward/jwks.json", "/%6fauth2/y", "/oauth2%20/x",
    ):  # fmt: skip
        response = await house.ask(target, cookie=await house.session())
        assert response.status in (200, 400, 401, 403, 404), target
    assert house.upstream.requests == []


async def test_a_method_override_is_judged_and_not_forwarded(open_house: OpenHouse) -> None:
    """B-35."""
    house = await open_house(
        apps={"portal": {"rules": [{"match": ["DELETE /items/**"], "require": {"groups": ["staff"]}}]}}
    )
    cookie = await house.session()
    assert (await house.ask("/items/1", cookie=cookie, method="DELETE")).status == 403
    assert (await house.ask("/items/1?_method=DELETE", cookie=cookie, method="POST", body=b"")).status == 403
    assert (
        await house.ask("/items/1", cookie=cookie, method="POST", body=b"", fields="X-HTTP-Method-Override: DELETE\r\n")
    ).status == 200
    assert [request.line.split()[0] for request in house.upstream.requests] == [b"POST"]
    assert house.upstream.requests[0].values("x-http-method-override") == []
