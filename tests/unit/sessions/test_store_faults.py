"""Redis fails, refuses, lies: nobody is let in, nobody is signed out, and it recovers by itself."""

import asyncio
import pickle
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.sessions.records import Stored
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.fakes.redis_commands import stored
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, ISSUER, a_client, a_session, a_store


@pytest.fixture
async def admin(own_valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with a_client(own_valkey.url) as client:
        yield client


@pytest.fixture
async def store(own_valkey: EmbeddedValkey) -> AsyncIterator[SessionStore]:
    async with a_client(own_valkey.url) as client:
        yield a_store(client, "doorward:")


async def signed_in(store: SessionStore) -> str:
    return store.key_of(await store.issue(a_session()))


# --- one person's bytes never reach another -------------------------------------------------------------------------------


class ReadableStore(Protocol):
    """What `canaries` use of a store."""

    def key_of(self, token: str) -> str: ...

    async def issue(self, session: Session) -> str: ...

    async def fetch(self, key: str, host: str, app: str) -> Stored | None: ...


async def canaries(
    store: ReadableStore, requests: int, disturb: Callable[[], object] = lambda: None
) -> tuple[int, int, int]:
    """Fetches of 50 people's sessions, half of them cancelled at random moments: (right, cancelled, refused). Fails on a mix-up.

    A moment is so many ends of other fetches, and no time: the mixture is that of any machine.
    """
    chance = random.Random(41)
    people = {store.key_of(await store.issue(a_session(f"sub-{number}"))): f"sub-{number}" for number in range(50)}
    counts = {"right": 0, "refused": 0}
    hurried: list[asyncio.Task[None]] = []
    leaving: dict[int, list[asyncio.Task[None]]] = {}  # by the number of ends
    ended = 0

    async def one(key: str, subject: str) -> None:
        nonlocal ended
        try:
            found = await store.fetch(key, HOST, APP)
        except StoreUnavailable:
            counts["refused"] += 1
        else:
            assert found is not None, "a session was lost"
            assert found.session.identity.subject == subject, "somebody else's session"
            counts["right"] += 1
        finally:
            ended += 1
            for task in leaving.pop(ended, ()):
                task.cancel()

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                key = chance.choice(list(people))
                task = group.create_task(one(key, people[key]))
                if number % 2 == 0:
                    hurried.append(task)
                    leaving.setdefault(ended + chance.randrange(1, 40), []).append(task)
                if number % 20 == 0:
                    await asyncio.sleep(0.01)
                if number % 250 == 200:
                    disturb()

    await all_of_them()
    await each_has_their_own(store, people)  # and afterwards nothing is left over on a connection
    return counts["right"], sum(task.cancelled() for task in hurried), counts["refused"]


async def each_has_their_own(store: ReadableStore, people: dict[str, str]) -> None:
    for key, subject in people.items():
        found = await store.fetch(key, HOST, APP)
        assert found is not None
        assert found.session.identity.subject == subject


@pytest.mark.parametrize("pool_size", [2, 8])
async def test_cancelled_requests_never_hand_their_reply_to_the_next(
    own_valkey: EmbeddedValkey, pool_size: int
) -> None:
    """C-41: a slow link, a small pool, 1000 requests of 50 people, half of them gone at a random moment."""
    async with FlakyLink(own_valkey.url) as link, a_client(link.url, pool_size) as client:
        link.delay = 0.0005 if pool_size == 2 else 0.002
        right, cancelled, refused = await canaries(a_store(client, "doorward:"), 1000)
    assert refused == 0
    assert cancelled > 100
    assert right >= 500


async def test_nobody_gets_anothers_session_while_connections_are_killed(
    own_valkey: EmbeddedValkey, admin: Redis
) -> None:
    """C-41, C-42: CLIENT KILL again and again in the middle of it."""
    kills: set[asyncio.Future[int]] = set()

    def kill() -> None:
        kills.add(asyncio.ensure_future(admin.client_kill_filter(_type="normal", skipme=True)))

    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client:
        link.delay = 0.001
        right, _, refused = await canaries(a_store(client, "doorward:"), 1000, kill)
    assert len(kills) == 4
    assert right >= 400
    assert refused < 50


async def test_nobody_gets_anothers_session_over_a_link_that_is_cut_and_stalled(own_valkey: EmbeddedValkey) -> None:
    """C-41, D-05."""
    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client:
        link.delay = 0.001

        def disturb() -> None:
            link.cut()
            link.stall()
            asyncio.get_running_loop().call_later(0.1, link.restore)

        right, _, refused = await canaries(a_store(client, "doorward:"), 1000, disturb)
    assert right + refused >= 500
    assert right >= 300


# --- stale connections and pauses -----------------------------------------------------------------------------------------


async def test_killed_connections_cost_one_retry_and_nobody_a_session(store: SessionStore, admin: Redis) -> None:
    """C-42: CLIENT KILL."""
    keys = await asyncio.gather(*(signed_in(store) for _ in range(8)))
    for _ in range(5):
        await admin.client_kill_filter(_type="normal", skipme=True)
        assert all(await asyncio.gather(*(store.fetch(key, HOST, APP) for key in keys)))


async def test_a_restart_of_the_server_costs_one_retry_and_nobody_a_session(
    store: SessionStore, own_valkey: EmbeddedValkey
) -> None:
    """C-42: the pool's connections are all dead afterwards, and the first request of each notices."""
    keys = await asyncio.gather(*(signed_in(store) for _ in range(8)))
    own_valkey.stop()
    own_valkey.start()
    assert all(await asyncio.gather(*(store.fetch(key, HOST, APP) for key in keys)))


async def test_a_paused_server_is_waited_for_and_then_refused_for(store: SessionStore, admin: Redis) -> None:
    """C-42: CLIENT PAUSE shorter and longer than our patience; afterwards all is as before."""
    key = await signed_in(store)
    await admin.client_pause(300)
    assert await store.fetch(key, HOST, APP) is not None
    await admin.client_pause(3000)
    with pytest.raises(StoreUnavailable):
        await store.fetch(key, HOST, APP)
    assert await eventually(lambda: fetched(store, key))


async def fetched(store: SessionStore, key: str) -> bool:
    try:
        return await store.fetch(key, HOST, APP) is not None
    except StoreUnavailable:
        return False


# --- fail closed ----------------------------------------------------------------------------------------------------------


async def everything_refuses(store: SessionStore, key: str) -> None:
    session = a_session()
    for ask in (
        store.fetch(key, HOST, APP),
        store.issue(session),
        store.touch({key: session.idle}),
        store.revoke(key),
        store.revoke_person(ISSUER, "sub-7f3a"),
        store.revoke_provider_session(ISSUER, "provider-sid-1"),
        store.consume("state", session.idle),
        store.ping(),
    ):
        with pytest.raises(StoreUnavailable) as refused:
            await ask
        assert refused.value.status == 503
        assert refused.value.retry_after is not None
        assert key not in str(refused.value)


async def test_without_redis_everything_is_refused_and_nothing_is_lost(
    store: SessionStore, own_valkey: EmbeddedValkey
) -> None:
    """C-43: down, then up again."""
    key = await signed_in(store)
    own_valkey.stop()
    await everything_refuses(store, key)
    own_valkey.start()
    assert await store.fetch(key, HOST, APP) is not None


async def test_a_password_that_redis_suddenly_wants_is_a_refusal(store: SessionStore, admin: Redis) -> None:
    """C-43: NOAUTH."""
    key = await signed_in(store)
    await admin.config_set("requirepass", "not-ours")
    await admin.client_kill_filter(_type="normal", skipme=True)
    await everything_refuses(store, key)
    await admin.config_set("requirepass", "")
    assert await store.fetch(key, HOST, APP) is not None


async def test_a_full_redis_still_knows_who_is_signed_in_and_takes_nobody_new(
    store: SessionStore, admin: Redis
) -> None:
    """C-43: OOM under noeviction."""
    key = await signed_in(store)
    await admin.config_set("maxmemory-policy", "noeviction")
    await admin.config_set("maxmemory", "1")
    assert await store.fetch(key, HOST, APP) is not None
    with pytest.raises(StoreUnavailable):
        await store.issue(a_session())
    with pytest.raises(StoreUnavailable):
        await store.consume("state", a_session().idle)
    await admin.config_set("maxmemory", "0")
    assert await store.issue(a_session())


async def test_a_read_only_replica_still_knows_who_is_signed_in_and_refuses_the_rest(
    store: SessionStore, admin: Redis
) -> None:
    """C-43: READONLY. A sign-out that cannot be written is told as such, never as done."""
    key = await signed_in(store)
    await admin.replicaof("127.0.0.1", "1")
    assert await store.fetch(key, HOST, APP) is not None
    for ask in (store.issue(a_session()), store.revoke(key), store.touch({key: a_session().lifetime})):
        with pytest.raises(StoreUnavailable):
            await ask
    await admin.replicaof("NO", "ONE")
    assert await store.revoke(key) is not None


async def test_a_stalled_redis_is_given_up_after_the_timeout(own_valkey: EmbeddedValkey) -> None:
    """C-43: the connection stands, nothing comes."""
    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client:
        store = a_store(client, "doorward:")
        key = await signed_in(store)
        link.stall()
        begun = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            await store.fetch(key, HOST, APP)
        assert asyncio.get_running_loop().time() - begun < 4
        link.restore()
        assert await eventually(lambda: fetched(store, key))


async def test_a_server_that_does_not_speak_redis_is_a_refusal() -> None:
    """C-43: whatever the library makes of it."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"*nonsense\r\n:x\r\n$-7\r\n" * 20)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server, a_client(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        await everything_refuses(a_store(client, "doorward:"), "0" * 64)


async def test_a_record_that_was_damaged_or_replaced_is_no_session(store: SessionStore, admin: Redis) -> None:
    """C-43, C-51: truncated, foreign, pickled, of another type: no session, and no error that would last."""
    key = await signed_in(store)
    name = f"doorward:s:{key}"
    record = await stored(admin, name)
    foreign = [
        b"",
        b"x",
        b'{"v":1}',
        pickle.dumps({"v": 1}),
        b"DW1",
        b"DW1\xff\xff",
        b"DW2" + record[3:],
        record + b"x",
        b"\x00" * 5000,
    ]
    for value in foreign + [record[:length] for length in range(0, len(record), 7)]:
        await admin.set(name, value, ex=100)
        assert await store.fetch(key, HOST, APP) is None
    await admin.delete(name)
    await admin.rpush(name, "a list")
    assert await store.fetch(key, HOST, APP) is None
    assert await store.revoke(key) is None
    await admin.set(name, record, ex=100)
    assert await store.fetch(key, HOST, APP) is not None


async def test_a_huge_value_is_not_read(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    """C-43: 50 MB under a session's key: bounded, and no session."""
    await admin.set(f"doorward:s:{'0' * 64}", b"DW1", ex=100)
    await admin.setrange(f"doorward:s:{'0' * 64}", 50_000_000, "x")
    before = (await admin.info("stats"))["total_net_output_bytes"]
    async with a_client(own_valkey.url) as client:
        assert await a_store(client, "doorward:").fetch("0" * 64, HOST, APP) is None
    assert (await admin.info("stats"))["total_net_output_bytes"] - before < 1_000_000


async def test_an_index_that_was_replaced_lets_nobody_sign_in_unindexed(store: SessionStore, admin: Redis) -> None:
    """C-44: a session that no sign-out could find must not be issued."""
    await signed_in(store)
    names = [name async for name in admin.scan_iter(match="doorward:sub:*")]
    await admin.delete(*names)
    await admin.set(names[0], "foreign")
    with pytest.raises(StoreUnavailable):
        await store.issue(a_session())
