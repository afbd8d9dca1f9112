"""Field names that another server takes for another name: what a client sends under them never reaches an application."""

import asyncio
import json

import pytest

from gateway.config.field_names import TABLE
from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import handshake

#: Names that CGI, WSGI, Rack or a gateway before us gives a meaning, in the spelling that does it, and names that mean nothing.
ODD = (
    "SCRIPT_NAME", "Script_Name", "script_name", "PATH_INFO", "REQUEST_URI", "REQUEST_METHOD", "REMOTE_USER", "CONTENT_TYPE", "Content_Type",
    "Content_Length", "Transfer_Encoding", "SM_USER", "OAM_REMOTE_USER", "X_Forwarded_User", "X_Original_URL", "X_HTTP_Method_Override", "my_field",
    "Script.Name", "Script+Name", "Script~Name", "Script!Name", "$WSRU", "!~Passenger-Header", "_", "-_-", "wsgi.url_scheme", "X-Thing_",
)  # fmt: skip


def odd_names(head: bytes) -> list[bytes]:
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:] if line]
    return [name for name in names if not name.replace(b"-", b"a").isalnum()]


@pytest.mark.parametrize("trusted", [[], ["127.0.0.0/8"]])
async def test_no_name_but_of_letters_digits_and_hyphens_reaches_an_upstream(
    open_house: OpenHouse, trusted: list[str]
) -> None:
    """C-60: whoever sends it, a trusted proxy too."""
    house = await open_house(trusted_proxies=trusted, apps={"portal": {"public": ["* /assets/**"]}})
    cookie = await house.session()
    for name in ODD:
        for said in (None, cookie):
            answer = await house.ask("/assets/x", fields=f"X-Plain: 1\r\n{name}: /assets\r\n{name}: 2\r\n", cookie=said)
            assert answer.status == 200, name
            head = house.upstream.requests[-1].head
            assert odd_names(head) == []
            assert house.upstream.requests[-1].values("x-plain") == [b"1"]
            assert b"/assets\r\n" not in head.partition(b"\r\n")[2]
    assert (
        await house.ask("/assets/x", fields=f"SCRIPT_NAME: {'a' * 500}\r\n")
    ).status == 200  # too long to be remembered
    assert odd_names(house.upstream.requests[-1].head) == []


async def test_a_body_does_not_change_which_names_travel(house: House) -> None:
    """C-60, B-15: with a length, in chunks, and in trailers, which do not travel at all."""
    cookie = await house.session()
    head = f"POST / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nSCRIPT_NAME: /x\r\n"
    chunked = "Transfer-Encoding: chunked\r\nTrailer: SCRIPT_NAME\r\n\r\n2\r\nab\r\n0\r\nSCRIPT_NAME: /x\r\nX-Plain: 1\r\n\r\n"
    heard: list[bytes] = []

    async def hear_all(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(
            await reader.readuntil(b"0\r\n\r\n") if request.values("transfer-encoding") else await reader.readexactly(2)
        )
        await answer_ok(request, reader, writer)

    house.upstream.read_bodies, house.upstream.answer = False, hear_all
    for rest in ("Content-Length: 2\r\n\r\nab", chunked):
        assert (await house.raw((head + rest).encode())).status == 200
        assert odd_names(house.upstream.requests[-1].head) == []
    assert heard == [b"ab", b"2\r\nab\r\n0\r\n\r\n"]


async def test_no_odd_name_comes_with_a_websocket_handshake(house: House) -> None:
    """C-60."""
    wire = await Wire.open(house.port)
    fields = f"Cookie: {await house.session()}\r\nSCRIPT_NAME: /x\r\nSec_WebSocket_Protocol: a\r\n"
    await wire.send(handshake(house, None, extra=fields))
    await wire.response()
    assert house.upstream.requests[-1].values("upgrade") == [b"websocket"]
    assert odd_names(house.upstream.requests[-1].head) == []
    await wire.close()


async def test_what_connection_names_brings_no_odd_name_along(house: House) -> None:
    """C-60, B-48."""
    cookie = await house.session()
    for named in ("SCRIPT_NAME", "script-name", "X-Plain", "my_field"):
        fields = f"Connection: {named}\r\nSCRIPT_NAME: /x\r\nmy_field: 1\r\n"
        assert (await house.ask("/", cookie=cookie, fields=fields)).status == 200
        assert odd_names(house.upstream.requests[-1].head) == []


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 0\r\nContent_Length: 5\r\n", "Content-Type: a/b\r\nContent_Type: application/json\r\n", "X-Thing: 1\r\nX_Thing: 1\r\n",
        "x_thing: 1\r\nX-THING: 2\r\n", "X.Thing: 1\r\nX_Thing: 2\r\n", "X-Forwarded-User: a\r\nX_Forwarded_User: a\r\n", "Host_: a\r\nHost-: a\r\n",
        "Script-Name: /x\r\nSCRIPT_NAME: /x\r\n", "Connection: X_Thing\r\nX-Thing: 1\r\nX_Thing: 1\r\n", "Cookie: a=1\r\ncookie: b=2\r\nCoo.kie: 1\r\nCoo_kie: 1\r\n",
    ],
)  # fmt: skip
async def test_a_field_that_comes_with_its_twin_is_400(house: House, fields: str) -> None:
    """C-61: one of the two is judged, and the other one is read."""
    assert (await house.ask("/", cookie=await house.session(), fields=fields)).status == 400
    assert house.upstream.requests == []


async def test_the_same_name_twice_or_in_another_case_is_no_twin(house: House) -> None:
    """C-61."""
    fields = "X-Thing: 1\r\nx-thing: 2\r\nmy_field: 1\r\nMY_FIELD: 2\r\nX-Things: 3\r\n"
    assert (await house.ask("/", cookie=await house.session(), fields=fields)).status == 200
    assert house.upstream.requests[-1].values("x-thing") == [b"1", b"2"]


@pytest.mark.parametrize(
    "name", [b"X-\xc3\x84", b"SCRIPT\xc5\xbfNAME", b"\xefX", b"X\x00Y", b"X Y", b"X(Y", b"X/Y", b"X\tY"]
)
async def test_a_name_that_is_no_token_is_400(house: House, name: bytes) -> None:
    """C-60, B-13."""
    head = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n".encode()
    assert (await house.raw(head + name + b": 1\r\n\r\n")).status == 400
    assert house.upstream.requests == []


async def test_real_servers_see_the_path_that_was_judged(open_house: OpenHouse, echo_server: str) -> None:
    """C-60: gunicorn takes SCRIPT_NAME from a field, and cuts it off the path."""
    house = await open_house(
        upstreams={"portal": echo_server},
        apps={"portal": {"public": ["* /assets/**"], "rules": [{"match": ["* /admin/**"], "require": {"groups": ["staff"]}}]}},
    )  # fmt: skip
    for name in ("SCRIPT_NAME", "Script_Name", "script_name", "Script-Name", "PATH_INFO", "Path_Info"):
        answer = await house.ask("/assets/admin/users", fields=f"{name}: /assets\r\n")
        assert answer.status == 200
        seen = json.loads(answer.body)
        assert seen["path"] == "/assets/admin/users", name
        assert not [variable for variable in seen["names"] if "SCRIPT" in variable or "PATH_INFO" in variable], name


async def test_forward_auth_lets_no_request_pass_that_brings_an_odd_name(open_house: OpenHouse) -> None:
    """C-62: nobody takes it out on its way to the application."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"], apps={"portal": {"public": ["* /assets/**"]}})
    described = "X-Original-Method: GET\r\nX-Original-URI: /assets/admin/users\r\n"
    for name in ODD:
        for cookie in (None, await house.session()):
            fields = f"{described}{name}: /assets\r\n"
            assert (await house.ask("/oauth2/auth", fields=fields, cookie=cookie)).status == 403, name
    for name in ("Script-Name", "X-Rewrite-URL", "X-Script-Name", "iv-user", "X-Scope-OrgID", "Shib-Thing"):
        assert (await house.ask("/oauth2/auth", fields=f"{described}{name}: /assets\r\n")).status == 403, name
    for name in (
        "X-Forwarded-Server",
        "X-Forwarded-Prefix",
        "X-Forwarded-Proto",
        "X-SSL-Client-Verify",
        "X-Plain",
        "X-Forwarded-User",
    ):
        assert (await house.ask("/oauth2/auth", fields=f"{described}{name}: /assets\r\n")).status == 202, name
    member = "X-Original-Method: GET\r\nX-Original-URI: /\r\n"
    answer = await house.ask("/oauth2/auth", fields=member, cookie=await house.session())
    assert answer.status == 202
    assert answer.value("x-forwarded-user") == "bob"
    assert odd_names(answer.head) == []


async def test_what_other_gateways_and_servers_name_somebody_by_ends_here(open_house: OpenHouse) -> None:
    """C-63: all of the table at once, from strangers and through a trusted proxy alike."""
    names = [name.replace("*", "Thing") for row in TABLE for name in row.names]
    fields = "".join(f"{name}: forged\r\n" for name in names)
    for trusted in ([], ["127.0.0.0/8"]):
        house = await open_house(trusted_proxies=trusted, limits={"headers": 1000, "head": "256KiB"})
        assert (await house.ask("/", cookie=await house.session(), fields=fields)).status == 200
        request = house.upstream.requests[-1]
        travelled = {name for name in request.names() if request.values(name) == [b"forged"]}
        assert travelled == set()


async def test_a_client_sends_what_its_app_lets_it_send_to_that_app_only(open_house: OpenHouse) -> None:
    """C-63: by the exact name; and what an app sets by `headers` is its word alone, whatever the other apps let through."""
    house = await open_house(
        trusted_proxies=["127.0.0.0/8"],
        apps={
            "portal": {"client_headers": ["X-Scope-OrgID", "my_field"], "public": ["* /open"]},
            "api": {"headers": {"X-Scope-OrgID": "{email}"}},
            "wiki": {},
        },
    )
    fields = "x-scope-orgid: mine\r\nMy_Field: 1\r\nmy_other: 1\r\niv-user: admin\r\n"
    assert (await house.ask("/open", fields=fields)).status == 200
    request = house.upstream.requests[-1]
    assert (request.values("X-Scope-OrgID"), request.values("my_field")) == ([b"mine"], [b"1"])
    assert not {"my_other", "iv-user"} & set(request.names())
    for app, scope in (("api", [b"bob@example.com"]), ("wiki", [])):
        await house.ask("/", app=app, cookie=await house.session(app), fields=fields)
        request = house.upstreams[app].requests[-1]
        assert request.values("X-Scope-OrgID") == scope
        assert odd_names(request.head) == []
    for twin in ("my-field: 2\r\n", "my.field: 2\r\n", "X_Scope_OrgID: 2\r\n"):
        assert (await house.ask("/open", fields=fields + twin)).status == 400
    assert (await house.ask("/open", fields="my.field: 1\r\nX_Scope_OrgID: 1\r\n")).status == 200
    assert odd_names(house.upstream.requests[-1].head) == []
    described = "X-Original-Method: GET\r\nX-Original-URI: /open\r\n"
    for name, status in (("my_field", 202), ("X-Scope-OrgID", 202), ("my_other", 403), ("iv-user", 403)):
        assert (await house.ask("/oauth2/auth", fields=f"{described}{name}: 1\r\n")).status == status, name
