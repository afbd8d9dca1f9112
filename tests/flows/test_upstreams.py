"""Behind the door: several addresses of one app, TLS to them, timeouts, connections that die."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority
from tests.fakes.house import BROWSER, NOBODY, House, free_port
from tests.fakes.recorder import Recorded, RecordingUpstream, answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse


@contextlib.asynccontextmanager
async def recording(port: int = 0, **settings: Any) -> AsyncIterator[RecordingUpstream]:
    upstream = RecordingUpstream(**settings)
    await upstream.start(port)
    try:
        yield upstream
    finally:
        await upstream.close()


def portal(*upstream: str, **more: Any) -> dict[str, Any]:
    return {"apps": {"portal": {"upstream": list(upstream), **more}}}


# --- several addresses ------------------------------------------------------------------------------------------------


async def test_requests_go_to_the_addresses_of_an_app_in_turn(open_house: OpenHouse) -> None:
    async with recording() as one, recording() as two:
        house = await open_house(**portal(one.url, two.url))
        cookie = await house.session()
        for number in range(10):
            assert (await house.ask(f"/{number}", cookie=cookie)).status == 200
        assert (len(one.requests), len(two.requests)) == (5, 5)
        assert (one.connections, two.connections) == (1, 1)


async def test_an_address_that_goes_away_is_left_out_and_comes_back_by_itself(open_house: OpenHouse) -> None:
    async with recording() as stays:
        leaves = RecordingUpstream()
        await leaves.start()
        house = await open_house(**portal(leaves.url, stays.url))
        cookie = await house.session()
        for number in range(4):
            assert (await house.ask(f"/{number}", cookie=cookie)).status == 200
        await leaves.close()
        for number in range(10):
            assert (await house.ask(f"/{number}", cookie=cookie)).status == 200
            assert (await house.ask(f"/{number}", method="POST", body=b"x", cookie=cookie)).status in (200, 502)
        async with recording(port=leaves.port) as returned:
            await eventually(lambda: not house.worker.context.pools["portal"].endpoints[0].ejected)
            for number in range(4):
                assert (await house.ask(f"/{number}", cookie=cookie)).status == 200
            assert len(returned.requests) == 2


async def test_a_request_that_was_never_sent_goes_to_the_next_address_whatever_its_method(
    open_house: OpenHouse,
) -> None:
    async with recording() as alive:
        house = await open_house(**portal(NOBODY, f"http://127.0.0.1:{free_port()}", alive.url))
        response = await house.ask("/pay", method="POST", body=b"100", cookie=await house.session())
        assert response.status == 200
        assert [request.body for request in alive.requests] == [b"100"]


async def test_an_app_on_a_unix_socket_is_served(open_house: OpenHouse, tmp_path: Path) -> None:
    async with recording(path=str(tmp_path / "app.sock")) as upstream:
        house = await open_house(**portal(upstream.url))
        cookie = await house.session()
        assert (await house.ask("/a", cookie=cookie)).body == b"you asked for /a"
        assert (await house.ask("/b", method="POST", body=b"x" * 100_000, cookie=cookie)).status == 200
        assert upstream.requests[0].values("host") == [house.host().encode()]
        assert upstream.connections == 1


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_an_https_upstream_is_verified_with_its_private_ca_and_name(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    by_address = authority.issue("127.0.0.1", file="address").server()
    by_name = authority.issue("portal.internal", file="name").server()
    async with recording(tls=by_address) as one, recording(tls=by_name) as two:
        house = await open_house(**portal(one.url, upstream_tls={"ca": str(authority.ca)}))
        assert (await house.ask("/a", cookie=await house.session())).body == b"you asked for /a"
        named = {"ca": str(authority.ca), "server_name": "portal.internal"}
        house = await open_house(**portal(two.url, upstream_tls=named))
        response = await house.ask("/b", method="POST", body=b"x" * 300_000, cookie=await house.session())
        assert response.status == 200
        assert len(two.requests[0].body) == 300_000


class HalfSpoken:
    """An https upstream whose answer ends with its connection; `clean`: it says over TLS that this was the end."""

    def __init__(self, context: ssl.SSLContext, *, clean: bool) -> None:
        self._context = context
        self._clean = clean
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> None:
        """One request."""
        plain, _ = self._listening.accept()
        with self._listening:
            secured = self._context.wrap_socket(plain, server_side=True)
            while not secured.recv(65536).endswith(b"\r\n\r\n"):
                pass
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it, perhaps")
            if self._clean:
                secured.unwrap()
            os.close(secured.detach())


@pytest.mark.parametrize("clean", [True, False])
async def test_an_answer_over_tls_that_ends_without_being_said_to_end_is_seen_as_truncated(
    open_house: OpenHouse, tmp_path: Path, clean: bool
) -> None:
    """B-45: anybody on the way can end a TCP connection; only close_notify says that it was the application."""
    authority = Authority(tmp_path)
    upstream = HalfSpoken(authority.issue("127.0.0.1").server(), clean=clean)
    serving = asyncio.create_task(asyncio.to_thread(upstream.serve))
    house = await open_house(**portal(upstream.url, upstream_tls={"ca": str(authority.ca)}))
    response = await house.ask("/", cookie=await house.session())
    await serving
    assert response.status == 200
    assert response.body == b"all of it, perhaps"
    assert response.complete == clean


@pytest.mark.parametrize("wrong", ["name", "expired", "unknown ca"])
async def test_an_https_upstream_that_cannot_prove_itself_gets_nothing_and_a_502_that_says_tls(
    open_house: OpenHouse, tmp_path: Path, wrong: str
) -> None:
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "other") if wrong == "unknown ca" else authority
    pair = other.issue("evil.internal" if wrong == "name" else "127.0.0.1", expired=wrong == "expired")
    async with recording(tls=pair.server()) as upstream:
        house = await open_house(**portal(upstream.url, upstream_tls={"ca": str(authority.ca)}))
        response = await house.ask("/", cookie=await house.session(), fields=BROWSER)
        assert response.status == 502
        assert b"no secure connection to the application" in response.body
        assert upstream.requests == []
        response = await house.ask("/", cookie=await house.session())
        assert b'"upstream_tls_fault"' in response.body


async def test_a_plain_server_where_tls_is_expected_is_a_502_that_says_tls(open_house: OpenHouse) -> None:
    heard: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    house = await open_house(**portal(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    response = await house.ask("/", cookie=await house.session())
    assert (response.status, b'"upstream_tls_fault"' in response.body) == (502, True)
    assert b"GET" not in heard[0]
    server.close()


# --- what does not answer ---------------------------------------------------------------------------------------------


async def test_an_upstream_that_does_not_answer_in_time_gets_a_504_that_says_so(open_house: OpenHouse) -> None:
    house = await open_house(apps={"portal": {"timeouts": {"response_headers": "300ms"}}})

    async def silent(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    house.upstream.answer = silent
    response = await house.ask("/", cookie=await house.session(), fields=BROWSER)
    assert response.status == 504
    assert b"took too long to respond" in response.body


async def test_a_handshake_that_stands_still_is_a_504_within_the_connect_timeout(open_house: OpenHouse) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    house = await open_house(**portal(url, timeouts={"connect": "300ms"}))
    response = await house.ask("/", cookie=await house.session())
    assert (response.status, b'"upstream_timeout"' in response.body) == (504, True)
    server.close()


async def test_a_response_that_stands_still_is_cut_and_an_event_stream_within_its_idle_time_is_not(
    open_house: OpenHouse,
) -> None:
    """B-52: only `idle` ends a silent stream; the limit for the response's head does not."""
    house = await open_house(apps={"portal": {"timeouts": {"response_headers": "200ms", "idle": "1500ms"}}})
    release = asyncio.Event()

    async def halting(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await release.wait()
        writer.write(b"data: 2\n\n")
        await writer.drain()
        await reader.read()

    house.upstream.answer = halting
    wire = await Wire.open(house.port)
    await wire.send(f"GET /events HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode())
    await wire.reader.readuntil(b"data: 1\n\n\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.reader.read(1), 0.9)
    release.set()
    await wire.reader.readuntil(b"data: 2\n\n\r\n")
    async with asyncio.timeout(60):
        assert not (await wire.reader.read()).endswith(b"0\r\n\r\n")
    await wire.close()


async def test_an_upstream_that_does_not_read_an_upload_gets_a_504_and_not_the_blame_of_the_client(
    open_house: OpenHouse,
) -> None:
    """B-51."""
    house = await open_house(apps={"portal": {"timeouts": {"idle": "500ms"}}})
    house.upstream.read_bodies = False

    async def deaf(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    house.upstream.answer = deaf
    wire = await Wire.open(house.port)
    head = f"POST / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\nContent-Length: 100000000\r\n\r\n"
    wire.writer.write(head.encode() + b"x" * 20_000_000)
    response = await wire.response()
    assert response.status == 504
    wire.writer.transport.abort()


# --- connections that die ---------------------------------------------------------------------------------------------


async def warm(house: House, cookie: str) -> None:
    """Leave one idle connection to the upstream."""
    assert (await house.ask("/first", cookie=cookie)).status == 200
    await eventually(lambda: len(house.worker.context.pools["portal"].idle) == 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_a_repeatable_request_without_a_body_is_sent_again_once_when_a_kept_connection_died(
    house: House, method: str
) -> None:
    """B-18."""
    cookie = await house.session()
    await warm(house, cookie)

    async def die(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    house.upstream.answer = die
    assert (await house.ask("/second", method=method, cookie=cookie)).status == 502
    assert [request.connection for request in house.upstream.requests] == [1, 1, 2]


async def test_a_request_that_must_not_be_repeated_is_sent_once(house: House) -> None:
    """B-18."""
    cookie = await house.session()

    async def die(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    for method, body in (("POST", b"100"), ("PATCH", b"x"), ("PUT", b"x"), ("POST", None)):
        house.upstream.answer = answer_ok
        await warm(house, cookie)
        house.upstream.answer = die
        before = len(house.upstream.requests)
        assert (await house.ask("/pay", method=method, body=body, cookie=cookie)).status == 502
        assert [request.line[:4] for request in house.upstream.requests[before:]] == [f"{method} "[:4].encode()]


async def test_a_request_whose_answer_has_begun_is_never_sent_again(house: House) -> None:
    """B-18."""
    cookie = await house.session()
    await warm(house, cookie)

    async def stammer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 2")
        await writer.drain()
        writer.close()

    house.upstream.answer = stammer
    response = await house.ask("/second", cookie=cookie, fields=BROWSER)
    assert response.status == 502
    assert b"an invalid response" in response.body
    assert len(house.upstream.requests) == 2


async def test_an_upload_that_breaks_off_ends_its_upstream_connection_and_harms_nobody_else(house: House) -> None:
    """B-18."""
    cookie = await house.session()
    await warm(house, cookie)
    pool = house.worker.context.pools["portal"]
    for framing, body in (("Content-Length: 1000", b"half"), ("Transfer-Encoding: chunked", b"5\r\nhal")):
        wire = await Wire.open(house.port)
        await wire.send(
            f"POST /up HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{framing}\r\n\r\n".encode() + body
        )
        await eventually(lambda: house.upstream.requests[-1].target == "/up")
        wire.writer.transport.abort()
        await eventually(lambda: pool.open == len(pool.idle))
        house.upstream.requests.pop()
    house.upstream.answer = answer_ok
    for number in range(20):
        assert (await house.ask(f"/after/{number}", cookie=cookie)).body == b"you asked for /after/%d" % number
    assert all(b"half" not in request.head for request in house.upstream.requests)
