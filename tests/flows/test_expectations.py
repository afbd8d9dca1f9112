"""Expect: 100-continue, end to end: whoever waits for whom, nobody waits for ever, and no body is somebody else's request (RFC 9110 section 10.1.1)."""

import asyncio

from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire


def head(house: House, cookie: str | None, expect: str = "100-continue", size: int = 5) -> bytes:
    fields = [f"POST /e HTTP/1.1\r\nHost: {house.host()}", f"Content-Length: {size}", f"Expect: {expect}"]
    return ("\r\n".join([*fields, *([f"Cookie: {cookie}"] if cookie else [])]) + "\r\n\r\n").encode()


async def test_a_stranger_is_refused_without_being_told_to_go_on(house: House) -> None:
    """B-17: with and without the body; whether one comes cannot be known, so the connection ends."""
    for body in (b"", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"):
        wire = await Wire.open(house.port)
        await wire.send(head(house, None, size=37) + body)
        response = await wire.response()
        assert response.status == 401
        assert response.value("connection") == "close"
        assert await wire.ended()
        await wire.close()
    assert house.upstream.connections == 0


async def test_any_other_expectation_is_417(house: House) -> None:
    """B-17."""
    assert (await house.raw(head(house, await house.session(), "x"))).status == 417
    assert house.upstream.requests == []


async def test_a_final_answer_instead_of_100_is_the_answer_and_what_is_not_sent_is_not_waited_for(house: House) -> None:
    """B-17, B-02: the client has its answer at once; neither connection is used again, since the body may still come."""
    house.upstream.read_bodies = False

    async def answer(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/e":
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        else:
            await answer_ok(request, reader, writer)

    house.upstream.answer = answer
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(head(house, cookie, size=10**9))
    response = await wire.response()
    assert (response.status, response.body, response.value("connection")) == (413, b"big", "close")
    assert (await house.ask("/next", cookie=cookie)).body == b"you asked for /next"
    assert house.upstream.connections == 2
    await wire.close()


async def test_an_application_that_never_says_100_gets_the_body_when_the_client_tires_of_waiting(house: House) -> None:
    """B-17: no deadlock."""
    cookie = await house.session()
    wire = await Wire.open(house.port)
    await wire.send(head(house, cookie))
    await eventually(lambda: house.upstream.connections == 1)
    await wire.send(b"hello")
    assert (await wire.response()).status == 200
    assert house.upstream.requests[0].body == b"hello"
    assert house.upstream.requests[0].values("expect") == [b"100-continue"]
    await wire.send(f"GET /next HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert (await wire.response()).body == b"you asked for /next"
    await wire.close()


async def test_interim_answers_come_as_they_were_said_and_only_to_those_who_know_them(house: House) -> None:
    """B-42: 102 and 103 with their fields; HTTP/1.0 has none; a 100 that nobody waits for is kept back."""

    async def hints(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"
        )
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    house.upstream.answer = hints
    cookie = await house.session()
    for version, statuses in (("1.1", [102, 103, 200]), ("1.0", [200])):
        wire = await Wire.open(house.port)
        await wire.send(f"GET / HTTP/{version}\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode())
        answers = [await wire.response() for _ in statuses]
        assert [answer.status for answer in answers] == statuses
        if version == "1.1":
            assert answers[1].value("link") == "</a.css>; rel=preload"
            assert answers[1].value("x-hop") is None
        assert answers[-1].body == b"ok"
        await wire.close()
