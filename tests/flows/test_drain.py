"""A worker that leaves loses no request: each kept connection ends with an answer that says so (D-07)."""

import asyncio
import socket

from tests.fakes.house import House
from tests.fakes.recorder import HalfAnswer
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire


def asked(house: House, cookie: str, path: str = "/x", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n{fields}\r\n".encode()


async def kept(house: House, cookie: str) -> Wire:
    """A connection that has had one answer and waits for its next request."""
    wire = await Wire.open(house.port)
    await wire.send(asked(house, cookie))
    response = await wire.response()
    assert (response.status, response.value("connection")) == (200, None)
    return wire


async def test_a_kept_connection_is_served_once_more_and_told_that_it_ends(house: House) -> None:
    cookie = await house.session()
    wires = [await kept(house, cookie) for _ in range(3)]
    draining = asyncio.create_task(house.worker.server.drain(600))
    await eventually(lambda: house.worker.context.draining)
    for wire in wires:
        await wire.send(asked(house, cookie, "/again"))
        response = await wire.response()
        assert (response.status, response.value("connection")) == (200, "close")
        assert await wire.ended()
    await asyncio.wait_for(draining, 60)  # nobody is left: it need not wait for its end


async def test_a_page_of_ours_and_a_refusal_say_it_too(house: House) -> None:
    cookie = await house.session()
    for path in ("/oauth2/userinfo", "/%2"):
        wire = await kept(house, cookie)
        house.worker.context.draining = True
        await wire.send(asked(house, cookie, path))
        response = await wire.response()
        assert response.value("connection") == "close"
        assert await wire.ended()
        house.worker.context.draining = False


async def test_a_request_with_a_body_that_comes_during_the_drain_is_served_whole(house: House) -> None:
    cookie = await house.session()
    wire = await kept(house, cookie)
    draining = asyncio.create_task(house.worker.server.drain(600))
    await eventually(lambda: house.worker.context.draining)
    head = f"POST /form HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\nContent-Length: 10\r\n\r\n".encode()
    await wire.send(head + b"01234")
    await eventually(lambda: len(house.upstream.requests) == 2)
    await wire.send(b"56789")
    response = await wire.response()
    assert (response.status, response.value("connection")) == (200, "close")
    assert house.upstream.requests[-1].body == b"0123456789"
    await asyncio.wait_for(draining, 60)


async def test_an_answer_that_had_begun_without_saying_so_keeps_the_connection_for_one_more_request(
    house: House,
) -> None:
    """What a client was not told it need not expect: its next request is on its way already."""
    cookie = await house.session()
    half = HalfAnswer()
    answer, house.upstream.answer = house.upstream.answer, half
    wire = await Wire.open(house.port)
    await wire.send(asked(house, cookie))
    head = await wire.reader.readuntil(b"\r\n\r\n")
    assert b"connection: close" not in head.lower()
    draining = asyncio.create_task(house.worker.server.drain(600))
    await eventually(lambda: house.worker.context.draining)
    house.upstream.answer = answer
    half.release.set()
    assert await wire.reader.readexactly(4) == b"half"
    await wire.send(asked(house, cookie, "/again"))
    response = await wire.response()
    assert (response.status, response.value("connection")) == (200, "close")
    assert await wire.ended()
    await asyncio.wait_for(draining, 60)


async def test_who_stays_silent_is_closed_at_the_end_of_the_drain(house: House) -> None:
    cookie = await house.session()
    silent, never = await kept(house, cookie), await Wire.open(house.port)
    await eventually(lambda: len(house.worker.context.connections) == 2)
    draining = asyncio.create_task(house.worker.server.drain(0.5))
    assert await silent.ended()
    assert await never.ended()
    await asyncio.wait_for(draining, 60)


async def test_a_connection_that_was_accepted_as_the_drain_began_is_served(house: House) -> None:
    """D-07: the loop accepted it, and its protocol is not made yet."""
    cookie = await house.session()
    with socket.create_connection(("127.0.0.1", house.port)) as client:
        client.sendall(asked(house, cookie))
        await asyncio.sleep(0)  # one turn of the loop: it accepts, and this test goes on before what it made of that
        await house.worker.server.drain(30)
        client.setblocking(False)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
