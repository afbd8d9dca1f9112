"""What reaches the upstream, and what comes back."""

import asyncio

from gateway.proxy.downstream import Downstream
from gateway.proxy.exchange import Exchange
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, exchange
from tests.flows.conftest import OpenHouse


async def test_a_signed_in_request_reaches_the_upstream_with_identity_and_without_our_cookie(house: House) -> None:
    cookie = await house.session(groups=("staff", "a,b"))
    response = await house.ask("/bookings?day=1", cookie=f"a=1; {cookie}; b=2")
    assert response.status == 200
    assert response.body == b"you asked for /bookings?day=1"
    request = house.upstream.requests[0]
    assert request.values("cookie") == [b"a=1; b=2"]
    assert request.values("x-forwarded-user") == [b"bob"]
    assert request.values("x-forwarded-email") == [b"bob@example.com"]
    assert request.values("x-forwarded-groups") == [b"staff,a%2Cb"]
    assert len(request.values("x-doorward-jwt-assertion")) == 1
    assert request.values("host") == [house.host().encode()]
    assert request.values("x-forwarded-for") == [b"127.0.0.1"]
    assert request.values("x-forwarded-proto") == [b"http"]
    assert len(request.values("x-request-id")) == 1


async def test_a_stranger_program_gets_401_and_the_upstream_hears_nothing(house: House) -> None:
    response = await house.ask("/api/bookings", fields="Accept: application/json\r\n")
    assert response.status == 401
    assert response.value("content-type") == "application/problem+json"
    assert b'"login_required"' in response.body
    assert house.upstream.requests == []


async def test_connections_are_kept_on_both_sides(house: House) -> None:
    cookie = await house.session()
    wire = await Wire.open(house.port)
    for number in range(5):
        await wire.send(f"GET /{number} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert (await wire.response()).body == b"you asked for /%d" % number
    await wire.close()
    assert house.upstream.connections == 1


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    """B-16."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    one = "GET /{} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n"
    await wire.send("".join(one.format(number, house.host(), cookie) for number in range(50)).encode())
    for number in range(50):
        assert (await wire.response()).body == b"you asked for /%d" % number
    await wire.close()


async def test_bodies_stream_both_ways_and_keep_their_framing(house: House) -> None:
    cookie = await house.session()

    async def echo(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(request.body), 1000):
            part = request.body[start : start + 1000]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")

    house.upstream.answer = echo
    body = bytes(range(256)) * 1000
    response = await house.ask("/upload", method="POST", cookie=cookie, body=body)
    assert response.body == body
    assert house.upstream.requests[0].values("content-length") == [str(len(body)).encode()]
    chunked = b"".join(b"%x\r\n%b\r\n" % (500, body[i : i + 500]) for i in range(0, 5000, 500)) + b"0\r\n\r\n"
    head = f"POST /c HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = await house.raw(head.encode() + chunked)
    assert response.body == body[:5000]
    assert house.upstream.requests[1].chunked


async def test_an_event_stream_is_not_held_back_and_ends_with_the_client(house: House) -> None:
    """B-52."""
    cookie = await house.session()
    gone = asyncio.Event()

    async def events(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await reader.read()
        gone.set()

    house.upstream.answer = events
    wire = await Wire.open(house.port)
    await wire.send(f"GET /events HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        assert b"data: 1" in await wire.reader.readuntil(b"data: 1\n\n")
    await wire.close()
    async with asyncio.timeout(60):
        await gone.wait()


async def test_head_204_and_304_have_no_body_and_the_connection_goes_on(house: House) -> None:
    """B-44."""
    cookie = await house.session()

    async def bare(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = {"/204": b"204 No Content", "/304": b"304 Not Modified\r\nContent-Length: 12"}.get(
            request.target, b"200 OK\r\nContent-Length: 1234"
        )
        writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")

    house.upstream.answer = bare
    wire = await Wire.open(house.port)
    tail = f"HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n"
    await wire.send(f"HEAD /h {tail}GET /204 {tail}GET /304 {tail}HEAD /h2 {tail}".encode())
    answers = [await wire.response(head_only=True) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 204, 304, 200]
    assert answers[0].value("content-length") == "1234"
    await wire.close()


async def test_an_unknown_host_gets_421_and_spellings_of_a_known_one_are_the_same(house: House) -> None:
    """C-13."""
    cookie = await house.session()
    for host in ("evil.example", "portal.localhost", "", f"{house.host()}.evil"):
        response = await house.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert response.status in (400, 421)
    for host in (f"PORTAL.localhost:{house.port}", f"portal.localhost.:{house.port}"):
        response = await house.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert response.status == 200
        assert house.upstream.requests[-1].values("host") == [house.host().encode()]


async def test_a_host_that_is_configured_with_its_default_port_is_the_one_that_browsers_name(
    open_house: OpenHouse,
) -> None:
    """C-13."""
    house = await open_house(apps={"portal": {"hosts": ["portal.localhost:80"], "public": ["GET /**"]}})
    for host in ("portal.localhost", "portal.localhost:80"):
        assert (await house.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())).status == 200
    assert {request.values("host")[0] for request in house.upstream.requests} == {b"portal.localhost"}


async def test_public_routes_pass_without_a_session_and_never_carry_identity(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"public": ["GET /assets/**"]}})
    cookie = await house.session()
    assert (await house.ask("/assets/a.css", cookie=cookie, fields="X-Forwarded-User: admin\r\n")).status == 200
    assert house.upstream.requests[0].values("x-forwarded-user") == []
    assert (await house.ask("/assets/a.css", method="POST", body=b"x")).status == 401


async def test_an_upstream_that_is_down_gets_a_page_that_says_so(open_house: OpenHouse) -> None:
    house = await open_house(upstreams={"portal": "http://127.0.0.1:9"})
    response = await house.ask("/", cookie=await house.session(), fields=BROWSER)
    assert response.status == 503
    assert b"is not available" in response.body
    assert response.value("retry-after") is not None


async def test_a_kept_connection_that_died_is_replaced_for_a_repeatable_request(house: House) -> None:
    cookie = await house.session()
    assert (await house.ask("/1", cookie=cookie)).status == 200
    pool = house.worker.context.pools["portal"]
    await eventually(lambda: len(pool.idle) == 1)
    connection = pool.idle[0]

    async def refuse_once(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.connection == 1:
            writer.transport.abort()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = refuse_once
    assert (await house.ask("/2", cookie=cookie)).body == b"ok"
    assert not connection.alive
    assert [request.target for request in house.upstream.requests] == ["/1", "/2", "/2"]


async def test_a_truncated_response_is_seen_as_truncated(house: House) -> None:
    """B-45."""
    cookie = await house.session()

    async def short(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/sized":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
        await writer.drain()
        writer.close()

    house.upstream.answer = short
    for target in ("/sized", "/chunked"):
        response = await house.ask(target, cookie=cookie)
        assert response.body in (b"short", b"")
        assert not response.complete


async def test_an_http_1_0_client_gets_an_answer_that_ends_with_the_connection(house: House) -> None:
    cookie = await house.session()
    response = await exchange(
        house.port, f"GET /old HTTP/1.0\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode()
    )
    assert response.body == b"you asked for /old"
    assert response.value("connection") == "close"


async def test_100_continue_travels_end_to_end(house: House) -> None:
    cookie = await house.session()
    house.upstream.read_bodies = False

    async def patient(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    house.upstream.answer = patient
    wire = await Wire.open(house.port)
    await wire.send(
        f"POST /e HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert (await wire.response()).status == 100
    await wire.send(b"hello")
    assert (await wire.response()).body == b"hello"
    await wire.close()


SHAPES = {
    "/one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "/three": (b"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", b"hello world"),
    "/none": (b"0\r\n\r\n", b""),
    "/trailer": (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello"),
    "/extension": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "/like-an-end": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    "/large": (b"%x\r\n%b\r\n0\r\n\r\n" % (50_000, b"x" * 50_000), b"x" * 50_000),
}


async def test_a_chunked_answer_that_comes_at_once_is_the_same_answer_as_one_that_comes_bit_by_bit(
    house: House,
) -> None:
    """B-15, B-18: all on one connection to the client, again and again, and for clients of HTTP/1.0."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SHAPES[request.target.partition("?")[0]][0]
        if request.target.endswith("?bits"):
            for at in range(0, len(wire), 1 + len(wire) // 7):
                writer.write(wire[at : at + 1 + len(wire) // 7])
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(wire)

    house.upstream.answer = answer
    cookie = await house.session()
    wire = await Wire.open(house.port)
    for target in [*SHAPES, *(f"{path}?bits" for path in SHAPES), *SHAPES]:
        await wire.send(f"GET {target} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        response = await wire.response()
        assert (response.status, response.body) == (200, SHAPES[target.partition("?")[0]][1])
        assert response.values("transfer-encoding") == ["chunked"]
        assert response.values("content-length") == []
    await wire.close()
    for path, (_, body) in SHAPES.items():
        old = await house.raw(f"GET {path} HTTP/1.0\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert (old.status, old.body, old.values("transfer-encoding")) == (200, body, [])


async def test_a_small_answer_goes_on_in_one_piece_although_its_head_came_alone(house: House) -> None:
    """And one that has no body yet does not wait for ever; nor does one whose body is long, or has no length."""
    cookie = await house.session()
    go_on = asyncio.Event()
    lengths = {
        "/small": b"Content-Length: 4",
        "/long": b"Content-Length: 100000",
        "/chunked": b"Transfer-Encoding: chunked",
    }

    async def apart(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + lengths[request.target] + b"\r\n\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(
            {"/small": b"body", "/long": bytes(100_000), "/chunked": b"4\r\nbody\r\n0\r\n\r\n"}[request.target]
        )

    house.upstream.answer = apart

    def started_exchange() -> Exchange | None:
        serving = [each for each in house.worker.context.connections if isinstance(each, Downstream) and each.request]
        exchange = serving[0].handler.forwarder.exchange if serving else None
        return exchange if exchange is not None and exchange.started else None

    for target, waits in (("/small", True), ("/long", False), ("/chunked", False)):
        for swept in (False, True):
            go_on.clear()
            wire = await Wire.open(house.port)
            await wire.send(f"GET {target} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
            exchange: Exchange = await eventually(started_exchange)
            if swept:  # as after a second
                exchange.sweep(house.worker.context.clock() + 1, 0, house.worker.config.limits)
            if swept or not waits:
                async with asyncio.timeout(60):
                    assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
                go_on.set()
            else:
                go_on.set()
                assert (await wire.reader.read(65536)).endswith(b"\r\n\r\nbody")
            await wire.close()
