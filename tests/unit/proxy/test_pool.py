"""An app's addresses: taken in turn, left out while they do not answer, resolved again and again."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.config.schema import App
from gateway.errors.dependencies import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.endpoint import Record
from gateway.proxy.pool import Pool
from tests.fakes.clock import SettableClock
from tests.fakes.house import NOBODY, free_port
from tests.fakes.waiting import eventually


def app(*upstream: str, **more: Any) -> App:
    return App.model_validate({"hosts": ["portal.example.com"], "upstream": list(upstream), **more})


@dataclass
class Listening:
    """A server that only accepts; `writers` are its connections."""

    port: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def listening(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listening]:
    found = Listening(0)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.writers.append(writer)

    server = await asyncio.start_server(accept, host, port)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for writer in found.writers:
            writer.close()


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1") -> Any:
    """A port where no connection ever stands: its queue is full, so the kernel drops what knocks."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind((host, 0))
        sock.listen(0)
        for _ in range(4):
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]


@pytest.fixture
async def opened(clock: SettableClock) -> AsyncIterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(*upstream: str, resolve: Any = None, **more: Any) -> Pool:
        pool = Pool(
            "portal", app(*upstream, **more), clock=clock.monotonic, **({"resolve": resolve} if resolve else {})
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def record(ip: str, port: int) -> Record:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))


class Names:
    """A name service whose answers a test chooses; it counts its questions."""

    def __init__(self, *ips: str) -> None:
        self.ips: Sequence[str] = ips
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Record]:
        self.asked += 1
        if not self.ips:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [record(ip, port) for ip in self.ips]


def peer(connection: Any) -> str:
    host: str = connection.transport.get_extra_info("peername")[0]
    return host


# --- several addresses ------------------------------------------------------------------------------------------------


async def test_addresses_are_connected_to_and_reused_in_turn(opened: Callable[..., Pool]) -> None:
    async with listening() as one, listening() as two, listening() as three:
        pool = opened(one.url, two.url, three.url)
        connections = [await pool.connect() for _ in range(6)]
        await eventually(lambda: [len(place.writers) for place in (one, two, three)] == [2, 2, 2])
        for connection in connections:
            pool.give_back(connection)
        taken = [pool.take(repeatable=True) for _ in range(3)]
        assert len({id(connection.home) for connection in taken if connection}) == 3


async def test_an_address_that_refuses_is_skipped_at_once_and_comes_back_by_itself(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    dead = free_port()
    async with listening() as alive:
        pool = opened(f"http://127.0.0.1:{dead}", alive.url)
        for _ in range(4):
            assert (await pool.connect()).home is pool.endpoints[1]
        assert pool.endpoints[0].ejected
        async with listening(port=dead) as risen:
            pool.sweep()
            assert not pool.endpoints[0].probing
            clock.advance(1.1)
            pool.sweep()
            await eventually(lambda: not pool.endpoints[0].ejected)
            assert len(pool.endpoints[0].idle) == 1
            for connection in (await pool.connect(), await pool.connect()):
                connection.abort()
            assert len(risen.writers) == 2


async def test_an_address_that_stays_away_is_asked_less_and_less_often(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    async with listening() as alive:
        pool = opened(NOBODY, alive.url)
        await pool.connect()
        rests = []
        for _ in range(8):
            rests.append(pool.endpoints[0].ejected_until - clock.monotonic())
            clock.advance(rests[-1])
            pool.sweep()
            await eventually(lambda: not pool.endpoints[0].probing)
        assert [round(rest) for rest in rests] == [1, 2, 4, 8, 16, 30, 30, 30]


async def test_an_address_that_swallows_connections_costs_one_timeout_and_is_left_out(
    opened: Callable[..., Pool],
) -> None:
    with black_hole() as port:
        async with listening() as alive:
            pool = opened(f"http://127.0.0.1:{port}", alive.url, timeouts={"connect": "1s"})
            began = time.monotonic()
            assert (await pool.connect()).home is pool.endpoints[1]
            assert time.monotonic() - began >= 1
            began = time.monotonic()
            for _ in range(10):
                await pool.connect()
            assert time.monotonic() - began < 1


async def test_when_all_are_out_all_are_tried_anyway(opened: Callable[..., Pool]) -> None:
    first, second = free_port(), free_port()
    pool = opened(f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")
    with pytest.raises(UpstreamUnreachable):
        await pool.connect()
    assert all(endpoint.ejected for endpoint in pool.endpoints)
    async with listening(port=second):
        assert (await pool.connect()).home is pool.endpoints[1]


async def test_a_lone_address_is_never_left_out(opened: Callable[..., Pool]) -> None:
    port = free_port()
    pool = opened(f"http://127.0.0.1:{port}")
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await pool.connect()
    async with listening(port=port):
        assert (await pool.connect()).alive


async def test_an_address_that_answers_nobody_is_left_out_and_one_with_a_single_slow_page_is_not(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    async with listening() as one, listening() as two:
        pool = opened(one.url, two.url)
        slow, hung, quick = await pool.connect(), await pool.connect(), await pool.connect()
        began = clock.monotonic()
        clock.advance(5)
        pool.give_back(quick)
        pool.report_timeout(slow, began)
        pool.report_timeout(hung, began)
        assert [bool(endpoint.ejected) for endpoint in pool.endpoints] == [False, True]


async def test_a_request_that_must_not_be_sent_twice_takes_no_connection_that_has_waited(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    """B-18."""
    async with listening() as place:
        pool = opened(place.url)
        connection = await pool.connect()
        pool.give_back(connection)
        clock.advance(2)
        assert pool.take(repeatable=False) is None
        assert pool.take(repeatable=True) is connection


async def test_a_connection_that_has_waited_for_long_is_closed(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    async with listening() as place:
        pool = opened(place.url)
        connection = await pool.connect()
        pool.give_back(connection)
        pool.sweep()
        assert pool.idle == [connection]
        clock.advance(60)
        pool.sweep()
        assert pool.idle == []
        await eventually(lambda: pool.open == 0)


async def test_check_online_asks_every_address(opened: Callable[..., Pool]) -> None:
    async with listening() as alive:
        pool = opened(NOBODY, alive.url, "http://127.0.0.1:8")
        refusals = await pool.probe()
    assert [type(refusal) for refusal in refusals] == [UpstreamUnreachable] * 2
    assert NOBODY in refusals[0].detail
    assert "http://127.0.0.1:8" in refusals[1].detail


# --- names ------------------------------------------------------------------------------------------------------------


async def test_a_record_that_hesitates_does_not_hold_up_the_next_one(opened: Callable[..., Pool]) -> None:
    """Happy eyeballs: the first address swallows connections, the second answers."""
    with black_hole("127.0.0.2") as port:
        async with listening("127.0.0.3", port):
            names = Names("127.0.0.2", "127.0.0.3")
            pool = opened(f"http://app.internal:{port}", resolve=names)
            for _ in range(2):
                began = time.monotonic()
                assert peer(await pool.connect()) == "127.0.0.3"
                assert time.monotonic() - began < 2


async def test_records_of_a_name_are_used_in_turn_and_asked_for_once(opened: Callable[..., Pool]) -> None:
    async with listening("127.0.0.2") as one, listening("127.0.0.3", one.port):
        names = Names("127.0.0.2", "127.0.0.3")
        pool = opened(f"http://app.internal:{one.port}", resolve=names)
        connections = await asyncio.gather(*(pool.connect() for _ in range(6)))
        # Not three of each: one that takes long to open is overtaken by one to the next address.
        assert {peer(connection) for connection in connections} == {"127.0.0.2", "127.0.0.3"}
        assert names.asked == 1


async def test_a_name_that_moved_is_followed_and_old_connections_are_closed(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    async with listening("127.0.0.2") as old, listening("127.0.0.3", old.port):
        names = Names("127.0.0.2")
        pool = opened(f"http://app.internal:{old.port}", resolve=names)
        connection = await pool.connect()
        pool.give_back(connection)
        names.ips = ["127.0.0.3"]
        pool.sweep()
        clock.advance(31)
        pool.sweep()

        def swept() -> bool:
            pool.sweep()
            return not pool.idle

        await eventually(swept)
        assert peer(await pool.connect()) == "127.0.0.3"
        assert names.asked == 2


async def test_a_name_that_cannot_be_asked_about_keeps_its_last_addresses(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    async with listening("127.0.0.2") as place:
        names = Names("127.0.0.2")
        pool = opened(f"http://app.internal:{place.port}", resolve=names)
        await pool.connect()
        names.ips = []
        clock.advance(31)
        assert peer(await pool.connect()) == "127.0.0.2"
        assert names.asked == 2


async def test_a_name_that_was_never_known_is_an_application_that_cannot_be_reached(
    opened: Callable[..., Pool],
) -> None:
    pool = opened("http://app.internal:80", resolve=Names())
    with pytest.raises(UpstreamUnreachable, match="name resolution"):
        await pool.connect()


async def test_a_name_service_that_is_silent_is_a_timeout(opened: Callable[..., Pool]) -> None:
    async def silent(host: str, port: int) -> Sequence[Record]:
        await asyncio.sleep(60)
        return ()

    pool = opened("http://app.internal:80", resolve=silent, timeouts={"connect": "100ms"})
    with pytest.raises(UpstreamTimeout):
        await pool.connect()


# --- sockets ----------------------------------------------------------------------------------------------------------


async def test_a_unix_socket_is_an_address_like_any_other(opened: Callable[..., Pool], tmp_path: Any) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_unix_server(accept, tmp_path / "app.sock")
    pool = opened(f"unix:{tmp_path}/gone.sock", f"unix:{tmp_path}/app.sock")
    connection = await pool.connect()
    assert connection.home is pool.endpoints[1]
    pool.give_back(connection)
    pool.sweep()
    assert pool.take(repeatable=True) is connection
    connection.abort()
    server.close()


async def test_one_dead_connection_speaks_for_those_that_have_waited_as_long(
    opened: Callable[..., Pool], clock: SettableClock
) -> None:
    """D-05: a firewall forgot its table; the next person does not wait for another of its connections."""
    async with listening() as server:
        pool = opened(server.url)
        old = [await pool.connect() for _ in range(3)]
        for connection in old:
            pool.give_back(connection)
        clock.advance(5)
        taken, asked = pool.take(repeatable=True), clock.monotonic()
        young = await pool.connect()
        clock.advance(60)
        pool.give_back(young)
        assert taken is not None
        pool.report_timeout(taken, asked)
        assert pool.idle == [young]
