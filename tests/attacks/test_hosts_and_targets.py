"""Host fields, request targets and methods that name something else than what is judged."""

import asyncio
import contextlib

import pytest

from tests.fakes.house import House
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a b",
        "a/b",
        "a@evil",
        "a, b",
        "a:99999",
        "a:0x50",
        "[::1",
        "a\x00",
        "a" * 4096,
        "user:pw@portal",
        "a#",
        "a?",
    ],
)
async def test_a_host_that_is_none_is_400_and_never_500(house: House, value: str) -> None:
    """B-30."""
    cookie = await house.session()
    response = await house.raw(f"GET / HTTP/1.1\r\nHost: {value}\r\nCookie: {cookie}\r\n\r\n".encode("latin-1"))
    assert response.status == 400
    assert house.upstream.requests == []


async def test_two_hosts_and_no_host_are_400(house: House) -> None:
    """B-30."""
    for fields in ("", f"Host: {house.host()}\r\nHost: {house.host()}\r\n", f"Host: {house.host()}\r\nhost: evil\r\n"):
        assert (await house.raw(f"GET / HTTP/1.1\r\n{fields}\r\n".encode())).status == 400
    assert house.upstream.requests == []


async def test_an_absolute_target_is_judged_by_the_host_it_shares_with_the_host_field(house: House) -> None:
    """B-31."""
    cookie, host = await house.session(), house.host()
    for target in (f"http://{host}/adm?x=1", f"HTTP://{host.upper()}/adm?x=1"):
        assert (
            await house.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode())
        ).status == 200
        assert house.upstream.requests[-1].target == "/adm?x=1"
        assert house.upstream.requests[-1].values("host") == [host.encode()]
    assert (
        await house.raw(f"GET http://{host} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode())
    ).status == 200
    assert house.upstream.requests[-1].target == "/"


@pytest.mark.parametrize(
    "target",
    ["http://evil.example/adm", "http://u:p@{host}/", "http://u@{host}/", "ftp://{host}/", "{host}", "*", "http:///adm", "http://{host}#x", "evil.example:80", "http://{host}@evil/"],
)  # fmt: skip
async def test_a_target_that_names_another_place_is_refused(house: House, target: str) -> None:
    """B-31."""
    cookie, host = await house.session(), house.host()
    response = await house.raw(
        f"GET {target.format(host=host)} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
    )
    assert response.status in (400, 421)
    assert house.upstream.requests == []


async def test_an_absolute_target_cannot_reach_the_other_app(open_house: OpenHouse) -> None:
    """B-31: a session of the portal, Host of the portal, target of the dashboard."""
    house = await open_house(apps={"portal": {}, "dashboard": {"surface": "dashboard"}})
    cookie = await house.session()
    data = f"GET http://{house.host('dashboard')}/ HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n"
    assert (await house.raw(data.encode())).status == 400
    assert (await house.ask("/", app="dashboard", cookie=cookie)).status == 401
    assert house.upstreams["dashboard"].requests == []


@pytest.mark.parametrize(
    "line", ["CONNECT a:443 HTTP/1.1", "CONNECT /x HTTP/1.1", "TRACE / HTTP/1.1", "FOO / HTTP/1.1", "get / HTTP/1.1"]
)
async def test_methods_that_do_not_pass_close_the_connection_and_discard_the_body(house: House, line: str) -> None:
    """B-32, B-33, B-34."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(
        f"{line}\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Length: 28\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n".encode()
    )
    assert (await wire.response()).status in (400, 405, 501)
    assert await wire.ended()
    await wire.close()
    assert house.upstream.requests == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: {host}\n\n",
        b"GET / HTTP/1.1\r\nHost: {host}\nX: 1\r\n",
        b"GET / HTTP/1.1\r\nHost: {host}\r\n\n",
    ],
)
async def test_a_bare_line_feed_is_refused_before_the_head_is_complete(house: House, data: bytes) -> None:
    """B-13: for some servers it is complete; nobody waits for more of it."""
    response = await house.raw(data.replace(b"{host}", house.host().encode()))
    assert response.status == 400
    assert house.upstream.requests == []


@pytest.mark.parametrize("line", ["CONNECT a:443 HTTP/1.1", "TRACE / HTTP/1.1"])
async def test_whoever_connects_or_traces_is_told_what_is_allowed(house: House, line: str) -> None:
    """B-32, B-33: 405 carries Allow (RFC 9110 section 15.5.6)."""
    response = await house.raw(f"{line}\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode())
    assert response.status == 405
    assert response.values("allow") == ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]


@pytest.mark.parametrize(
    "line",
    [
        "GET /admin x HTTP/1.1",
        "GET  /admin HTTP/1.1",
        "GET\t/admin HTTP/1.1",
        "GET /admin HTTP/1.1 ",
        "GET /",
        "GET / HTTP/2.0",
    ],
)
async def test_a_malformed_request_line_is_refused(house: House, line: str) -> None:
    """C-14, B-12."""
    response = await house.raw(f"{line}\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode())
    assert response.status in (400, 505)
    assert house.upstream.requests == []


async def test_limits_answer_414_and_431_at_once_and_dribbled(open_house: OpenHouse) -> None:
    """B-50."""
    house = await open_house(limits={"head": "8KiB", "headers": 20})
    cookie, host = await house.session(), house.host()
    many = "".join(f"X-{number}: 1\r\n" for number in range(21))
    cases = {
        f"GET /{'a' * 9000} HTTP/1.1\r\nHost: {host}\r\n\r\n": 414,
        f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Big: {'a' * 9000}\r\n\r\n": 431,
        f"GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n": 431,
        f"GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nX: {'a' * 7000}\r\n\r\n": 200,
        f"{'A' * 65} / HTTP/1.1\r\nHost: {host}\r\n\r\n": 400,
        f"{'A' * 9000} / HTTP/1.1\r\nHost: {host}\r\n\r\n": 400,
        f"{'A' * 64} / HTTP/1.1\r\nHost: {host}\r\n\r\n": 501,
        "A" * 9000: 400,
    }
    for text, status in cases.items():
        assert (await house.raw(text.encode())).status == status
    wire = await Wire.open(house.port)
    data = list(cases)[1].encode()
    for start in range(0, len(data), 700):
        await wire.send(data[start : start + 700])
    assert (await wire.response()).status == 431
    await wire.close()


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"/caf\xc3\xa9?q=caf\xc3\xa9", "/caf%C3%A9?q=caf%C3%A9"),
        (b"/caf%c3%a9/\xe2\x82\xac", "/caf%C3%A9/%E2%82%AC"),
        (b"/a?q=\xff\xe9", "/a?q=%FF%E9"),
        (b"/caf\xe9", None),
        (b"/\xc0\xaf", None),
        (b"/\xed\xa0\x80", None),
        (b"/a\xc2\x85b", None),
    ],
)
async def test_bytes_above_ascii_in_a_target_go_on_as_escapes_and_in_a_path_only_where_they_are_utf_8(
    house: House, raw: bytes, sent: str | None
) -> None:
    """C-10, C-12: what deploy/guides/http.md says of them. A session judges the escaped form, and the upstream gets that form."""
    head = f" HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n"
    response = await house.raw(b"GET " + raw + head.encode())
    assert response.status == (400 if sent is None else 200)
    assert [request.target for request in house.upstream.requests] == ([] if sent is None else [sent])


@pytest.mark.parametrize("dribbled", [False, True])
async def test_the_limit_of_a_head_is_exact_however_it_arrives(open_house: OpenHouse, dribbled: bool) -> None:
    """B-50: cookies in many fields, at the limit and one byte over it, at once and byte by byte."""
    house = await open_house(limits={"head": "4KiB"})
    start = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n"
    for over, status in ((0, 200), (1, 431)):
        head = start
        while len(head) < 3800:
            head += f"Cookie: crumb{len(head)}={'x' * 180}\r\n"
        # The limit counts the head up to the empty line.
        head += f"Cookie: last={'y' * (4096 + over - len(head) - len('Cookie: last='))}"
        assert len(head) == 4096 + over
        data = f"{head}\r\n\r\n".encode()
        wire = await Wire.open(house.port)
        for place in range(0, len(data), 1 if dribbled else len(data)):
            with contextlib.suppress(ConnectionError):
                wire.writer.write(data[place : place + 1] if dribbled else data)
            await asyncio.sleep(0)
        assert (await wire.response()).status == status
        await wire.close()
    (request,) = house.upstream.requests
    assert request.values("cookie")[0].count(b"crumb") == head.count("crumb")


@pytest.mark.parametrize(
    "opening", [b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-x;", b"\x00", b"{", b"GET\t/", b"\rG", b"a" * 65]
)
async def test_what_is_no_http_is_refused_before_its_end(house: House, opening: bytes) -> None:
    """C-14: a browser that speaks TLS to a plain port is not left waiting."""
    response = await house.raw(opening)
    assert response.status == 400
    assert response.value("connection") == "close"


async def test_the_beginning_of_a_request_is_waited_on(house: House) -> None:
    """B-50: every cut of a sound request is one."""
    data = f"\r\nGET /cut HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode()
    for place in range(1, 30):
        wire = await Wire.open(house.port)
        await wire.send(data[:place])
        await asyncio.sleep(0)
        await wire.send(data[place:])
        assert (await wire.response()).body == b"you asked for /cut"
        await wire.close()
