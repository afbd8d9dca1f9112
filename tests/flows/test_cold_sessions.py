"""Requests whose session the worker has to read first: what comes meanwhile waits, and whoever goes away asks nothing more."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.house import House
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse


@pytest.fixture
async def link(valkey: str) -> AsyncIterator[FlakyLink]:
    async with FlakyLink(valkey) as link:
        yield link


@pytest.fixture
async def far(open_house: OpenHouse, link: FlakyLink) -> House:
    """A house far from its Redis, with its short way there open."""
    house = await open_house(redis={"url": link.url, "key_prefix": "far:"})
    await steady(house, await house.session())
    link.delay = 0.05
    return house


async def steady(house: House, cookie: str) -> None:
    async def short() -> bool:
        house.worker.cache.forget(house.worker.store.key_of(cookie.partition("=")[2]))
        asked = house.worker.store.durations.seconds
        assert (await house.ask("/", cookie=cookie)).status == 200
        return house.worker.store.durations.seconds > asked

    await eventually(short)
    house.upstream.requests.clear()


def get(house: House, cookie: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {cookie}\r\n\r\n".encode()


async def test_a_body_that_comes_while_the_session_is_read_arrives_whole(far: House) -> None:
    cookie = await far.session()
    body = bytes(range(256)) * 1024
    wire = await Wire.open(far.port)
    head = f"POST /x HTTP/1.1\r\nHost: {far.host()}\r\nCookie: {cookie}\r\nContent-Length: {len(body)}\r\n\r\n"
    await wire.send(head.encode() + body[:1000])
    for start in range(1000, len(body), 50_000):
        await wire.send(body[start : start + 50_000])
    assert (await wire.response()).status == 200
    await wire.close()
    assert [request.body for request in far.upstream.requests] == [body]


async def test_requests_behind_a_session_that_is_read_wait_their_turn_and_are_each_their_own(far: House) -> None:
    """B-16, C-09: five people on one connection, as behind a proxy."""
    people = [f"p{number}" for number in range(5)]
    cookies = [await far.session(subject=name, email=f"{name}@example.com") for name in people]
    wire = await Wire.open(far.port)
    await wire.send(b"".join(get(far, cookie, f"/{name}") for name, cookie in zip(people, cookies, strict=True)))
    assert [(await wire.response()).status for _ in people] == [200] * 5
    await wire.close()
    told = [(request.target, request.values("x-forwarded-email")) for request in far.upstream.requests]
    assert told == [(f"/{name}", [f"{name}@example.com".encode()]) for name in people]


async def test_who_goes_away_while_the_session_is_read_asks_nothing_of_the_upstream(
    far: House, link: FlakyLink, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = await far.session()
    key = far.worker.store.key_of(cookie.partition("=")[2])
    link.stall()
    wire = await Wire.open(far.port)
    await wire.send(get(far, cookie))
    await eventually(lambda: far.worker.context.counters.in_flight == 1)
    wire.writer.transport.abort()
    await eventually(lambda: far.worker.context.counters.in_flight == 0)
    link.restore()
    await eventually(lambda: far.worker.cache.peek(key, far.host()))
    assert far.upstream.requests == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert (await far.ask("/", cookie=cookie)).status == 200
    assert len(far.upstream.requests) == 1
