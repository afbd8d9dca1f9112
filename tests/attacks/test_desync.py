"""Many messages on one connection: whose bytes are whose, who waits for whom, and what is kept meanwhile."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.http.framing import ChunkedBody, FramingError
from gateway.proxy.downstream import Downstream
from gateway.proxy.exchange import Exchange
from tests.fakes.client_stream import RecordingStream
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import Recorded, RecordingUpstream, answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
DOORS: dict[str, Any] = {
    "apps": {"portal": {"password_routes": "nexudus"}},
    "openid": {"prevent_password_login": True, "unregistered_when_sso_only": "refuse"},
}


@pytest.fixture(autouse=True)
async def nothing_raises() -> AsyncIterator[None]:
    """Whatever a client does, no exception reaches the event loop."""
    raised: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(context))
    yield
    loop.set_exception_handler(None)
    # asyncio's own servers say so of a handler that was cancelled with them.
    assert [context for context in raised if not isinstance(context.get("exception"), asyncio.CancelledError)] == []


def request(house: House, cookie: str | None, line: str = "GET /", *fields: str) -> bytes:
    cookies = (f"Cookie: {cookie}",) if cookie else ()
    return "\r\n".join((f"{line} HTTP/1.1", f"Host: {house.host()}", *cookies, *fields, "", "")).encode()


def stubborn(port: int, *, receives: int = 4096) -> socket.socket:
    """A client with a small receive buffer, that reads only when it is told to."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


async def push(sock: socket.socket, data: bytes, patience: float = 0.3) -> int:
    """How many bytes of `data` the other side takes before it takes no more for a while."""
    loop = asyncio.get_running_loop()
    sent = 0
    idle_since = loop.time()
    while sent < len(data) and loop.time() - idle_since < patience:
        try:
            sent += sock.send(data[sent : sent + 65536])
            idle_since = loop.time()
        except BlockingIOError:
            pass
        await asyncio.sleep(0)
    return sent


# --- the order of bytes ---


async def test_bytes_that_arrive_together_with_an_answer_stay_behind_those_that_came_before(house: House) -> None:
    """B-16: the second request is cut in two; its end arrives in the same turn of the loop as the first one's answer."""
    cookie = await house.session()
    answers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def later(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/first":
            answers.put_nowait(writer)
        else:
            await answer_ok(asked, reader, writer)

    house.upstream.answer = later
    second = request(house, cookie, "GET /second", "X-Long: " + "a" * 100)
    for _ in range(20):
        wire = await Wire.open(house.port)
        await wire.send(request(house, cookie, "GET /first") + second[:60])
        upstream = await answers.get()
        await asyncio.sleep(0.002)
        upstream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        wire.writer.write(second[60:])
        assert (await wire.response()).body == b"first"
        assert (await wire.response()).body == b"you asked for /second"
        await wire.close()


async def test_requests_of_a_client_that_reads_nothing_are_not_answered_into_memory(house: House) -> None:
    """B-16, B-51: refusals are longer than the requests they answer."""
    counters = house.worker.context.counters
    sock = stubborn(house.port)
    await push(sock, request(house, None) * 60_000)
    (connection,) = house.worker.context.connections
    answered, held = -1, 0
    while answered != sum(counters.requests.values()) and held < 2 * 1024 * 1024:
        answered = sum(counters.requests.values())
        await asyncio.sleep(0.1)
        held = connection.transport.get_write_buffer_size()
    sock.close()
    assert held < 512 * 1024


async def test_requests_behind_slow_answers_are_not_collected_in_memory(house: House) -> None:
    """B-16: every answer lets a little more in, never as much as was sent."""
    cookie = await house.session()
    piece = request(house, cookie, "GET /x", "X-Long: " + "a" * 1000)
    sock = stubborn(house.port, receives=1024 * 1024)
    reading = asyncio.create_task(_read_on(sock))
    sent = 0
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.0
    answered_at_first = len(house.upstream.requests)
    while loop.time() < until:
        with contextlib.suppress(BlockingIOError):
            sent += sock.send(piece * 64)
        await asyncio.sleep(0)
    unanswered = sent - (len(house.upstream.requests) - answered_at_first) * len(piece)
    reading.cancel()
    (connection,) = house.worker.context.connections
    sock.close()
    assert unanswered > 0
    assert isinstance(connection, Downstream)
    assert len(connection._pending) < 1024 * 1024


async def _read_on(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(sock, 65536):
        pass


async def test_a_head_that_waits_behind_an_answer_may_be_longer_than_the_queue(open_house: OpenHouse) -> None:
    """B-16, B-50: the bound on what waits must not stop a head that is within its own."""
    house = await open_house(limits={"head": "256KiB"})
    cookie = await house.session()
    release = asyncio.Event()

    async def waits(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/first":
            await release.wait()
        await answer_ok(asked, reader, writer)

    house.upstream.answer = waits
    wire = await Wire.open(house.port)
    wire.writer.write(request(house, cookie, "GET /first"))
    await eventually(lambda: house.upstream.requests)
    wire.writer.write(request(house, cookie, "GET /second", "X-Long: " + "a" * 200_000))
    wire.writer.write(request(house, cookie, "POST /third", "Content-Length: 300000") + b"b" * 300_000)
    await asyncio.sleep(0.05)
    release.set()
    for target in ("/first", "/second", "/third"):
        assert (await wire.response()).body == b"you asked for " + target.encode()
    assert len(house.upstream.requests[-1].body) == 300_000
    await wire.close()


# --- half-finished exchanges ---


async def test_a_refused_request_whose_body_never_comes_ends_in_time_and_is_answered_once(house: House) -> None:
    """B-17, D-20."""
    house.worker.context.head_timeout = 0.2
    wire = await Wire.open(house.port)
    await wire.send(request(house, None, "POST /x", "Content-Length: 10") + b"half")
    assert (await wire.response()).status == 401
    assert await wire.ended(timeout=5)
    await wire.close()
    await eventually(lambda: not house.worker.context.connections)
    assert house.worker.context.counters.in_flight == 0


async def test_a_refused_request_whose_body_comes_leaves_the_connection_usable(house: House) -> None:
    """B-17."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(request(house, None, "POST /x", "Content-Length: 10") + b"half")
    assert (await wire.response()).status == 401
    await wire.send(b"ofitXX" + request(house, cookie, "GET /next"))
    assert (await wire.response()).body == b"you asked for /next"
    await wire.close()


@pytest.mark.parametrize("target", ["/en/login", "/api/token", "/oauth2/start"])
async def test_a_body_over_the_bound_that_comes_whole_is_refused_once(open_house: OpenHouse, target: str) -> None:
    """B-19: the last chunk lies in the same read as the one that was too much."""
    house = await open_house(**DOORS)
    head = request(
        house, None, f"POST {target}", "Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked"
    )
    body = b"grant_type=" + b"a" * 70_000
    wire = await Wire.open(house.port)
    wire.writer.write(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) + request(house, None, "GET /smuggled"))
    assert (await wire.response()).status in (403, 413)
    assert await wire.ended()
    await wire.close()
    await eventually(lambda: not house.worker.context.connections)
    assert house.upstream.requests == []
    assert house.worker.context.counters.in_flight == 0


async def test_a_session_that_ends_while_a_door_reads_the_body_admits_nothing(open_house: OpenHouse) -> None:
    """C-44: a request that was begun before the sign-out and finished after it."""
    house = await open_house(**DOORS)
    cookie = await house.session()
    assert (await house.ask("/warm", cookie=cookie)).status == 200
    body = b"grant_type=refresh_token&refresh_token=x"
    head = request(
        house,
        cookie,
        "POST /api/token",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
    )
    wire = await Wire.open(house.port)
    await wire.send(head + body[:5])
    await eventually(lambda: house.worker.context.counters.in_flight == 1)
    key = house.worker.store.key_of(cookie.partition("=")[2])
    await house.worker.store.revoke(key)
    house.worker.cache.forget(key)
    await wire.send(body[5:])
    assert (await wire.response()).status == 401
    await wire.close()
    assert [asked.target for asked in house.upstream.requests] == ["/warm"]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_an_upload_waits_for_an_upstream_that_reads_nothing(
    open_house: OpenHouse, tmp_path: Path, family: socket.AddressFamily, cached: bool
) -> None:
    """B-51."""
    upstream = socket.socket(family)
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    upstream.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "up"))
    upstream.listen()
    name = upstream.getsockname()
    url = f"unix:{name}" if isinstance(name, str) else f"http://127.0.0.1:{name[1]}"
    house = await open_house(upstreams={"portal": url}, limits={"head": "1MiB"})
    cookie = await house.session()
    if cached:
        await house.worker.cache.load(house.worker.store.key_of(cookie.partition("=")[2]), house.host(), "portal")
    sock = stubborn(house.port)
    # The head alone fills the upstream's socket: reading stops before the connection was made known to everybody.
    head = request(house, cookie, "POST /up", f"Content-Length: {64 * 1024 * 1024}", f"X-Long: {'a' * 700_000}")
    sent = await push(sock, head + bytes(64 * 1024 * 1024), 0.5)
    sock.close()
    upstream.close()
    assert sent < 48 * 1024 * 1024  # the kernel may hold 32 MiB of it for a socket that is not read


@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
async def test_a_client_that_never_takes_its_answer_is_let_go(house: House, fields: tuple[str, ...]) -> None:
    """D-20: the last bytes of an answer wait for the client, but not for ever."""
    cookie = await house.session()
    door = house.worker.context
    door.idle_timeout = 0.3

    async def until_it_waits(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not sum(connection.transport.get_write_buffer_size() for connection in door.connections):
            writer.write(b"8000\r\n" + bytes(0x8000) + b"\r\n")
            await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    house.upstream.answer = until_it_waits
    sock = stubborn(house.port)
    sock.send(request(house, cookie, "GET /much", *fields))
    await eventually(lambda: door.counters.requests["portal", 200] == 1)
    assert len(door.connections) == 1
    await eventually(lambda: not door.connections)
    sock.close()


async def test_a_broken_answer_whose_end_is_the_end_of_the_connection_ends_with_a_reset(house: House) -> None:
    """B-45: to a client of HTTP/1.0 a plain end would be a clean one."""
    cookie = await house.session()

    async def broken(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    house.upstream.answer = broken
    wire = await Wire.open(house.port)
    await wire.send(f"GET / HTTP/1.0\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert (await wire.reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ConnectionResetError):
        await wire.reader.read()


async def test_a_connection_that_a_slow_client_stopped_is_no_longer_stopped_for_the_next(house: House) -> None:
    """B-54, B-51: the client's buffer is full with the first byte; the upstream connection goes back to the pool all the same."""
    head = request(house, None, "GET /x")
    pool = house.worker.context.pools["portal"]
    asked = house.worker.context.read_request(head)
    client = RecordingStream(asked)
    exchange = Exchange(client, asked, head, pool)
    client.on_event = lambda event: exchange.pause_response()
    exchange.start()
    await eventually(lambda: "end" in client.names)
    assert [connection.transport.is_reading() for connection in pool.idle] == [True]
    assert (await house.ask("/next", cookie=await house.session())).body == b"you asked for /next"


# --- upgrades ---


async def joined(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.1)
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    writer.write(head % ACCEPT)
    await asyncio.sleep(0.1)
    while data := await reader.read(65536):
        asked.body += data


def handshake(house: House, cookie: str) -> bytes:
    fields = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
    return request(house, cookie, "GET /socket", *fields)


async def test_a_client_that_sends_much_before_the_101_is_read_again_after_it(house: House) -> None:
    """B-53."""
    cookie = await house.session()
    house.upstream.answer = joined
    wire = await Wire.open(house.port)
    wire.writer.write(handshake(house, cookie) + bytes(1_000_000))
    assert (await wire.response()).status == 101
    await eventually(lambda: len(house.upstream.requests[0].body) == 1_000_000)
    await wire.close()


async def test_the_last_bytes_of_a_websocket_arrive_although_the_client_is_gone_at_once(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    """B-53: a close frame is often followed by the end of the connection, while the upstream still reads what came before."""
    upstream = RecordingUpstream(answer=joined, path=str(tmp_path / "up"))
    await upstream.start()
    house = await open_house(upstreams={"portal": upstream.url})
    cookie = await house.session()
    for size in range(100_000, 600_000, 25_000):
        wire = await Wire.open(house.port)
        await wire.send(handshake(house, cookie))
        assert (await wire.response()).status == 101
        wire.writer.write(b"a" * size + b"close frame")
        await wire.close()
    await eventually(lambda: [asked.body[-11:] for asked in upstream.requests] == [b"close frame"] * 20)
    await upstream.close()


# --- what is judged is what is sent on ---


async def test_a_field_that_is_named_away_in_connection_is_not_judged_either(open_house: OpenHouse) -> None:
    """B-48, C-18: no preflight to the upstream, no preflight to the gate."""
    house = await open_house(apps={"portal": {"cors_preflight": "pass"}})
    preflight = ("Origin: https://a.example", "Access-Control-Request-Method: PUT")
    for named in ("origin", "access-control-request-method", "Origin, Access-Control-Request-Method"):
        response = await house.raw(request(house, None, "OPTIONS /x", *preflight, f"Connection: {named}"))
        assert response.status in (400, 401)
    assert house.upstream.requests == []
    assert (await house.raw(request(house, None, "OPTIONS /x", *preflight))).status == 200


@pytest.mark.parametrize(
    "target", ["http://[/", "http://[::1", "http://]/", "http://a]b/", "//[", "http://[v1.x]/", "http://host:x/"]
)
async def test_a_target_that_is_no_url_is_400(house: House, target: str) -> None:
    """B-31."""
    response = await house.raw(request(house, await house.session(), f"GET {target}"))
    assert response.status in (400, 421) or target == "//["
    assert (await house.raw(request(house, None, f"GET {target}"))).status in (400, 401, 421)


async def test_another_proxys_question_with_a_broken_url_is_refused(open_house: OpenHouse) -> None:
    """C-01."""
    house = await open_house(trusted_proxies=["127.0.0.0/8"])
    for url in ("http://[/", "http://]", "http://a/\x7f"):
        response = await house.ask("/oauth2/auth", fields=f"X-Original-URL: {url}\r\n")
        assert response.status in (400, 403)


@pytest.mark.parametrize(
    "planted",
    ["=doorward_session=evil", " = doorward_session=evil", "=__Host-doorward_session=evil", "==doorward_login_1=x"],
)
async def test_an_upstream_cannot_plant_a_nameless_cookie_that_is_sent_back_as_ours(house: House, planted: str) -> None:
    """C-36, C-37: a browser sends a nameless cookie as its bare value."""

    async def planting(asked: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nSet-Cookie: a=doorward_b\r\nContent-Length: 0\r\n\r\n"
            % planted.encode()
        )

    house.upstream.answer = planting
    assert (await house.ask("/", cookie=await house.session())).values("set-cookie") == ["a=doorward_b"]


async def test_a_peer_that_is_gone_before_it_was_accepted_is_not_taken_for_a_trusted_one(open_house: OpenHouse) -> None:
    """C-34: its address can no longer be asked for; a trusted loopback is not the answer."""
    house = await open_house(trusted_proxies=["127.0.0.1/32"])
    cookie = await house.session()
    assert (await house.ask("/warm", cookie=cookie)).status == 200
    data = request(house, cookie, "PUT /x", "Content-Length: 0", "X-Forwarded-For: 10.9.9.9")
    for _ in range(5):
        sock = socket.create_connection(("127.0.0.1", house.port))
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    assert (await house.ask("/last", cookie=cookie)).status == 200
    assert all(asked.values("x-real-ip") != [b"10.9.9.9"] for asked in house.upstream.requests)


async def test_a_page_of_ours_takes_as_large_a_head_as_an_app_does(house: House) -> None:
    """B-50: who carries 20 KiB of an application's cookies can sign in all the same."""
    cookies = "; ".join(f"c{number}={'a' * 1000}" for number in range(20))
    response = await house.ask("/oauth2/userinfo", cookie=cookies, fields=BROWSER)
    assert response.status == 401
    response = await house.ask(f"/oauth2/userinfo?x={'a' * 9000}", fields="X-Long: " + "b" * 9000 + "\r\n")
    assert response.status == 401


async def test_a_client_of_http_1_0_is_never_told_to_continue(open_house: OpenHouse) -> None:
    """B-17 (RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored)."""
    house = await open_house(**DOORS)
    for target in ("/api/token", "/x"):
        wire = await Wire.open(house.port)
        head = f"POST {target} HTTP/1.0\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\nExpect: 100-continue\r\n"
        body = b"grant_type=refresh_token&refresh_token=x"
        await wire.send(
            f"{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert (await wire.response()).status == 200
        assert house.upstream.requests[-1].values("expect") == []
        await wire.close()


# --- bounds that hold however the bytes are cut ---


@pytest.mark.parametrize("length", [1023, 1024, 1025, 1026])
def test_a_chunk_size_line_is_as_long_as_it_is_however_it_is_cut(length: int) -> None:
    """B-14, B-50."""
    wire = b"1;" + b"x" * (length - 2) + b"\r\na\r\n0\r\n\r\n"
    outcomes: set[bool | None] = set()
    for step in (1, 7, length, length + 1, len(wire)):
        body = ChunkedBody()
        try:
            for start in range(0, len(wire), step):
                body.feed(wire[start : start + step])
            outcomes.add(body.done)
        except FramingError:
            outcomes.add(None)
    assert outcomes == ({True} if length <= 1024 else {None})


async def test_nothing_that_follows_a_request_for_a_page_of_ours_is_read(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """B-16: a page's answer ends the connection; bytes behind its request were judged by nobody."""
    page = request(house, None, "GET /oauth2/userinfo")
    for behind in (page, b"POST /oauth2/sign_out HTTP/1.1\r\nHost: evil\r\n\r\n", b"\x00\xff\r\n\r\n", b"a" * 200_000):
        for first, pause in ((page + behind, b""), (page, behind), (page[:-2], b"\r\n" + behind)):
            wire = await Wire.open(house.port)
            await wire.send(first)
            await asyncio.sleep(0)
            wire.writer.write(pause)
            assert (await wire.response()).status == 401
            assert await wire.ended()
            await wire.close()
    await eventually(lambda: not house.worker.context.connections)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
