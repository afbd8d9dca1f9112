"""Who says who somebody is: only the gateway, in any spelling a server could read."""

import asyncio
import json

import pytest

from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import Recorded
from tests.flows.conftest import OpenHouse

OURS = ("USER", "EMAIL", "GROUPS", "PREFERRED_USERNAME", "NAME")


async def test_every_spelling_of_an_identity_header_is_stripped_before_real_servers(
    open_house: OpenHouse, echo_server: str
) -> None:
    """C-30: judged by what WSGI and ASGI applications see, where `_` and `-` are one."""
    house = await open_house(upstreams={"portal": echo_server})
    cookie = await house.session()
    spellings = [
        "X_Forwarded_User: admin", "X-Forwarded_User: admin", "x-FORWARDED-user: admin", "X.Forwarded.User: admin", "X-Forwarded-User:",
        "X-Forwarded-User: admin\r\nX-Forwarded-User: admin2", "X_Forwarded_Email: admin@x", "x_doorward_jwt_assertion: a.b.c", "X-Auth-Request-User: admin",
    ]  # fmt: skip
    for spelling in spellings:
        response = await house.ask("/", cookie=cookie, fields=spelling + "\r\n")
        assert response.status == 200
        names = json.loads(response.body)["names"]
        assert names["HTTP_X_FORWARDED_USER"] == "bob"
        assert names["HTTP_X_FORWARDED_EMAIL"] == "bob@example.com"
        assert "admin" not in json.dumps(names)
        assert not [name for name in names if "AUTH_REQUEST" in name or "." in name]


@pytest.mark.parametrize(
    "field", ["X-Forwarded-User : admin", "X-Forwarded-User\t: admin", "X-A: 1\r\n X-Forwarded-User: admin"]
)
async def test_a_field_name_with_blanks_or_a_fold_is_400(house: House, field: str) -> None:
    """C-30."""
    assert (await house.ask("/", cookie=await house.session(), fields=field + "\r\n")).status == 400
    assert house.upstream.requests == []


async def test_a_person_without_a_claim_has_no_such_header_whoever_sends_one(house: House) -> None:
    """C-31."""
    cookie = await house.session(email=None, name=None)
    await house.ask(
        "/", cookie=cookie, fields="X-Forwarded-Email: admin@x\r\nX-Forwarded-Groups: admin\r\nX-Forwarded-Name: A\r\n"
    )
    request = house.upstream.requests[0]
    assert request.values("x-forwarded-user") == [b"bob"]
    for name in ("x-forwarded-email", "x-forwarded-groups", "x-forwarded-name", "x-forwarded-preferred-username"):
        assert request.values(name) == []


async def test_identity_headers_are_stripped_on_open_routes_preflights_upgrades_and_passes(
    open_house: OpenHouse,
) -> None:
    """C-32, C-18."""
    house = await open_house(
        apps={
            "portal": {"public": ["* /open/**"], "cors_preflight": "pass"},
            "api": {"unauthenticated": "pass", "headers": {"X-Customer": "{email}"}},
        }
    )
    forged = (
        "".join(f"X-Forwarded-{name.title().replace('_', '-')}: admin\r\n" for name in OURS)
        + "X-Customer: admin\r\nX_Portal_Customer: admin\r\n"
    )
    preflight = "Origin: https://evil\r\nAccess-Control-Request-Method: PUT\r\n"
    cookie = await house.session()
    assert (await house.ask("/open/x", fields=forged)).status == 200
    assert (await house.ask("/open/x", fields=forged, cookie=cookie, method="HEAD")).status == 200
    assert (await house.ask("/admin", fields=forged + preflight, method="OPTIONS", cookie=cookie)).status == 200
    assert (await house.ask("/", app="api", fields=forged, method="POST", body=b"x")).status == 200
    requests = house.upstreams["portal"].requests + house.upstreams["api"].requests
    assert len(requests) == 4
    for request in requests:
        assert b"admin\r\n" not in request.head
        assert b"doorward_session" not in request.head


async def test_an_options_request_that_is_no_preflight_needs_a_session(open_house: OpenHouse) -> None:
    """C-18."""
    house = await open_house(apps={"portal": {"cors_preflight": "pass"}})
    assert (await house.ask("/admin", method="OPTIONS", fields="Origin: https://evil\r\n")).status == 401
    assert house.upstream.requests == []


async def test_what_a_client_names_in_connection_takes_nothing_of_ours_away(house: House) -> None:
    """B-48."""
    cookie = await house.session()
    for named in (
        "X-Forwarded-User",
        "x-forwarded-user, x-real-ip",
        "X-Doorward-Jwt-Assertion",
        "x-forwarded-for",
        "X-Request-Id",
    ):
        assert (await house.ask("/", cookie=cookie, fields=f"Connection: close, {named}\r\n")).status == 200
        request = house.upstream.requests[-1]
        assert request.values("x-forwarded-user") == [b"bob"]
        assert request.values("x-real-ip") == [b"127.0.0.1"]
        assert request.values("x-forwarded-for") == [b"127.0.0.1"]
        assert len(request.values("x-doorward-jwt-assertion")) == 1
        assert len(request.values("x-request-id")) == 1
    assert (await house.ask("/", cookie=cookie, fields="Connection: cookie\r\n")).status == 400


async def test_forwarding_headers_are_ours_unless_a_trusted_proxy_says_them(open_house: OpenHouse) -> None:
    """C-16, C-17, C-34."""
    said = (
        "X-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 80@evil\r\nX-Forwarded-Prefix: //evil\r\n"
        'Forwarded: host=evil;proto=https;for="[::1]"\r\nX-Real-IP: 10.9.9.9\r\n'
    )
    house = await open_house()
    await house.ask("/", cookie=await house.session(), fields=said)
    request = house.upstream.requests[0]
    assert request.values("x-forwarded-for") == [b"127.0.0.1"]
    assert request.values("x-forwarded-proto") == [b"http"]
    assert request.values("x-forwarded-host") == [house.host().encode()]
    assert request.values("x-forwarded-port") == [str(house.port).encode()]
    assert request.values("x-real-ip") == [b"127.0.0.1"]
    assert b"evil" not in request.head

    trusting = await open_house(trusted_proxies=["127.0.0.0/8"])
    await trusting.ask("/", cookie=await trusting.session(), fields=said)
    request = trusting.upstream.requests[0]
    assert request.values("x-forwarded-for") == [b"10.9.9.9, 127.0.0.1"]
    assert request.values("x-real-ip") == [b"10.9.9.9"]
    assert request.values("x-forwarded-proto") == [b"http"]
    assert b"evil" not in request.head


async def test_what_other_gateways_say_is_not_believed_of_strangers(open_house: OpenHouse) -> None:
    """C-30, C-31, C-34: an application that was behind another gateway may still believe it."""
    persons = "Proxy: http://evil\r\nRemote-User: admin\r\nRemote_Name: admin\r\nX-WebAuth-User: admin\r\nCf-Access-Jwt-Assertion: x.y.z\r\n"
    places = "True-Client-IP: 10.9.9.9\r\nX-SSL-Client-Verify: SUCCESS\r\n"
    for trusted, vouched, names in (
        ([], [], []),
        (["127.0.0.0/8"], [], []),
        (["127.0.0.0/8"], ["X-SSL-Client-Verify"], [b"x-ssl-client-verify"]),
    ):
        house = await open_house(
            trusted_proxies=trusted, trusted_headers=vouched, apps={"portal": {"public": ["GET /open"]}}
        )
        await house.ask("/open", fields=persons + places)
        await house.ask("/", cookie=await house.session(), fields=persons + places)
        for request in house.upstream.requests:
            sent = [line.partition(b":")[0].lower() for line in request.head.split(b"\r\n")]
            told = (b"proxy", b"remote", b"webauth", b"cf-access", b"true-client", b"x-ssl")
            assert [name for name in sent if any(word in name for word in told)] == names
    own = await open_house(apps={"portal": {"headers": {"Remote-User": "{email}"}}})
    await own.ask("/", cookie=await own.session(), fields=persons)
    assert own.upstream.requests[0].values("remote-user") == [b"bob@example.com"]
    assert b"admin" not in own.upstream.requests[0].head


async def test_our_cookie_is_taken_out_and_the_others_stay_as_they_are(house: House) -> None:
    """C-35."""
    cookie = await house.session()
    for sent, kept in {
        f"a=1; {cookie}; b=2": [b"a=1; b=2"],
        f'{cookie};a="x;y"': [b'a="x;y"'],
        f"$Version=1; {cookie}": [b"$Version=1"],
        cookie: [],
        f"a=1;{cookie};a=2": [b"a=1;a=2"],
        f"doorward_login_1_x=abc; {cookie}; c=3": [b"c=3"],
    }.items():
        assert (await house.ask("/", cookie=sent)).status == 200
        assert house.upstream.requests[-1].values("cookie") == kept


async def test_an_upstream_cannot_set_a_cookie_of_ours(house: House) -> None:
    """C-36."""

    async def planting(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: doorward_session=evil; Path=/\r\nSet-Cookie: __Host-doorward_session=evil\r\n"
            b"Set-Cookie: mine=1; Domain=.example.com\r\nSet-Cookie: DOORWARD_SESSION=evil\r\nContent-Length: 0\r\n\r\n"
        )

    house.upstream.answer = planting
    assert (await house.ask("/", cookie=await house.session())).values("set-cookie") == ["mine=1; Domain=.example.com"]


async def test_two_candidates_for_the_session_cookie_are_no_session(house: House) -> None:
    """C-37, C-07."""
    good, other = await house.session(), await house.session(subject="eve")
    token = good.partition("=")[2]
    for cookie in (
        f"{good}; {other}", f"{other}; {good}", f"{good}; {good}", f"={good}", f"__host-doorward_session={token}", f"Doorward_Session={token}",
        f"{good} ", f"doorward_session ={token}", f"doorward_session=; {good}", f"doorward_session={token}x", "doorward_session=junk", "doorward_session=",
    ):  # fmt: skip
        response = await house.ask("/", cookie=cookie)
        expected = 200 if cookie == f"{good} " else 401
        assert response.status == expected, cookie
    users = {user for request in house.upstream.requests for user in request.values("x-forwarded-user")}
    assert users <= {b"bob"}


async def test_a_sibling_subdomain_locks_nobody_out_and_signs_nobody_in(open_house: OpenHouse) -> None:
    """C-37: on https it can set each name but the one with the prefix, for the whole site."""
    house = await open_house(external_url_scheme="https")
    good, eves = [f"__Host-{await house.session(subject=name)}" for name in ("bob", "eve")]
    planted = eves.removeprefix("__Host-")
    for tossed in (
        planted,
        f"__Secure-{planted}",
        f"__host-{planted}",
        f"={eves}",
        "doorward_session=x",
        "doorward_session",
    ):
        assert (await house.ask("/", cookie=tossed)).status == 401
        for cookie in (f"{good}; {tossed}", f"{tossed}; a=1; {good}"):
            assert (await house.ask("/", cookie=cookie)).status == 200, cookie
    sent = house.upstream.requests
    assert {user for request in sent for user in request.values("x-forwarded-user")} == {b"bob"}
    assert {value for request in sent for value in request.values("cookie")} == {b"a=1"}


@pytest.mark.parametrize(
    "target", ["/x%0d%0aSet-Cookie:a=b", "/x%E5%98%8A%E5%98%8DSet-Cookie:a=b", "/x?y=%0d%0aSet-Cookie:a=b"]
)
async def test_a_line_break_in_a_target_never_splits_our_answer(house: House, target: str) -> None:
    """C-38."""
    for fields in ("", BROWSER):
        response = await house.ask(target, fields=fields)
        assert response.status in (302, 400, 401, 503)
        assert response.values("a") == []
        assert all("a=b" not in value for value in response.values("set-cookie"))
        assert len(response.values("location")) <= 1
