"""TLS that ends at the door: as strict as configured, renewed while it runs, and the same product behind it."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority, Pair
from tests.fakes.house import House
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import echo_socket, handshake

OpenTls = Callable[..., Any]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("portal.localhost")


@pytest.fixture
def open_tls(open_house: OpenHouse, pair: Pair) -> OpenTls:
    async def opening(**sections: Any) -> House:
        files = {"certificate": str(pair.certificate), "key": str(pair.key)}
        return await open_house(external_url_scheme="https", tls=files, **sections)

    return opening


@pytest.fixture
async def house(open_tls: OpenTls) -> House:
    opened: House = await open_tls()
    return opened


async def dial(house: House, context: ssl.SSLContext) -> Wire:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", house.port, ssl=context, server_hostname="portal.localhost"
    )
    return Wire(reader, writer)


async def signed_in(house: House) -> str:
    return "__Host-" + await house.session()


def serial(wire: Wire) -> Any:
    return wire.writer.get_extra_info("peercert")["serialNumber"]


async def test_requests_bodies_and_pages_of_our_own_travel_over_tls(house: House, authority: Authority) -> None:
    cookie = await signed_in(house)
    wire = await dial(house, authority.client())
    for number in range(5):
        await wire.send(f"GET /{number} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert (await wire.response()).body == b"you asked for /%d" % number
    body = os.urandom(3_000_000)
    line = f"POST /up HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Length: {len(body)}\r\n\r\n"
    await wire.send(line.encode() + body)
    assert (await wire.response()).status == 200
    assert house.upstream.requests[-1].body == body
    assert house.upstream.requests[-1].values("x-forwarded-proto") == [b"https"]
    assert house.upstream.requests[-1].values("x-forwarded-for") == [b"127.0.0.1"]
    await wire.send(f"GET /oauth2/userinfo HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    response = await wire.response()
    assert response.status == 200
    assert b"bob@example.com" in response.body
    assert await wire.ended()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)


async def test_a_websocket_travels_over_tls(house: House, authority: Authority) -> None:
    house.upstream.answer = echo_socket
    wire = await dial(house, authority.client())
    await wire.send(handshake(house, await signed_in(house), origin=f"https://{house.host()}"))
    assert (await wire.response()).status == 101
    assert await wire.reader.readexactly(5) == b"hello"
    body = os.urandom(2_000_000)
    wire.writer.write(body)
    assert await wire.reader.readexactly(len(body)) == body
    await wire.close()
    await eventually(lambda: house.worker.context.pools["portal"].open == 0)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_tls_1_2_and_1_3_are_spoken_and_http_1_1_is_what_is_agreed_on(
    house: House, authority: Authority, version: str
) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    wire = await dial(house, context)
    assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    await wire.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_versions_are_refused(house: House, authority: Authority) -> None:
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await dial(house, context)


async def test_a_renewed_certificate_is_used_and_a_broken_pair_changes_nothing(
    house: House, authority: Authority, pair: Pair
) -> None:
    old = await dial(house, authority.client())
    first = serial(old)
    good_key = pair.key.read_bytes()
    pair.key.write_bytes(b"half written")
    await asyncio.sleep(1.5)
    assert serial(await dial(house, authority.client())) == first
    pair.key.write_bytes(good_key)
    authority.issue("portal.localhost")

    async def renewed() -> bool:
        wire = await dial(house, authority.client())
        found = serial(wire)
        await wire.close()
        return bool(found != first)

    await eventually(renewed)
    cookie = await signed_in(house)
    await old.send(f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert (await old.response()).status == 200


async def test_a_handshake_that_stands_still_ends_in_time_and_is_counted_until_then(
    open_tls: OpenTls, authority: Authority
) -> None:
    """D-20."""
    house = await open_tls(limits={"head_timeout": "700ms", "connections_per_address": 5})
    still = [await Wire.open(house.port) for _ in range(5)]
    await still[0].send(b"\x16\x03\x01\x02\x00\x01\x00")
    await eventually(lambda: house.worker.context.connection_limit.total == 5)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await dial(house, authority.client())
    for wire in still:
        assert await wire.ended()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)
    wire = await dial(house, authority.client())
    cookie = await signed_in(house)
    await wire.send(f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert (await wire.response()).status == 200
    await wire.close()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: portal.localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70000]
)
async def test_what_is_no_handshake_is_closed_and_counted_out(house: House, sent: bytes) -> None:
    wire = await Wire.open(house.port)
    wire.writer.write(sent)
    async with asyncio.timeout(60):
        try:
            answer = await wire.reader.read()
        except ConnectionError:
            answer = b""
    assert b"HTTP" not in answer
    await eventually(lambda: house.worker.context.connection_limit.total == 0)
    assert house.upstream.requests == []


async def test_clients_that_vanish_during_the_handshake_leave_nothing_behind(
    house: House, authority: Authority
) -> None:
    for length in (0, 1, 5, 100, 400):
        sock = socket.socket()
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", house.port))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello = authority.client().wrap_bio(incoming, outgoing, server_hostname="portal.localhost")
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        await loop.sock_sendall(sock, outgoing.read()[:length])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)
    wire = await dial(house, authority.client())
    await wire.close()


async def test_a_worker_that_drains_closes_its_threshold(house: House, authority: Authority) -> None:
    wire = await dial(house, authority.client())
    still = await Wire.open(house.port)
    await eventually(lambda: house.worker.context.connection_limit.total == 2)
    await house.worker.server.drain(0.5)
    assert await wire.ended()
    assert await still.ended()
    with pytest.raises(OSError):
        await Wire.open(house.port)


async def test_a_handshake_that_began_before_the_drain_is_finished_and_its_request_served(
    house: House, authority: Authority
) -> None:
    """D-07: a connection that was accepted is not refused any more."""
    cookie = await signed_in(house)
    still = await Wire.open(house.port)
    await eventually(lambda: house.worker.context.connection_limit.total == 1)
    draining = asyncio.create_task(house.worker.server.drain(600))
    await eventually(lambda: house.worker.context.draining)
    await still.writer.start_tls(authority.client(), server_hostname="portal.localhost")
    await still.send(f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    response = await still.response()
    assert (response.status, response.value("connection")) == (200, "close")
    await asyncio.wait_for(draining, 60)


async def test_a_client_that_never_says_goodbye_does_not_hold_a_stop(house: House, authority: Authority) -> None:
    """D-07: it got its last answer, over TLS, and leaves the connection open."""
    cookie = await signed_in(house)
    wire = await dial(house, authority.client())
    asked = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode()
    await wire.send(asked)
    assert (await wire.response()).status == 200
    draining = asyncio.create_task(house.worker.server.drain(600))
    await eventually(lambda: house.worker.context.draining)
    await wire.send(asked)
    wire.pause_reading()  # not even the end of the connection is read
    await asyncio.wait_for(draining, 60)
    wire.writer.transport.abort()
