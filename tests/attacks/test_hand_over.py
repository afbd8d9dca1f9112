"""Requests for pages of ours that another server, aiohttp, would answer by itself, or read in another way."""

import asyncio
import json
import socket

import pytest
from redis.asyncio import Redis

from gateway.proxy.internal_routes import AiohttpConnection
from tests.fakes.house import House
from tests.fakes.recorder import Recorded
from tests.fakes.redis_commands import command
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

ONCE_ONLY = (
    "Content-Type", "User-Agent", "ETag", "Server", "Content-Range", "Content-Location", "Max-Forwards", "If-Match", "Range", "Keep-Alive",
)  # fmt: skip


@pytest.mark.parametrize("name", ONCE_ONLY)
@pytest.mark.parametrize("target", ["/oauth2/userinfo", "/oauth2/nothing", "/oauth2/sign_out"])
async def test_every_answer_to_a_field_given_twice_is_ours(house: House, name: str, target: str) -> None:
    """B-46, B-13: no version in it, and it is logged."""
    response = await house.ask(target, fields=f"{name}: a\r\n{name}: b\r\n", cookie=await house.session())
    assert response.status in (200, 400, 404)
    assert response.value("server") is None
    assert response.value("content-type") != "text/plain; charset=utf-8"
    assert b"aiohttp" not in response.head + response.body
    house.worker.context.flush()
    lines = [json.loads(line) for data in house.lines for line in data.splitlines()]
    assert [line["status"] for line in lines if line.get("log") == "access"] == [response.status]


async def test_nothing_that_follows_a_page_of_ours_on_its_connection_is_answered(house: House) -> None:
    """B-16: it would reach the pages without having been judged, with a request id and an address of its own choosing."""
    cookie = await house.session()
    page = f"GET /oauth2/userinfo HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n".encode()
    for after in (page + b'X-Request-Id: a"b\r\nX-Real-IP: evil\r\n\r\n', b"JUNK\r\n\r\n" * 100, b"\x00" * 1000):
        wire = await Wire.open(house.port)
        await wire.send(page + b"\r\n" + after)
        assert (await wire.response()).status == 200
        assert await wire.ended()
        await wire.close()
    assert b"evil" not in b"".join(house.lines)


async def test_a_client_that_never_takes_a_page_of_ours_counts_and_is_cut_off(open_house: OpenHouse) -> None:
    """D-20: with an answer before it still unread, the connection was open for ever and in nobody's books."""
    house = await open_house(
        apps={"portal": {"public": ["GET /big"]}}, limits={"idle_timeout": "300ms", "head_timeout": "300ms"}
    )
    door, loop = house.worker.context, asyncio.get_running_loop()

    async def big(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 150000\r\n\r\n" + b"x" * 150_000)

    house.upstream.answer = big
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", house.port))
        await eventually(lambda: len(door.connections) == 1)
        (connection,) = door.connections
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for target in ("/big", "/oauth2/userinfo"):
            await loop.sock_sendall(client, f"GET {target} HTTP/1.1\r\nHost: {house.host()}\r\n\r\n".encode())
        await eventually(lambda: any(isinstance(each, AiohttpConnection) for each in door.connections))
        assert connection.transport.get_write_buffer_size() > 0
        assert door.connection_limit.total == 1
        await eventually(lambda: not door.connections and door.connection_limit.total == 0)


async def test_a_page_of_ours_that_is_being_made_is_waited_for_when_the_door_closes(house: House, redis: Redis) -> None:
    """D-07: it is a request like any other."""
    wire = await Wire.open(house.port)
    cookie = await house.session()
    await command(redis, "CLIENT", "PAUSE", "300", "ALL")  # the page waits for the session
    await wire.send(f"GET /oauth2/userinfo HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    await eventually(lambda: any(isinstance(each, AiohttpConnection) for each in house.worker.context.connections))
    await house.worker.server.drain(5.0)
    assert (await wire.response()).status == 200
    await wire.close()
