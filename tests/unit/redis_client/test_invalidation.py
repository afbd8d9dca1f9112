"""The worker's cache over several servers: what any of them changes is heard, and nothing counts while one of them is not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import RoutedSources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.routed_client import RoutedClient
from gateway.redis_client.topology import slot_of
from gateway.sessions.cache import SessionCache
from gateway.sessions.store import SessionStore
from tests.fakes.redis_commands import stored
from tests.fakes.redis_servers import RedisServer, SentinelSet, ValkeyCluster, replicas_of, running_cluster, until
from tests.fakes.waiting import eventually
from tests.unit.break_glass.test_watcher import Watched, opening
from tests.unit.sessions.made import APP, HOST, a_client, a_fleet, a_session, a_store, push_connections


@asynccontextmanager
async def a_worker(url: str, prefix: str) -> AsyncIterator[tuple[SessionStore, SessionCache]]:
    """A worker of a fleet: its own client, store and cache."""
    client = a_fleet(url)
    store = a_store(client, prefix)
    cache = SessionCache(store, RoutedSources(client), time.monotonic, tick=0.02, ping_every=0.3)
    cache.start()
    try:
        await eventually(lambda: cache.trusted)
        yield store, cache
    finally:
        await cache.close()
        await client.aclose()


async def cached(cache: SessionCache, key: str) -> None:
    """Load until it is answered from memory."""

    async def held() -> bool:
        try:
            assert await cache.load(key, HOST, APP) is not None
        except StoreUnavailable:
            return False
        return cache.peek(key, HOST) is not None

    await eventually(held)


async def sign_in(store: SessionStore, count: int) -> list[str]:
    return [store.key_of(await store.issue(a_session(f"p{number}"))) for number in range(count)]


def primaries(cluster: ValkeyCluster) -> list[RedisServer]:
    return [node for node in cluster.running if node.command("ROLE")[0] == "master"]


async def test_a_sign_out_reaches_every_worker_wherever_the_record_is(fleet: RoutedClient, prefix: str) -> None:
    """C-44: on each primary of a cluster, and under sentinels."""
    url = (
        "redis+" + fleet.factory.url.kind + "://" + ",".join(f"{host}:{port}" for host, port in fleet.factory.url.hosts)
    )
    url += f"/{fleet.factory.url.name}"
    async with a_worker(url, prefix) as (store, one), a_worker(url, prefix) as (_, other):
        keys = await sign_in(store, 24)
        owners = {fleet.owner(f"{prefix}s:{key}".encode()) for key in keys if await fleet.topology()}
        assert len(owners) == len((await fleet.topology()).primaries)
        for key in keys:
            await cached(one, key)
            await cached(other, key)
        for key in keys[::2]:
            await store.revoke(key)
        # An operator's plain DEL on the server itself, too.
        for key in keys[1::2]:
            await fleet.delete(f"{prefix}s:{key}")
        for worker in (one, other):
            await eventually(partial(_none_held, worker, keys))
            assert worker.trusted
            assert [await worker.load(key, HOST, APP) for key in keys] == [None] * len(keys)


async def test_no_ended_session_is_served_while_slots_move(cluster: ValkeyCluster, prefix: str) -> None:
    """C-44, D-05: sessions end while their slots wander, key by key and whole; another worker has them in memory."""
    async with a_worker(cluster.url, prefix) as (store, one), a_worker(cluster.url, prefix) as (_, other):
        keys = await sign_in(store, 30)
        nodes = primaries(cluster)
        for number, key in enumerate(keys):
            await cached(one, key)
            await cached(other, key)
            slot = slot_of(f"{prefix}s:{key}".encode())
            target = nodes[(nodes.index(cluster.primary_of(slot)) + 1) % len(nodes)]
            whole = number % 3 == 0
            move = cluster.move_slot_whole if whole else cluster.move_slot
            moving = asyncio.create_task(asyncio.to_thread(move, slot, target))
            if number % 2:
                await moving
            await store.revoke(key)
            await eventually(partial(_none_held, other, [key]))
            await moving
            assert await store.fetch(key, HOST, APP) is None
        await eventually(lambda: one.trusted and other.trusted)
        assert [other.peek(key, HOST) for key in keys] == [None] * len(keys)


async def test_what_a_node_without_slots_takes_over_is_heard_from_it_or_not_kept(prefix: str) -> None:
    """C-44, D-05: a new node gets its first slot, and a session there ends while the slot is still on its way."""
    with running_cluster(1, replicas=False) as cluster:
        async with a_worker(cluster.url, prefix) as (store, _), a_worker(cluster.url, prefix) as (_, other):
            key = (await sign_in(store, 1))[0]
            await cached(other, key)
            slot = slot_of(f"{prefix}s:{key}".encode())
            guest = await asyncio.to_thread(cluster.add_node)
            await asyncio.to_thread(cluster.join, guest)
            await asyncio.to_thread(cluster.begin_move, slot, guest)
            await eventually(lambda: other.peek(key, HOST) is None)
            await cached(other, key)  # read by way of ASK, and kept once the guest is listened to
            await store.revoke(key)
            await eventually(lambda: other.peek(key, HOST) is None)
            assert await other.load(key, HOST, APP) is None


@pytest.fixture
def lonely(prefix: str) -> Iterator[ValkeyCluster]:
    """A cluster of its own, to be broken."""
    with running_cluster(3) as servers:
        yield servers


async def test_while_a_primary_is_not_heard_nothing_is_served_from_memory(lonely: ValkeyCluster, prefix: str) -> None:
    """C-44, D-05: first one that is silent (SIGSTOP), then one that died, whose replica takes over."""
    async with a_worker(lonely.url, prefix) as (store, cache):
        keys = await sign_in(store, 12)
        for key in keys:
            await cached(cache, key)
        victim = lonely.primary_of(slot_of(f"{prefix}s:{keys[0]}".encode()))
        replica = lonely.replica_of(victim)
        victim.pause()
        await eventually(lambda: not cache.trusted)
        assert [cache.peek(key, HOST) for key in keys] == [None] * len(keys)
        victim.kill()
        await asyncio.to_thread(until, lambda: replica.command("ROLE")[0] == "master", "the replica took over")
        for key in keys:
            await cached(cache, key)
        await store.revoke(keys[0])
        await eventually(lambda: cache.peek(keys[0], HOST) is None)


async def test_after_a_failover_the_new_primary_is_listened_to(sentinels: SentinelSet, prefix: str) -> None:
    """C-44, D-05."""
    async with a_worker(sentinels.url, prefix) as (store, one), a_worker(sentinels.url, prefix) as (_, other):
        keys = await sign_in(store, 6)
        for key in keys:
            await cached(other, key)
        before = one._invalidation.trust_lost_at
        await asyncio.to_thread(sentinels.fail_over)
        await eventually(lambda: one._invalidation.trust_lost_at > before)
        for key in keys:
            await cached(one, key)
            await cached(other, key)
        for key in keys:
            await _repeated(store.revoke, key)
        await eventually(lambda: all(other.peek(key, HOST) is None for key in keys))
        await eventually(lambda: other.trusted)
        assert [await other.load(key, HOST, APP) for key in keys] == [None] * len(keys)
        await asyncio.to_thread(until, lambda: replicas_of(sentinels.primary) >= 1, "another follows")


def _none_held(cache: SessionCache, keys: Sequence[str]) -> bool:
    return all(cache.peek(key, HOST) is None for key in keys)


async def _repeated(what: Callable[[str], Awaitable[object]], key: str) -> None:
    """Until it is done: a failover may take longer than somebody waits."""

    async def done() -> bool:
        try:
            await what(key)
        except StoreUnavailable:
            return False
        return True

    await eventually(done)


# --- what was ended stays ended ---------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_from_an_older_state_brings_no_ended_session_back(
    own_valkey: EmbeddedValkey, prefix: str
) -> None:
    """C-44: as after the promotion of a replica that had missed a sign-out; who answered for it ends it again, unasked."""
    client, by_hand = a_client(own_valkey.url), a_client(own_valkey.url)
    store = a_store(client, prefix)
    cache = SessionCache(store, push_connections(own_valkey.url), time.monotonic, tick=0.02, ping_every=0.3)
    cache.start()
    await eventually(lambda: cache.trusted)
    kept, ended, replaced = await sign_in(store, 3)
    names = [f"{prefix}s:{key}" for key in (kept, ended, replaced)]
    records = {name: await stored(by_hand, name) for name in names}
    await store.revoke(ended)
    await store.issue(a_session("p2"), replaces=replaced)
    own_valkey.stop()
    await eventually(lambda: not cache.trusted)
    own_valkey.start()
    for name, record in records.items():
        await _set(by_hand, name, record)
    await eventually(lambda: cache.trusted)
    assert [await by_hand.exists(name) for name in names] == [1, 0, 0]
    assert await cache.load(ended, HOST, APP) is None
    assert await cache.load(kept, HOST, APP) is not None
    await cache.close()
    await client.aclose()
    await by_hand.aclose()


async def _set(redis: Redis, name: str, record: bytes) -> None:
    await redis.set(name, record, px=timedelta(hours=1))


# --- touches ----------------------------------------------------------------------------------------------------------


async def test_no_touch_brings_an_ended_session_back_or_lengthens_a_life(fleet: RoutedClient, prefix: str) -> None:
    """C-44, C-46: four workers send idle timeouts while sessions end and slots are asked for all over the servers."""
    store = a_store(fleet, prefix)
    keys = await sign_in(store, 40)
    ended: set[str] = set()
    going = True

    async def touch(seconds: int) -> None:
        while going:
            await store.touch({key: timedelta(seconds=seconds) for key in keys})

    touching = [asyncio.create_task(touch(seconds)) for seconds in (60, 29_000, 28_700, 30_000)]
    for key in keys[::2]:
        await store.revoke(key)
        ended.add(key)
        assert await store.fetch(key, HOST, APP) is None
    await asyncio.sleep(0)
    going = False
    await asyncio.gather(*touching)
    for key in keys:
        found = await store.fetch(key, HOST, APP)
        assert (found is None) == (key in ended)
        assert await fleet.exists(f"{prefix}s:{key}") == (key not in ended)
        if found is not None:
            # The longest of all, whoever was last; and never more than the session's own idle timeout, whatever Redis keeps.
            assert await fleet.pttl(f"{prefix}s:{key}") > 29_000_000
            assert found.ttl <= found.session.idle


async def test_break_glass_reaches_every_worker_wherever_its_record_is(fleet: RoutedClient, prefix: str) -> None:
    """C-43: each app's record may be at another primary; all of them are listened to."""
    url = (
        "redis+" + fleet.factory.url.kind + "://" + ",".join(f"{host}:{port}" for host, port in fleet.factory.url.hosts)
    )
    url += f"/{fleet.factory.url.name}"
    workers = [Watched(url.rstrip("/"), prefix) for _ in range(2)]
    for app in ("portal", "dashboard"):
        await workers[0].write(opening(app, id=app))
    await eventually(lambda: all(worker.is_open(app) for worker in workers for app in ("portal", "dashboard")))
    workers[0].watcher.on_forwarding("203.0.113.9")
    assert await workers[1].openings.close("portal")
    await eventually(lambda: not any(worker.is_open("portal") for worker in workers))
    assert all(worker.is_open("dashboard") for worker in workers)

    async def remembered() -> bool:
        return await workers[1].openings.forwarders(datetime.now(UTC)) == ["203.0.113.9"]

    await eventually(remembered)
    for worker in workers:
        await worker.close()
