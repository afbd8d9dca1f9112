"""The links of `make chaos` do what they are told, and count it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.links import Link


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """To a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    opened = await Link("echo", "127.0.0.1", server.sockets[0].getsockname()[1]).open()
    yield opened
    await opened.close()
    server.close()


async def opened(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", link.port)


async def said(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: bytes) -> bytes:
    pair[1].write(text)
    return await asyncio.wait_for(pair[0].readexactly(len(text)), 60)


async def is_silent(pair: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
    try:
        await asyncio.wait_for(pair[0].read(1), 0.2)
    except TimeoutError:
        return True
    return False


async def test_a_link_that_behaves_carries_everything(link: Link) -> None:
    pair = await opened(link)
    assert await said(pair, b"x" * 900) == b"x" * 900
    pair[1].write_eof()
    assert await asyncio.wait_for(pair[0].read(), 60) == b""
    assert link.counts == {"connections": 1}


async def test_a_delay_is_taken_both_ways_and_keeps_the_order(link: Link) -> None:
    pair = await opened(link)
    assert await said(pair, b"a") == b"a"
    link.misbehave("delay", 0.05)
    began = asyncio.get_running_loop().time()
    for piece in (b"1", b"2", b"3"):
        pair[1].write(piece)
        await asyncio.sleep(0)
    assert await asyncio.wait_for(pair[0].readexactly(3), 60) == b"123"
    assert asyncio.get_running_loop().time() - began >= 0.1
    assert link.counts["delayed pieces"] >= 2


async def test_what_was_stalled_arrives_when_the_stall_ends(link: Link) -> None:
    pair = await opened(link)
    assert await said(pair, b"a") == b"a"
    link.misbehave("stall")
    pair[1].write(b"later")
    assert await is_silent(pair)
    link.behave()
    assert await asyncio.wait_for(pair[0].readexactly(5), 60) == b"later"
    assert link.counts["stalled pieces"] == 1


async def test_a_reset_ends_old_connections_and_new_ones(link: Link) -> None:
    pair = await opened(link)
    assert await said(pair, b"a") == b"a"
    link.misbehave("reset")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(pair[0].read(1), 60)
    with pytest.raises(ConnectionError):
        await said(await opened(link), b"b")
    assert link.counts["reset"] == 2
    link.behave()
    assert await said(await opened(link), b"again") == b"again"


async def test_an_answer_is_cut_short_after_so_many_bytes(link: Link) -> None:
    link.misbehave("truncate", 3)
    pair = await opened(link)
    pair[1].write(b"abcdef")
    assert await asyncio.wait_for(pair[0].read(), 60) == b"abc"
    assert link.counts["truncated"] == 1


async def test_a_link_that_forgot_its_connections_takes_new_ones(link: Link) -> None:
    old = await opened(link)
    assert await said(old, b"a") == b"a"
    link.misbehave("forget")
    old[1].write(b"lost")
    assert await is_silent(old)
    assert await said(await opened(link), b"new") == b"new"
    link.behave()
    old[1].write(b"lost too")
    assert await is_silent(old)
    assert link.counts["swallowed connections"] == 1


async def test_a_connection_that_lost_bytes_never_works_again(link: Link) -> None:
    old, idle = await opened(link), await opened(link)
    assert await said(old, b"a") == b"a"
    assert await said(idle, b"a") == b"a"
    link.misbehave("blackhole")
    fresh = await opened(link)
    for pair in (old, fresh):
        pair[1].write(b"lost")
        assert await is_silent(pair)
    link.behave()
    old[1].write(b"lost too")
    assert await is_silent(old)
    assert await said(idle, b"was not used meanwhile") == b"was not used meanwhile"
    assert await said(await opened(link), b"new") == b"new"
    assert link.counts["swallowed connections"] == 2
    assert link.counts["swallowed bytes"] == 16
