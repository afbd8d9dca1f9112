"""What an upstream says too much is nobody's answer: its connection serves others only when the end of its last answer is certain."""

import asyncio

import pytest

from gateway.proxy.downstream import Downstream
from tests.fakes.house import House
from tests.fakes.late import EVIL, Late
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

OPEN = {"portal": {"public": ["* /open/**"]}}
# What a server that sends a body afterwards may have said in the head: of the body, or of none.
BARE = {
    "HEAD": b"200 OK", "HEAD sized": b"200 OK\r\nContent-Length: 67", "HEAD chunked": b"200 OK\r\nTransfer-Encoding: chunked",
    "HEAD 304": b"304 Not Modified", "204": b"204 No Content", "204 sized": b"204 No Content\r\nContent-Length: 67",
    "204 chunked": b"204 No Content\r\nTransfer-Encoding: chunked", "204 of none": b"204 No Content\r\nContent-Length: 0",
    "205 of none": b"205 Reset Content\r\nContent-Length: 0", "304": b"304 Not Modified", "304 sized": b"304 Not Modified\r\nContent-Length: 67",
    "304 chunked": b"304 Not Modified\r\nTransfer-Encoding: chunked", "304 of none": b"304 Not Modified\r\nContent-Length: 0",
    "304 late": b"103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 304 Not Modified",
}  # fmt: skip


def ask(house: House, line: str, cookie: str | None = None, *fields: str) -> bytes:
    lines = [f"{line} HTTP/1.1", f"Host: {house.host()}", *fields, *([f"Cookie: {cookie}"] if cookie else [])]
    return "\r\n".join((*lines, "", "")).encode()


async def answered(wire: Wire, *, head_only: bool = False) -> tuple[int, bytes]:
    """The final answer."""
    while (response := await wire.response(head_only=head_only)).status < 200:
        pass
    return response.status, response.body


def connections(house: House) -> list[int]:
    return [request.connection for request in house.upstream.requests]


def nobody_after_it(house: House) -> None:
    """Every other request, from the first on, was answered with too much: none of those between came after one on its connection."""
    used = connections(house)
    assert all(used[at] not in used[at + 1 :: 2] for at in range(0, len(used), 2))


async def only_idle(house: House) -> None:
    """What is left of connections to the upstream waits for anybody."""
    pool = house.worker.context.pools["portal"]
    await eventually(lambda: pool.open == len(pool.idle))


async def all_closed(house: House) -> None:
    """No connection to the upstream is left."""
    await eventually(lambda: house.worker.context.pools["portal"].open == 0)


@pytest.fixture
def late() -> Late:
    heads = {f"/{name.replace(' ', '-')}": head for name, head in BARE.items()}
    return Late({**heads, **{"/open" + target: head for target, head in heads.items()}})


BARES = pytest.mark.parametrize("kind", list(BARE))


def line_of(kind: str, folder: str = "") -> str:
    method = "HEAD" if kind.startswith("HEAD") else "GET"
    return f"{method} {folder}/{kind.replace(' ', '-')}"


@BARES
async def test_a_body_after_an_answer_that_has_none_reaches_no_other_person(
    house: House, late: Late, kind: str
) -> None:
    """B-60: it comes when the head was passed on long ago, and two persons take turns on connections of their own."""
    house.upstream.answer = late
    mallory, ada = await house.session(subject="mallory"), await house.session(subject="ada")
    evil, good = await Wire.open(house.port), await Wire.open(house.port)
    for number in range(3):
        await evil.send(ask(house, line_of(kind), mallory))
        assert (await answered(evil, head_only=True))[0] in (200, 204, 205, 304)
        await good.send(ask(house, f"GET /mine/{number}", ada))
        assert await answered(good) == (200, b"/mine/%d for ada" % number)
    nobody_after_it(house)
    await eventually(lambda: late.said == 3 * len(EVIL))
    await evil.close()
    await good.close()


@BARES
async def test_a_trusted_proxy_s_connection_carries_many_people_and_none_of_them_gets_it(
    open_house: OpenHouse, late: Late, kind: str
) -> None:
    """B-60: one client connection, whose requests are of several people, and of one of them again."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"])
    house.upstream.answer = late
    mallory, ada = await house.session(subject="mallory"), await house.session(subject="ada")
    wire = await Wire.open(house.port)
    for cookie, who in ((ada, b"ada"), (mallory, b"mallory"), (ada, b"ada")):
        await wire.send(ask(house, line_of(kind), mallory))
        await answered(wire, head_only=True)
        await wire.send(ask(house, "GET /mine", cookie))
        assert await answered(wire) == (200, b"/mine for " + who)
    nobody_after_it(house)
    await wire.close()


@BARES
async def test_on_one_client_connection_no_other_session_and_no_stranger_gets_it(
    open_house: OpenHouse, late: Late, kind: str
) -> None:
    """B-60: somebody signs out, or in as somebody else; strangers are nobody's same, and another app's connection is another one."""
    house = await open_house(apps=OPEN)
    house.upstream.answer = late
    mallory, ada = await house.session(subject="mallory"), await house.session(subject="ada")
    wire = await Wire.open(house.port)
    for first, second in ((mallory, ada), (mallory, None), (None, ada), (None, None)):
        await wire.send(ask(house, line_of(kind, "/open"), first))
        await answered(wire, head_only=True)
        await wire.send(ask(house, "GET /open/mine", second))
        assert await answered(wire) == (200, b"/open/mine for nobody")
        assert connections(house)[-1] != connections(house)[-2]
    await wire.close()
    await only_idle(house)


@pytest.mark.parametrize(
    "kind", [name for name in BARE if name.startswith(("HEAD", "205")) or "sized" in name or "chunked" in name]
)
async def test_where_more_is_certain_to_come_not_even_the_same_session_goes_on(
    house: House, late: Late, kind: str
) -> None:
    """B-60: after HEAD the connection is closed, always, and after a 204, 205 or 304 that speaks of a body."""
    house.upstream.answer = late
    cookie = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    for number in range(3):
        await wire.send(ask(house, line_of(kind), cookie))
        await answered(wire, head_only=True)
        await wire.send(ask(house, f"GET /mine/{number}", cookie))
        assert await answered(wire) == (200, b"/mine/%d for ada" % number)
        assert connections(house)[-1] != connections(house)[-2]
    await wire.close()


async def test_another_app_on_the_same_client_connection_has_its_own_upstream(open_house: OpenHouse) -> None:
    """B-60: with the same cookie, whose session is nobody's there."""
    house = await open_house(apps={"portal": OPEN["portal"], "dashboard": OPEN["portal"]})
    for upstream in house.upstreams.values():
        upstream.answer = plain
    cookie = await house.session()
    wire = await Wire.open(house.port)
    for app in ("portal", "dashboard", "portal"):
        head = f"GET /open/{app}/304 HTTP/1.1\r\nHost: {house.host(app)}\r\nCookie: {cookie}\r\n\r\n"
        await wire.send(head.encode())
        assert (await answered(wire))[0] == 304
    for app, count in (("portal", 2), ("dashboard", 1)):
        assert [request.target for request in house.upstreams[app].requests] == [f"/open/{app}/304"] * count
    await wire.close()


@pytest.mark.parametrize("kind", ["HEAD", "204", "304"])
async def test_pipelined_requests_behind_it_are_answered_with_their_own(
    open_house: OpenHouse, late: Late, kind: str
) -> None:
    """B-60: HEAD and GET in one packet, of several people behind a proxy."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"])
    house.upstream.answer = late
    mallory, ada = await house.session(subject="mallory"), await house.session(subject="ada")
    wire = await Wire.open(house.port)
    await wire.send(b"".join([ask(house, line_of(kind), mallory), ask(house, "GET /mine", ada)] * 3))
    for _ in range(3):
        await answered(wire, head_only=True)
        assert await answered(wire) == (200, b"/mine for ada")
    await wire.close()


async def plain(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No byte too many."""
    heads = {"204": b"204 No Content", "304": b"304 Not Modified\r\nContent-Length: 0"}
    writer.write(b"HTTP/1.1 " + heads.get(request.target[-3:], b"200 OK\r\nContent-Length: 0") + b"\r\n\r\n")


@pytest.mark.parametrize("kind", ["204", "304"])
async def test_after_a_plain_204_or_304_the_same_session_goes_on_over_its_connection_which_is_never_in_the_pool(
    house: House, kind: str
) -> None:
    """B-60: not even after an answer whose end was certain; it ends with the client's connection."""
    house.upstream.answer = plain
    cookie = await house.session()
    wire, other = await Wire.open(house.port), await Wire.open(house.port)
    for target in (f"/{kind}", f"/{kind}", "/whole", f"/{kind}", "/whole"):
        await wire.send(ask(house, f"GET {target}", cookie))
        await answered(wire)
        assert house.worker.context.pools["portal"].idle == []
    assert connections(house) == [1] * 5
    await other.send(ask(house, "GET /whole", cookie))
    await answered(other)
    assert connections(house)[-1] == 2  # the same session on another connection of the client's
    await wire.close()
    await only_idle(house)
    await other.close()


async def test_a_connection_that_waits_for_one_session_does_not_wait_for_long(house: House) -> None:
    """B-60, D-20: clients that do nothing hold nothing of the upstream's."""
    house.upstream.answer = plain
    cookie = await house.session()
    wires = [await Wire.open(house.port) for _ in range(20)]
    for wire in wires:
        await wire.send(ask(house, "GET /304", cookie))
        assert (await answered(wire))[0] == 304
    assert max(connections(house)) == 20
    await all_closed(house)
    assert len(house.worker.context.connections) == 20
    for wire in wires:
        await wire.close()


@pytest.mark.parametrize("too_much", [False, True])
async def test_a_client_that_leaves_in_the_middle_leaves_no_connection(
    house: House, late: Late, too_much: bool
) -> None:
    """B-60: before the head, after it, and when its next request is for a page of ours, or half a request."""
    house.upstream.answer = late if too_much else plain
    cookie = await house.session()
    for line in ("HEAD /HEAD", "GET /304", "GET /204"):
        half = ask(house, "POST /oauth2/sign_out", cookie, "Content-Length: 100")
        for rest in (b"", ask(house, "GET /oauth2/userinfo", cookie), ask(house, "GET /mine", cookie), half):
            wire = await Wire.open(house.port)
            await wire.send(ask(house, line, cookie) + rest)
            if rest:
                await answered(wire, head_only=True)
            if rest == half:
                await eventually(lambda: any(each.request is not None for each in house.worker.context.connections))
            wire.writer.transport.abort()
    await eventually(lambda: not house.worker.context.connections)
    await only_idle(house)


async def test_an_http_1_0_client_and_one_that_closes_leave_nothing_tied(house: House, late: Late) -> None:
    """B-60."""
    house.upstream.answer = late
    cookie = await house.session()
    head = ask(house, "GET /304", cookie)
    for data in (head.replace(b"HTTP/1.1", b"HTTP/1.0"), ask(house, "GET /304", cookie, "Connection: close")):
        wire = await Wire.open(house.port)
        await wire.send(data)
        assert (await answered(wire))[0] == 304
        assert await wire.ended()
    await all_closed(house)


async def test_bytes_that_come_to_an_idle_connection_end_it(house: House, late: Late) -> None:
    """B-60: two persons take turns, and each answer has an end that is certain; what comes after it was asked for by nobody."""
    late.heads["/whole"] = b"200 OK\r\nContent-Length: 0"
    house.upstream.answer = late
    mallory, ada = await house.session(subject="mallory"), await house.session(subject="ada")
    for number in range(3):
        assert (await house.ask("/whole", cookie=mallory)).status == 200
        await all_closed(house)
        assert (await house.ask(f"/mine/{number}", cookie=ada)).body == b"/mine/%d for ada" % number


async def test_bytes_that_come_while_a_connection_waits_for_one_session_end_it(house: House, late: Late) -> None:
    """B-60."""
    house.upstream.answer = late
    cookie = await house.session(subject="ada")
    wire = await Wire.open(house.port)
    for number in range(3):
        await wire.send(ask(house, "GET /304", cookie))
        assert (await answered(wire))[0] == 304
        await all_closed(house)
        await wire.send(ask(house, f"GET /mine/{number}", cookie))
        assert await answered(wire) == (200, b"/mine/%d for ada" % number)
    await wire.close()


@pytest.mark.parametrize(
    "said",
    [
        b"200 OK\r\nContent-Length: 2\r\n\r\nok", b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"204 No Content\r\n\r\n",
        b"304 Not Modified\r\n\r\n", b"200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    ],
)  # fmt: skip
async def test_bytes_behind_an_answer_in_the_same_packet_end_its_connection(house: House, said: bytes) -> None:
    """B-60, B-54: the same session on the same client connection does not get them either."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        more = EVIL if request.target == "/evil" else b""
        writer.write(b"HTTP/1.1 " + said + more)

    house.upstream.answer = answer
    cookie = await house.session()
    wire = await Wire.open(house.port)
    for target in ("/evil", "/mine", "/evil", "/mine"):
        await wire.send(ask(house, f"GET {target}", cookie))
        response = await wire.response()
        assert response.status == int(said[:3])
        assert response.body in (b"ok", b"")
        if response.value("connection") == "close":
            await wire.close()
            wire = await Wire.open(house.port)
    assert connections(house)[0] != connections(house)[1]
    await wire.close()


async def test_an_http_1_0_answer_ends_its_connection_whatever_it_says_of_keeping_it(house: House) -> None:
    """B-60."""

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = answer
    cookie = await house.session()
    for _ in range(3):
        assert (await house.ask("/x", cookie=cookie)).body == b"ok"
    assert connections(house) == [1, 2, 3]


async def test_an_answer_that_begins_before_the_body_ended_ends_its_connection(house: House) -> None:
    """B-60, B-02: the body has ended when the answer ends, and nobody knows whether the upstream has read it."""
    house.upstream.read_bodies = False
    go_on = asyncio.Event()

    async def early(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/mine":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
            return
        if request.target == "/stolen":
            return  # the body, read as a request
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nea")
        await go_on.wait()
        writer.write(b"rl")

    house.upstream.answer = early
    cookie = await house.session()
    wire = await Wire.open(house.port)
    smuggled = ask(house, "GET /stolen", cookie)
    await wire.send(ask(house, "POST /early", cookie, f"Content-Length: {len(smuggled)}"))
    assert (await wire.reader.readuntil(b"\r\n\r\nea")).startswith(b"HTTP/1.1 200 ")
    await wire.send(smuggled)
    (exchange,) = (
        connection.handler.forwarder.exchange
        for connection in house.worker.context.connections
        if isinstance(connection, Downstream) and connection.request is not None
    )
    assert exchange is not None
    await eventually(lambda: exchange.request_done)
    go_on.set()
    assert await wire.reader.readexactly(2) == b"rl"
    assert (await house.ask("/mine", cookie=cookie)).body == b"mine"
    assert house.upstream.requests[-1].target == "/mine"
    assert connections(house)[-1] == 2
    await wire.close()


@pytest.mark.parametrize("field", ["X-HTTP-Method-Override: HEAD", "X-HTTP-Method: HEAD", "X-Method-Override: HEAD"])
async def test_a_get_that_an_upstream_takes_for_a_head_is_waited_for_and_its_connection_ends_with_the_client(
    house: House, field: str
) -> None:
    """B-60: fewer bytes than announced are no end."""

    async def honours(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"" if request.values(field.partition(":")[0]) else b"mine"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)

    house.upstream.answer = honours
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(ask(house, "GET /x", cookie, field))
    await eventually(lambda: house.upstream.requests)
    assert house.upstream.requests[0].values(field.partition(":")[0]) == [b"HEAD"]
    assert (await house.ask("/mine", cookie=cookie)).body == b"mine"
    wire.writer.transport.abort()
    await only_idle(house)
    assert (await house.ask("/mine", cookie=cookie)).body == b"mine"
    assert connections(house) == [1, 2, 2]
