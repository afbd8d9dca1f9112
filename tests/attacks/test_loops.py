"""An app whose upstream leads back to the gateway."""

import asyncio

from tests.fakes.house import House
from tests.fakes.recorder import Recorded, answer_ok
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse

OPEN = {"public": ["* /**"]}


def again(request: Recorded, *fields: bytes) -> bytes:
    """What arrived at the upstream, as the upstream would send it on."""
    return b"\r\n".join((request.head.rstrip(b"\r\n"), *fields, b"", b""))


async def looped(house: House) -> Recorded:
    """One request that arrived at the upstream; each is sent back to the gateway by now."""

    async def back(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        response = await house.raw(again(request))
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (response.status, len(response.body), response.body)
        )

    house.upstream.answer = back
    response = await house.ask("/page")
    assert (response.status, b"loop_detected" in response.body) == (508, True)
    assert len(house.upstream.requests) == 1
    return house.upstream.requests[0]


async def test_a_request_that_comes_back_is_answered_508(open_house: OpenHouse) -> None:
    """B-68."""
    house = await open_house(apps={"portal": OPEN, "other": OPEN})
    request = await looped(house)
    (name,) = request.values("via")
    assert name.startswith(b"1.1 doorward-")
    # Whoever stands between may add a field of its own, or make one of both.
    assert (await house.raw(again(request, b"Via: 1.1 between"))).status == 508
    joined = request.head.replace(b"Via: " + name, b"Via: 2 front, " + name + b", 1.0 behind")
    assert (await house.raw(joined.rstrip(b"\r\n") + b"\r\n\r\n")).status == 508
    # On a connection that carried the same fields before, and before a request without them.
    wire = await Wire.open(house.port)
    statuses = []
    for data in (again(request), again(request), b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % house.host().encode()):
        house.upstream.answer = answer_ok
        await wire.send(data)
        statuses.append((await wire.response()).status)
    await wire.close()
    assert statuses == [508, 508, 200]
    assert len(house.upstream.requests) == 2


async def test_other_names_in_via_travel_and_ours_comes_last(open_house: OpenHouse) -> None:
    """B-68: RFC 9110 section 7.6.3."""
    house = await open_house(apps={"portal": OPEN})
    assert (await house.ask("/", fields="Via: 1.0 a, 2 b\r\nvia: 1.1 c\r\n")).status == 200
    *others, ours = house.upstream.requests[0].values("via")
    assert others == [b"1.0 a, 2 b", b"1.1 c"]
    assert ours.startswith(b"1.1 doorward-")


async def test_one_app_may_ask_another_and_pages_of_our_own_answer(open_house: OpenHouse) -> None:
    """B-68: what went through one app's host may go through another's, once."""
    house = await open_house(apps={"portal": OPEN, "other": OPEN})
    await house.ask("/")
    request = house.upstream.requests[0]
    there = request.head.replace(house.host().encode(), house.host("other").encode())
    assert (await house.raw(there.rstrip(b"\r\n") + b"\r\n\r\n")).status == 200
    assert len(house.upstreams["other"].requests[0].values("via")) == 2
    own = request.head.replace(b"GET / ", b"GET /oauth2/userinfo ")
    assert (await house.raw(own.rstrip(b"\r\n") + b"\r\n\r\n")).status == 401


async def test_a_websocket_that_comes_back_is_answered_508(open_house: OpenHouse) -> None:
    """B-68."""
    house = await open_house(apps={"portal": {"public": ["* /**", "WEBSOCKET /**"]}})
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    await house.ask("/socket", fields=fields)
    assert (await house.raw(again(house.upstream.requests[0]))).status == 508
    assert len(house.upstream.requests) == 1
