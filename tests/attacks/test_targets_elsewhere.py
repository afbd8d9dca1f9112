"""Requests that name more than their target: what Destination and If name is judged as a target is, and a handshake is more than a GET."""

import pytest

from tests.fakes.house import House
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import KEY, handshake

APPS = {
    "portal": {
        "public": ["* /drop/**"],
        "rules": [
            {"match": ["* /admin/**"], "require": {"groups": ["staff"]}},
            {"match": ["MOVE /frozen/**"], "require": {"groups": ["staff"]}},
        ],
        "password_routes": [{"match": "* /login", "reason": "takes a password", "source": "here"}],
    }
}


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(apps=APPS, openid={"prevent_password_login": True})


def here(house: House, path: str) -> str:
    return f"http://{house.host()}{path}"


async def move(house: House, destination: str, *, cookie: str | None = None, method: str = "MOVE", target: str = "/drop/a", more: str = "") -> WireResponse:  # fmt: skip
    return await house.ask(target, method=method, cookie=cookie, fields=f"Destination: {destination}\r\n{more}")


@pytest.mark.parametrize("method", ["COPY", "MOVE", "PUT", "POST"])
async def test_a_destination_is_judged_as_a_target_is(house: House, method: str) -> None:
    """C-64: with a rule, a password route, a path of ours, and where a session is needed; for a stranger and for a member."""
    member, staff = await house.session(groups=("member",)), await house.session(groups=("staff",))
    for absolute in (False, True):
        for path, stranger, by_member, by_staff in (
            ("/drop/b", 200, 200, 200),
            ("/admin/b", 401, 403, 200),
            ("/ADMIN/b", 401, 403, 200),
            ("/admin;x/b", 401, 403, 200),
            ("/%61dmin/b", 401, 403, 200),
            ("/drop/../admin/b", 401, 403, 200),
            ("/elsewhere", 401, 200, 200),
            ("/login", 403, 403, 403),
            ("/Login/", 403, 403, 403),
            ("/oauth2/sign_out", 403, 403, 403),
            ("/frozen/b", 401, 200 if method == "COPY" else 403, 200),
        ):
            destination = here(house, path) if absolute else path
            for cookie, status in ((None, stranger), (member, by_member), (staff, by_staff)):
                before = len(house.upstream.requests)
                response = await move(house, destination, cookie=cookie, method=method)
                assert response.status == status, (destination, cookie, response.status)
                assert len(house.upstream.requests) - before == (1 if status == 200 else 0)


async def test_a_form_or_a_query_that_asks_for_a_move_gets_no_further(house: House) -> None:
    """C-64, B-35."""
    member = await house.session(groups=("member",))
    for target in ("/elsewhere", "/elsewhere?_method=MOVE"):
        assert (await move(house, "/frozen/b", method="POST", target=target, cookie=member)).status == 403
    response = await move(
        house, "/frozen/b", method="POST", target="/x", cookie=member, more="X-HTTP-Method-Override: MOVE\r\n"
    )
    assert response.status == 403


async def test_what_is_forwarded_is_the_spelling_that_was_judged(house: House) -> None:
    """C-64: a URI stays one, since servers differ in what they take."""
    host = house.host()
    for sent, arrives in (
        ("/drop/b", "/drop/b"),
        (f"http://{host}/drop/b", f"http://{host}/drop/b"),
        (f"HTTPS://{host.upper()}/drop/x/../b", f"HTTPS://{host.upper()}/drop/b"),
        ("/drop//%62/./c", "/drop/b/c"),
        ("/drop/caf\xe9".encode().decode("latin-1"), "/drop/caf%C3%A9"),
        ("/drop/b?c=%41", "/drop/b?c=%41"),
    ):
        assert (await move(house, sent)).status == 200, sent
        assert house.upstream.requests[-1].values("destination") == [arrives.encode()]


@pytest.mark.parametrize(
    "destination",
    [
        "", "drop/b", "//evil.example/drop/b", "http://evil.example/drop/b", "http://HOST.evil.example/drop/b", "http://evil.example@HOST/drop/b", "http://HOST:80/drop/b",
        "http://HOST", "http:/drop/b", "ftp://HOST/drop/b", "http://HOST\\@evil.example/drop/b", "\\drop\\b", "/drop/%2e%2e%2fadmin/b", "/drop/..;/admin/b", "/drop\\..\\admin/b",
        "/drop/b#/../admin", "/drop/b c", "/drop/%00", "/../drop/b", "</drop/b>", "/drop/b\r\nDestination: /admin/b", "/drop/b\r\ndestination: /drop/b", "http://HOST/drop/%252e%252e/admin",
    ],
)  # fmt: skip
async def test_a_destination_that_can_be_read_in_two_ways_or_is_elsewhere_is_refused(
    house: House, destination: str
) -> None:
    """C-64."""
    staff = await house.session(groups=("staff",))
    for method in ("COPY", "MOVE", "GET"):
        response = await move(house, destination.replace("HOST", house.host()), cookie=staff, method=method)
        assert response.status == 400
    assert house.upstream.requests == []


async def test_no_other_field_becomes_a_destination(house: House) -> None:
    """C-64, C-60, C-61, B-48."""
    staff = await house.session(groups=("staff",))
    assert (
        await house.ask("/drop/a", method="MOVE", fields="Destination_: /admin/b\r\nDESTINATION.: /admin/b\r\n")
    ).status == 400
    assert (
        await house.ask("/drop/a", method="MOVE", fields="Connection: destination\r\nDestination: /admin/b\r\n")
    ).status in (200, 401)
    for request in house.upstream.requests:
        assert request.values("destination") == []
    assert (await move(house, "/admin/b", cookie=staff)).status == 200


async def test_requests_on_one_connection_are_judged_one_by_one(house: House) -> None:
    """C-64: the same head again under another line, with the session in memory: nothing of it is judged once for all."""
    member = await house.session(groups=("member",))
    wire = await Wire.open(house.port)
    for line, destination, status in (
        ("MOVE /drop/a", "/drop/b", 200), ("MOVE /drop/a", "/admin/b", 403), ("MOVE /elsewhere", "/elsewhere/b", 200), ("MOVE /elsewhere", "/elsewhere/b", 200),
        ("COPY /elsewhere", "/admin/b", 403), ("GET /elsewhere", "/admin/b", 403),
    ):  # fmt: skip
        head = f"{line} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {member}\r\nDestination: {destination}\r\n\r\n"
        await wire.send(head.encode())
        assert (await wire.response()).status == status, (line, destination)
    await wire.close()


async def test_a_session_that_is_not_in_memory_is_fetched_for_the_destination_too(open_house: OpenHouse) -> None:
    """C-64: the target is public, its destination is not."""
    house = await open_house(apps=APPS)
    member = await house.session(groups=("member",))
    assert (await move(house, "/elsewhere", cookie=member)).status == 200
    assert house.upstream.requests[-1].values("x-forwarded-user") == []


@pytest.mark.parametrize(
    ("value", "stranger", "by_staff"),
    [
        ("(<urn:uuid:1>)", 200, 200), ('(Not <DAV:no-lock> ["e"]) (["f"])', 200, 200), ("</drop/b> (<urn:uuid:1>)", 200, 200), ("</admin/b> (<urn:uuid:1>)", 401, 200),
        ('<http://HOST/drop/a> (["e"]) <http://HOST/admin/b> (["f"])', 401, 200), ("<http://evil.example/> (<a:b>)", 400, 400), ("</drop/../admin/b> (<a:b>)", 401, 400),
        ("(", 400, 400), ("<admin/b> (<a:b>)", 400, 400), ("</oauth2/auth> (<a:b>)", 403, 403),
        ("</drop/b> (<a:b>) " * 32, 200, 200), ("</drop/b> (<a:b>) " * 33, 400, 400),
    ],
)  # fmt: skip
async def test_what_the_tags_of_if_name_is_judged_too(house: House, value: str, stranger: int, by_staff: int) -> None:
    """C-64: a condition on another resource tells whether it holds there."""
    said = value.replace("HOST", house.host())
    for cookie, status in ((None, stranger), (await house.session(groups=("staff",)), by_staff)):
        response = await house.ask("/drop/a", method="DELETE", cookie=cookie, fields=f"If: {said}\r\n")
        assert response.status == status
        if status == 200:
            assert house.upstream.requests[-1].values("if") == [said.strip().encode()]


async def test_forward_auth_judges_the_destination_that_the_application_will_read(open_house: OpenHouse) -> None:
    """C-64, C-01: it goes on as it came, so it must be canonical."""
    house = await open_house(apps=APPS, trusted_proxies=["127.0.0.0/8"], openid={"prevent_password_login": True})
    member, staff = await house.session(groups=("member",)), await house.session(groups=("staff",))
    described = "X-Original-Method: MOVE\r\nX-Original-URI: /drop/a\r\n"
    for destination, cookie, status in (
        ("/drop/b", None, 202), (here(house, "/drop/b"), None, 202), ("/admin/b", None, 401), ("/admin/b", member, 403), ("/admin/b", staff, 202),
        ("/drop/x/../b", staff, 403), ("http://evil.example/b", staff, 403), ("/login", staff, 403), ("/oauth2/auth", staff, 403),
    ):  # fmt: skip
        fields = f"{described}Destination: {destination}\r\n"
        assert (await house.ask("/oauth2/auth", fields=fields, cookie=cookie)).status == status, destination


async def test_forward_auth_judges_every_method_that_a_request_asks_to_be_taken_for(open_house: OpenHouse) -> None:
    """C-01, B-35: nobody takes X-HTTP-Method-Override out of what the other proxy forwards."""
    apps = {
        "portal": {
            "form_methods": "ignore",
            "public": ["GET,POST /open/**"],
            "rules": [{"match": ["DELETE /shop/**"], "require": {"groups": ["staff"]}}],
            "password_routes": [{"match": "POST /login", "reason": "takes a password", "source": "here"}],
        }
    }
    house = await open_house(apps=apps, trusted_proxies=["127.0.0.0/8"], openid={"prevent_password_login": True})
    member, staff = await house.session(groups=("member",)), await house.session(groups=("staff",))
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "x-method-override"):
        for method, uri, asked, cookie, status in (
            ("POST", "/shop/1", "DELETE", member, 403), ("POST", "/shop/1", "delete", member, 403), ("GET", "/shop/1", "PUT, DELETE", member, 403),
            ("POST", "/shop/1", "DELETE", staff, 202), ("POST", "/shop/1", "PUT", member, 202), ("GET", "/open/x", "PUT", None, 401), ("GET", "/open/x", "POST", None, 202),
            ("GET", "/login", "POST", member, 403), ("GET", "/open/x", "A,B,C,D,E,F,G,H,I", None, 403), ("OPTIONS", "/shop/1", "DELETE", member, 403),
        ):  # fmt: skip
            fields = f"X-Original-Method: {method}\r\nX-Original-URI: {uri}\r\n{name}: {asked}\r\n"
            response = await house.ask("/oauth2/auth", fields=fields, cookie=cookie)
            assert response.status == status, (name, method, uri, asked)
    fields = "X-Forwarded-Method: POST\r\nX-Forwarded-Uri: /shop/1\r\nX_HTTP_Method_Override: DELETE\r\n"
    assert (await house.ask("/oauth2/auth", fields=fields, cookie=member)).status == 403


# --- handshakes -------------------------------------------------------------------------------------------------------

SOCKETS = {
    "portal": {
        "public": ["* /open/**", "GET /page", "WEBSOCKET /live", "GET,WEBSOCKET /both", "* /admin"],
        "rules": [
            {"match": ["WEBSOCKET /private/**"], "require": {"groups": ["staff"]}},
            {"match": ["GET /pages/**"], "require": {"groups": ["staff"]}},
            {"match": ["GET /feed", "WEBSOCKET /feed/live"], "public": True},
        ],
        "upgrades": ["websocket", "spdy/3.1"],
    }
}


async def knock(house: House, path: str, cookie: str | None = None, protocol: str = "websocket") -> int:
    """The status that a handshake gets; the recorder answers as to a GET, which then is a 502 of ours or its own 200."""
    wire = await Wire.open(house.port)
    raw = (
        handshake(house, cookie)
        .replace(b"GET /socket", f"GET {path}".encode())
        .replace(b"websocket", protocol.encode(), 1)
    )
    await wire.send(raw)
    status = (await wire.response()).status
    await wire.close()
    return status


async def test_a_handshake_is_public_only_where_an_entry_says_so(open_house: OpenHouse) -> None:
    """C-19: what everybody may see, not everybody may listen to."""
    house = await open_house(apps=SOCKETS)
    member, staff = await house.session(groups=("member",)), await house.session(groups=("staff",))
    for path, stranger, by_member, by_staff in (
        ("/open/x", 401, 200, 200), ("/page", 401, 200, 200), ("/live", 200, 200, 200), ("/both", 200, 200, 200), ("/admin", 401, 200, 200), ("/feed", 401, 200, 200),
        ("/feed/live", 200, 200, 200), ("/live/x", 401, 200, 200), ("/LIVE", 401, 200, 200), ("/live?_method=DELETE", 401, 200, 200), ("/private/x", 401, 403, 200),
        ("/pages/x", 401, 403, 200),
    ):  # fmt: skip
        for cookie, status in ((None, stranger), (member, by_member), (staff, by_staff)):
            before = len(house.upstream.requests)
            assert await knock(house, path, cookie) == status, (path, cookie)
            assert len(house.upstream.requests) - before == (1 if status == 200 else 0)
    for request in house.upstream.requests:
        assert request.values("upgrade") == [b"websocket"]
    for path, status in (
        ("/open/x", 200),
        ("/page", 200),
        ("/both", 200),
        ("/live", 401),
        ("/live?_method=WEBSOCKET", 401),
        ("/feed/live", 401),
    ):
        assert (await house.ask(path)).status == status, path
    assert (await house.ask("/private/x", cookie=member)).status == 200


async def test_any_other_change_of_protocol_is_public_nowhere(open_house: OpenHouse) -> None:
    """C-19."""
    house = await open_house(apps=SOCKETS)
    for path in ("/open/x", "/live", "/both", "/page"):
        assert await knock(house, path, protocol="SPDY/3.1") == 401
    assert await knock(house, "/open/x", await house.session(), protocol="spdy/3.1") == 200
    assert await knock(house, "/open/x", protocol="h2c") == 200  # not honoured: a GET, and forwarded as one
    assert house.upstream.requests[-1].values("upgrade") == []
    assert await knock(house, "/live", protocol="h2c") == 401


async def test_a_session_that_has_met_the_rules_of_a_page_has_not_met_those_of_its_socket(
    open_house: OpenHouse,
) -> None:
    """C-19, C-20: what is remembered of a session is about the page."""
    house = await open_house(apps=SOCKETS)
    member = await house.session(groups=("member",))
    for _ in range(2):
        assert (await house.ask("/private/x", cookie=member)).status == 200
        assert await knock(house, "/private/x", member) == 403


async def test_an_app_that_lets_strangers_pass_lets_their_handshakes_pass(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"unauthenticated": "pass", "public": ["GET /page"]}})
    assert await knock(house, "/page") == 200
    off = await open_house(openid={"enabled": False}, apps={"portal": {"public": ["GET /page"]}})
    assert await knock(off, "/page") == 200


@pytest.mark.parametrize("said", ["Upgrade: websocket\r\n", f"Sec-WebSocket-Key: {KEY}\r\n", "Upgrade: spdy/3.1\r\n"])
async def test_forward_auth_knows_a_handshake_by_whatever_the_proxy_leaves_of_it(
    open_house: OpenHouse, said: str
) -> None:
    """C-19, C-01: it is judged as the GET that it is, too."""
    house = await open_house(apps=SOCKETS, trusted_proxies=["127.0.0.0/8"])
    member, staff = await house.session(groups=("member",)), await house.session(groups=("staff",))
    socket = "spdy" not in said
    for uri, stranger, by_member, by_staff in (
        ("/open/x", 401, 202, 202), ("/live", 401, 202, 202), ("/both", 202 if socket else 401, 202, 202), ("/private/x", 401, 403 if socket else 202, 202),
    ):  # fmt: skip
        for cookie, status in ((None, stranger), (member, by_member), (staff, by_staff)):
            fields = f"X-Original-Method: GET\r\nX-Original-URI: {uri}\r\n{said}"
            assert (await house.ask("/oauth2/auth", fields=fields, cookie=cookie)).status == status, (uri, said)
