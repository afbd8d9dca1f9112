"""The short way to a record: it answers plainly or not at all, and never with somebody else's bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import record_reader
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.pipelined_reader import (
    ErrorReply,
    MalformedReply,
    RecordConnection,
    RecordReader,
    Replies,
    encode_command,
    parse_reply,
    record_of,
)
from gateway.sessions.keyring import KeyRing
from gateway.sessions.records import Found, Stored, Unanswered
from gateway.sessions.store import SessionStore
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, KEY, a_client, a_session, settings
from tests.unit.sessions.test_store_faults import canaries

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GREETED = b"+OK\r\n+PONG\r\n"
NOTHING = b"$0\r\n\r\n:-2\r\n$0\r\n\r\n"
PRIMARY = b"*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n+PONG\r\n"


def reader_of(url: str) -> RecordReader:
    reader = record_reader(settings(url), None, time.monotonic)
    assert reader is not None
    return reader


async def read(reader: RecordReader, name: bytes, beside: bytes = b"beside") -> tuple[bytes, int, bytes] | None:
    """What the reader tells of a key and of the one beside it; None: the library must say."""
    told: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
    if not reader.read(name, beside, lambda replies, seconds: told.set_result(replies)):
        return None
    replies = await told
    if isinstance(replies, StoreUnavailable):
        raise replies
    return record_of(replies)


class ShortWay:
    """A store that is read as a worker reads it: by the reader, and by the library where that does not do."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.key_of, self.issue = store.key_of, store.issue

    async def fetch(self, key: str, host: str, app: str) -> Stored | None:
        told: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

        def on_found(found: Found) -> None:
            if not told.done():
                told.set_result(found)

        self._store.read((key, host, app), on_found)
        found = await told
        if isinstance(found, StoreUnavailable):
            raise found
        return await self._store.fetch(key, host, app) if isinstance(found, Unanswered) else found


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[RecordReader]:
    """A reader that has its connection."""
    reader = reader_of(url)
    try:
        await connected(reader)
        yield reader
    finally:
        reader.close()


async def connected(reader: RecordReader) -> None:
    async with asyncio.timeout(60):
        while await read(reader, b"nothing") is None:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """Something that says what it likes."""
    listening = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def saying(*answers: bytes) -> Serve:
    """Greets, then answers each piece that comes with the next of `answers`, and then with nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (GREETED, GREETED, PRIMARY, *answers):
            await reader.read(65536)
            writer.write(answer)
        await reader.read()

    return serve


@pytest.fixture
async def admin(own_valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with a_client(own_valkey.url) as client:
        yield client


async def test_a_value_and_its_ttl_are_read_together(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    await admin.set("k", b"a\r\n$1\r\nb", px=60_000)
    async with reading(own_valkey.url) as reader:
        found = await read(reader, b"k")
        assert found is not None
        assert found[0] == b"a\r\n$1\r\nb"
        assert 0 < found[1] <= 60_000
        assert await read(reader, b"not there") == (b"", -2, b"")


async def test_a_foreign_value_is_left_to_the_library(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    """C-43."""
    await admin.lpush("list", "x")
    async with reading(own_valkey.url) as reader:
        assert await read(reader, b"list") is None
        assert await read(reader, b"nothing") == (b"", -2, b"")


async def test_nobody_gets_anothers_session_when_half_of_the_readers_go_away(own_valkey: EmbeddedValkey) -> None:
    """C-41."""
    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client, reading(link.url) as reader:
        link.delay = 0.02
        store = ShortWay(SessionStore(client, KeyRing([KEY]), "doorward:", reader=reader))
        right, cancelled, refused = await canaries(store, 1000)
    assert refused == 0
    assert cancelled > 50
    assert right >= 500


async def test_nobody_gets_anothers_session_while_connections_are_killed(
    own_valkey: EmbeddedValkey, admin: Redis
) -> None:
    """C-41, C-42: what was under way is read again by the library, and the reader comes back."""
    kills: set[asyncio.Future[int]] = set()

    def kill() -> None:
        kills.add(asyncio.ensure_future(admin.client_kill_filter(_type="normal", skipme=True)))

    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client, reading(link.url) as reader:
        link.delay = 0.001
        store = ShortWay(SessionStore(client, KeyRing([KEY]), "doorward:", reader=reader))
        right, _, _ = await canaries(store, 1000, kill)
        await connected(reader)
    assert len(kills) == 4
    assert right >= 400


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"$-5\r\n",
        b"$99999999\r\n",
        b"$1\r\nxyz\r\n",
        b"*9\r\n" * 9,
        b":1x\r\n",
        b"%1\r\n+a\r\n+b\r\n",
    ],
)
async def test_what_is_no_reply_ends_the_connection_and_answers_nobody(garbage: bytes) -> None:
    """C-41, C-51."""
    async with server(saying(NOTHING, garbage)) as url, reading(url) as reader:
        assert await read(reader, b"k") is None


async def test_replies_that_nobody_asked_for_end_the_connection(own_valkey: EmbeddedValkey) -> None:
    """C-41: they would be taken for those of the next reading."""
    async with server(saying(NOTHING, NOTHING + b"$4\r\nevil\r\n:1\r\n")) as url, reading(url) as reader:
        await read(reader, b"k")
        await eventually(lambda: not reader.read(b"k", b"beside", lambda replies, seconds: None))
        assert await read(reader, b"k") is None


@pytest.mark.parametrize(
    "answers",
    [
        (b"-NOAUTH Authentication required.\r\n+PONG\r\n",),
        (GREETED, GREETED, b"*2\r\n$4\r\nrole\r\n$5\r\nslave\r\n+PONG\r\n"),
    ],
)
async def test_who_does_not_let_us_in_or_is_a_replica_is_not_read(answers: tuple[bytes, ...]) -> None:
    """C-43, C-44: a replica would answer for sessions that were ended."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.read(65536)
            writer.write(answer)
        await reader.read()
        closed.set()

    async with server(serve) as url:
        reader = reader_of(url)
        assert await read(reader, b"k") is None
        await asyncio.wait_for(closed.wait(), 60)
        assert await read(reader, b"k") is None
        reader.close()


async def test_a_server_that_is_silent_is_waited_for_in_bounds() -> None:
    """C-42."""

    async def opened(factory: Callable[[], RecordConnection]) -> RecordConnection:
        return (await asyncio.get_running_loop().create_connection(factory, *address))[1]

    async with server(saying(NOTHING, b"")) as url:
        host, _, port = url.removeprefix("redis://").partition(":")
        address = (host, int(port))
        greeting = [encode_command(b"SELECT", b"0"), encode_command(b"CLIENT", b"SETNAME", b"x")]
        reader = RecordReader(opened, greeting, time.monotonic, timeout=0.3)
        await connected(reader)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(read(reader, b"k"), 60)
        reader.close()


async def test_a_user_of_the_server_reads_as_that_user(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    async with FlakyLink(own_valkey.url) as link:
        await admin.acl_setuser("ana", enabled=True, passwords=["+a b@c"], keys=["*"], commands=["+@all"], reset=True)
        async with reading(f"redis://ana:a%20b%40c@127.0.0.1:{link.port}/3") as reader:
            assert await read(reader, b"k") == (b"", -2, b"")
            listed = [
                client
                for client in await admin.client_list()
                if client["name"] == "doorward" and client["user"] == "ana"
            ]
            assert [client["db"] for client in listed] == ["3"]


async def test_a_store_reads_the_same_by_either_way(own_valkey: EmbeddedValkey) -> None:
    """But for the tokens: nobody needs them in memory (C-48)."""
    async with a_client(own_valkey.url) as client, reading(own_valkey.url) as reader:
        store = SessionStore(client, KeyRing([KEY]), "doorward:", reader=reader)
        short = ShortWay(store)
        key = short.key_of(await short.issue(a_session()))
        one, other = await short.fetch(key, HOST, APP), await store.fetch(key, HOST, APP)
        assert one is not None
        assert other is not None
        bare = replace(other.session, id_token=None, access_token=None, refresh_token=None)
        assert bare == one.session != other.session
        again = await store.fetch(key, HOST, APP, tokens=False)
        assert again is not None
        assert again.session == bare
        assert await short.fetch(key, "dashboard.example.com", APP) is None
        assert await short.fetch("0" * 64, HOST, APP) is None


async def test_somebody_who_fails_at_an_answer_takes_nobody_elses_along(
    own_valkey: EmbeddedValkey, admin: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """C-41: neither those behind in line, nor when the connection ends."""

    def fail(replies: Replies, seconds: float) -> None:
        raise RuntimeError("a defect")

    await admin.set("k", b"value", px=60_000)
    async with reading(own_valkey.url) as reader:
        assert reader.read(b"k", b"beside", fail)
        found = await read(reader, b"k")
        assert found is not None
        assert found[0] == b"value"
        assert reader.read(b"k", b"beside", fail)
        waiting = asyncio.create_task(read(reader, b"k"))
        await asyncio.sleep(0)
        reader.disconnect()
        assert await asyncio.wait_for(waiting, 60) is None
    assert caplog.text.count("could not be handled") == 2


async def test_what_is_asked_at_once_goes_out_at_once() -> None:
    """One write for all that one turn of the loop brings: each would wake the server by itself."""
    pieces: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (GREETED, GREETED, PRIMARY, NOTHING):
            await reader.read(65536)
            writer.write(answer)
        pieces.append(await reader.read(65536))
        writer.write(NOTHING * 3)
        await reader.read()

    async with server(serve) as url, reading(url) as reader:
        await asyncio.gather(*(read(reader, name) for name in (b"a", b"b", b"c")))
    assert pieces[0].count(b"GETRANGE") == 6


replies = st.recursive(
    st.one_of(
        st.binary(max_size=40).map(lambda value: (b"$%d\r\n%b\r\n" % (len(value), value), value)),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: (b":%d\r\n" % value, value)),
        st.just((b"$-1\r\n", None)),
        st.sampled_from((b"OK", b"PONG", b"")).map(lambda value: (b"+%b\r\n" % value, value)),
        st.just((b"-ERR no\r\n", ErrorReply(b"ERR no"))),
    ),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda values: (
            b"*%d\r\n%b" % (len(values), b"".join(raw for raw, _ in values)),
            [value for _, value in values],
        )
    ),
    max_leaves=8,
)


@given(replies, st.binary(max_size=8))
def test_a_reply_is_read_whole_or_not_yet(reply: tuple[bytes, object], behind: bytes) -> None:
    """C-41: every beginning of a reply waits for more, and what stands behind it is left alone."""
    raw, value = reply
    try:
        assert parse_reply(b"xx" + raw + behind, 2) == (value, 2 + len(raw))
        assert all(parse_reply(raw[:end], 0) is None for end in range(len(raw)))
    except MalformedReply:
        assert raw.count(b"*") > 3  # deeper than any reply that is asked for
