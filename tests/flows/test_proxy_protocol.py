"""A load balancer in front that speaks the PROXY protocol: the address it tells is the client's, everywhere."""

import asyncio
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority
from tests.fakes.house import House
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n"


def v2(source: str, *, command: int = 1, family: int | None = None, more: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    kind = family if family is not None else (0x11 if address.version == 4 else 0x21)
    block = address.packed * 2 + (51234).to_bytes(2) + (443).to_bytes(2) + more
    return SIGNATURE + bytes([0x20 | command, kind]) + len(block).to_bytes(2) + block


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await balanced(open_house)


async def balanced(open_house: OpenHouse, **sections: Any) -> House:
    return await open_house(**{"listen_proxy_protocol": True, "trusted_proxies": ["127.0.0.1/32"], **sections})


async def dial(house: House, address: str = "127.0.0.1") -> Wire:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port, local_addr=(address, 0))
    return Wire(reader, writer)


async def ask(house: House, header: bytes, fields: str = "", target: str = "/") -> WireResponse:
    request = f"GET {target} HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n{fields}\r\n"
    wire = await dial(house)
    try:
        await wire.send(header + request.encode())
        return await wire.response()
    finally:
        await wire.close()


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 51234 443\r\n", "2001:db8::9"),
        (v2("203.0.113.9"), "203.0.113.9"),
        (v2("2001:db8::9"), "2001:db8::9"),
        (v2("203.0.113.9", more=b"\x04\x00\x03abc"), "203.0.113.9"),
        (v2("::ffff:203.0.113.9"), "203.0.113.9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
        (v2("203.0.113.9", command=0), "127.0.0.1"),
        (v2("203.0.113.9", family=0), "127.0.0.1"),
    ],
)
async def test_the_address_that_is_announced_is_the_clients(house: House, header: bytes, client: str) -> None:
    """C-34."""
    assert (await ask(house, header)).status == 200
    request = house.upstream.requests[0]
    assert request.values("x-forwarded-for") == [client.encode()]
    assert request.values("x-real-ip") == [client.encode()]
    house.worker.context.flush()
    assert any(f'"client":"{client}"'.encode() in line for line in house.lines)
    assert (await ask(house, header, target="/oauth2/userinfo")).status == 200
    house.worker.context.flush()
    assert any(f'"client":"{client}"'.encode() in line and b'"rule":"own"' in line for line in house.lines)


async def test_a_header_may_come_in_pieces_and_the_request_right_behind_it(house: House) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode()
    for header in (V1, v2("203.0.113.9", more=b"\x04\x00\x40" + b"x" * 64)):
        wire = await dial(house)
        for byte in header[:-3]:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)
        await wire.send(header[-3:] + request)
        assert (await wire.response()).status == 200
        await wire.close()
    assert {request.values("x-forwarded-for")[0] for request in house.upstream.requests} == {b"203.0.113.9"}


async def test_what_the_client_claims_is_not_believed_because_its_balancer_is_trusted(house: House) -> None:
    """C-34."""
    assert (await ask(house, V1, "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n")).status == 200
    assert house.upstream.requests[0].values("x-forwarded-for") == [b"203.0.113.9"]
    trusted = b"PROXY TCP4 127.0.0.1 192.0.2.1 51234 443\r\n"
    assert (await ask(house, trusted, "X-Forwarded-For: 10.0.0.1\r\n")).status == 200
    assert house.upstream.requests[1].values("x-forwarded-for") == [b"10.0.0.1, 127.0.0.1"]


async def test_a_header_of_anybody_else_is_not_even_read(house: House) -> None:
    """C-34."""
    for sent in (V1, b""):
        wire = await dial(house, "127.0.0.2")
        wire.writer.write(sent + f"GET / HTTP/1.1\r\nHost: {house.host()}\r\n\r\n".encode())
        assert await wire.ended()
        await wire.close()
    assert house.upstream.requests == []
    assert house.worker.context.connection_limit.total == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 51234\r\n",
        b"PROXY TCP4 203.0.113.999 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1 65536\r\n",
        b"PROXY  TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\n" + b"x" * 107,
        b"proxy TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY " + b"x" * 107,
        SIGNATURE + b"\x11\x11\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x22\x11\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x12\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x11\x00\x0b" + b"x" * 11,
        SIGNATURE + b"\x21\x21\x00\x0c" + b"x" * 12,
        SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 4096,
    ],
)
async def test_a_malformed_header_closes_the_connection_without_an_answer(house: House, sent: bytes) -> None:
    wire = await dial(house)
    request = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\n\r\n".encode()
    wire.writer.write(sent.replace(b"{host}", house.host().encode()) + request)
    assert await wire.ended()
    await wire.close()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)
    assert house.upstream.requests == []


async def test_a_balancer_that_does_not_announce_anybody_is_cut_in_time(open_house: OpenHouse) -> None:
    """D-20."""
    house = await balanced(open_house, limits={"head_timeout": "500ms"})
    silent, halting = await dial(house), await dial(house)
    await halting.send(V1[:20])
    await eventually(lambda: house.worker.context.connection_limit.total == 2)
    assert await silent.ended()
    assert await halting.ended()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)


async def test_limits_are_those_of_the_client_and_not_of_the_balancer(open_house: OpenHouse) -> None:
    """D-20."""
    house = await balanced(open_house, limits={"connections_per_address": 2})
    request = f"GET / HTTP/1.1\r\nHost: {house.host()}\r\nCookie: {await house.session()}\r\n\r\n".encode()
    held = [await dial(house) for _ in range(2)]
    for wire in held:
        await wire.send(V1 + request)
        assert (await wire.response()).status == 200
    third, other = await dial(house), await dial(house)
    await third.send(V1 + request)
    assert await third.ended()
    await other.send(v2("203.0.113.10") + request)
    assert (await other.response()).status == 200
    for wire in (*held, third, other):
        await wire.close()
    await eventually(lambda: house.worker.context.connection_limit.total == 0)


async def test_the_header_comes_before_tls(open_house: OpenHouse, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("portal.localhost")
    files = {"certificate": str(pair.certificate), "key": str(pair.key)}
    house = await balanced(open_house, external_url_scheme="https", tls=files)
    cookie = "__Host-" + await house.session()
    for header in (V1, v2("203.0.113.9")):
        answer = await over_tls(house, authority, header, f"Host: {house.host()}\r\nCookie: {cookie}\r\n")
        assert b"you asked for /" in answer
        assert house.upstream.requests[-1].values("x-forwarded-for") == [b"203.0.113.9"]
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await over_tls(house, authority, b"", f"Host: {house.host()}\r\n")
    await eventually(lambda: house.worker.context.connection_limit.total == 0)


async def over_tls(house: House, authority: Authority, header: bytes, fields: str) -> bytes:
    """One request, its first TLS record in the same segment as the PROXY header."""
    wire = await dial(house)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client().wrap_bio(incoming, outgoing, server_hostname="portal.localhost")
    wire.writer.write(header)

    async def step(action: Any) -> Any:
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                wire.writer.write(outgoing.read())
                data = await wire.reader.read(65536)
                if not data:
                    raise EOFError from None
                incoming.write(data)

    async with asyncio.timeout(60):
        await step(tls.do_handshake)
        tls.write(f"GET / HTTP/1.1\r\n{fields}\r\n".encode())
        wire.writer.write(outgoing.read())
        answer = b""
        while b"you asked" not in answer:
            answer += await step(lambda: tls.read(65536))
    wire.writer.transport.abort()
    return answer
