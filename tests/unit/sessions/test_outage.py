"""`redis.outage: serve_cached`: sessions in memory outlast a Redis that does not answer, for a time and for nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import RoutedSources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.topology import slot_of
from gateway.sessions.cache import SessionCache
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.fakes.redis_commands import command
from tests.fakes.redis_servers import running_cluster
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, a_client, a_fleet, a_session, a_store, push_connections

FIVE_MINUTES = 300.0


@asynccontextmanager
async def behind(
    link: FlakyLink, prefix: str, clock: SettableClock, outage: float = FIVE_MINUTES
) -> AsyncIterator[tuple[SessionStore, SessionCache]]:
    """A worker whose Redis can be taken away."""
    client = a_client(link.url)
    store = a_store(client, prefix, clock.now)
    cache = SessionCache(store, push_connections(link.url), clock.monotonic, tick=0.02, ping_every=0.3, outage=outage)
    cache.start()
    try:
        await eventually(lambda: cache.trusted)
        yield store, cache
    finally:
        await cache.close()
        await client.aclose()


@pytest.fixture
async def link(valkey: str) -> AsyncIterator[FlakyLink]:
    async with FlakyLink(valkey) as flaky:
        yield flaky


async def cached(store: SessionStore, cache: SessionCache, **changes: Any) -> str:
    key = store.key_of(await store.issue(a_session(**changes)))
    assert await cache.load(key, HOST, APP) is not None
    assert cache.peek(key, HOST) is not None
    return key


@pytest.mark.parametrize("how", ["down", "silent"])
async def test_a_known_session_is_answered_without_waiting_until_the_time_is_over(
    link: FlakyLink, prefix: str, clock: SettableClock, how: str
) -> None:
    """C-43: connections refused, or open and without an answer."""
    async with behind(link, prefix, clock) as (store, cache):
        key = await cached(store, cache)
        (link.refuse if how == "down" else link.stall)()
        await eventually(lambda: cache.outlasting and cache.peek(key, HOST) is not None)
        assert not cache.trusted
        clock.advance(FIVE_MINUTES - 5)
        assert cache.peek(key, HOST) is not None
        assert cache.peek(key, "other.example.com") is None
        clock.advance(10)
        assert cache.peek(key, HOST) is None
        assert not cache.outlasting
        link.refuse()
        with pytest.raises(StoreUnavailable):
            await cache.load(key, HOST, APP)


async def test_by_default_nothing_outlasts_redis(link: FlakyLink, prefix: str, clock: SettableClock) -> None:
    """C-43, C-44."""
    async with behind(link, prefix, clock, outage=0.0) as (store, cache):
        key = await cached(store, cache)
        link.refuse()
        await eventually(lambda: cache.silent and not cache.trusted)
        assert cache.peek(key, HOST) is None
        assert not cache.outlasting
        assert cache.size == 0


async def test_what_needs_the_store_is_refused_all_the_same(link: FlakyLink, prefix: str, clock: SettableClock) -> None:
    """C-43: nobody is told that they were signed out, or in, when they were not; strangers are not let in."""
    async with behind(link, prefix, clock) as (store, cache):
        key = await cached(store, cache)
        unknown = store.key_of(await store.issue(a_session("stranger")))
        link.refuse()
        await eventually(lambda: cache.outlasting)
        for ask in (
            store.revoke(key),
            store.issue(a_session()),
            store.consume("attempt", timedelta(minutes=1)),
            cache.load(unknown, HOST, APP),
        ):
            with pytest.raises(StoreUnavailable):
                await ask
        assert cache.peek(unknown, HOST) is None


async def test_the_sessions_own_clocks_go_on(link: FlakyLink, prefix: str, clock: SettableClock) -> None:
    """C-46: neither idle timeout nor lifetime is lengthened; use counts as ever."""
    async with behind(link, prefix, clock) as (store, cache):
        idle = await cached(store, cache, idle=timedelta(seconds=60))
        used = await cached(store, cache, idle=timedelta(seconds=60), lifetime=timedelta(seconds=140))
        link.refuse()
        await eventually(lambda: cache.outlasting)
        for _ in range(2):
            clock.advance(50)
            live = cache.peek(used, HOST)
            assert live is not None
            cache.touch(live)
        assert cache.peek(idle, HOST) is None
        clock.advance(45)
        assert cache.peek(used, HOST) is None


async def test_when_redis_is_back_everything_is_read_again_before_it_counts(
    link: FlakyLink, valkey: str, prefix: str, clock: SettableClock
) -> None:
    """C-44: somebody signed out elsewhere meanwhile."""
    async with behind(link, prefix, clock) as (store, cache), a_client(valkey) as elsewhere:
        gone, kept = await cached(store, cache), await cached(store, cache)
        link.refuse()
        await eventually(lambda: cache.outlasting)
        assert cache.peek(gone, HOST) is not None
        await a_store(elsewhere, prefix, clock.now).revoke(gone)
        link.restore()
        await eventually(lambda: cache.trusted)
        assert cache.peek(gone, HOST) is None
        assert cache.peek(kept, HOST) is None
        assert await cache.load(gone, HOST, APP) is None
        assert await cache.load(kept, HOST, APP) is not None


async def test_a_redis_that_answers_is_asked_even_if_it_announces_nothing(
    own_valkey: EmbeddedValkey, prefix: str, clock: SettableClock
) -> None:
    """C-44: an ACL that forbids CLIENT TRACKING is no outage."""
    async with (
        FlakyLink(own_valkey.url) as link,
        a_client(own_valkey.url) as admin,
        behind(link, prefix, clock) as (store, cache),
    ):
        key = await cached(store, cache)
        await command(admin, "ACL", "SETUSER", "default", "-client|tracking")
        link.cut()
        await eventually(lambda: not cache.trusted)
        assert await cache.load(key, HOST, APP) is not None
        await store.revoke(key)
        assert cache.peek(key, HOST) is None
        assert not cache.outlasting
        assert await cache.load(key, HOST, APP) is None


async def test_a_worker_that_was_stopped_counts_from_the_end_of_its_trust(
    link: FlakyLink, prefix: str, clock: SettableClock
) -> None:
    """C-44: it sleeps for an hour and wakes up in an outage: what it knows is an hour old, not a moment."""
    async with behind(link, prefix, clock) as (store, cache):
        key = await cached(store, cache)
        clock.advance(3600)
        link.refuse()
        await eventually(lambda: cache.silent)
        assert cache.peek(key, HOST) is None
        assert not cache.outlasting


async def test_of_a_cluster_only_the_silent_nodes_sessions_outlast_it(prefix: str, clock: SettableClock) -> None:
    """C-44: what another node says is asked and counts at once."""
    with running_cluster(2, replicas=False) as cluster:
        client = a_fleet(cluster.url)
        store = a_store(client, prefix, clock.now)
        cache = SessionCache(
            store, RoutedSources(client), clock.monotonic, tick=0.02, ping_every=0.3, outage=FIVE_MINUTES
        )
        cache.start()
        await eventually(lambda: cache.trusted)
        keys = [await cached(store, cache) for _ in range(12)]
        victim = cluster.nodes[0]
        for node in cluster.nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
            node.command("CONFIG", "SET", "cluster-node-timeout", "60000")
        theirs = [key for key in keys if cluster.primary_of(slot_of(f"{prefix}s:{key}".encode())) is victim]
        others = [key for key in keys if key not in theirs]
        assert theirs
        assert others
        victim.pause()
        await eventually(lambda: cache.outlasting)
        assert all(cache.peek(key, HOST) for key in theirs)
        assert [cache.peek(key, HOST) for key in others] == [None] * len(others)
        assert all(await asyncio.gather(*(cache.load(key, HOST, APP) for key in others)))
        victim.go_on()
        await eventually(lambda: cache.trusted)
        await cache.close()
        await client.aclose()
