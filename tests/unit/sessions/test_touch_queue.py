"""When Redis hears of a session's use."""

from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.sessions.live import LiveSession, live_from
from gateway.sessions.records import Stored
from gateway.sessions.store import SessionStore
from gateway.sessions.touch_queue import TouchQueue
from tests.unit.sessions.made import a_client, a_session, a_store

HOUR = timedelta(hours=1)


async def known(
    store: SessionStore, *, idle: timedelta = HOUR, left: timedelta = HOUR, now: float = 0.0
) -> LiveSession:
    """A session of which `left` is left at `now`, in Redis and in memory."""
    session = a_session(created_at=datetime.now(UTC), idle=idle)
    return live_from(store.key_of(await store.issue(session)), Stored(session, left, timedelta(days=7)), now)


def use(touches: TouchQueue, live: LiveSession, now: float) -> None:
    live.idle_deadline = now + live.idle
    if now >= live.touch_due:
        touches.add(live, now)


async def test_a_session_in_constant_use_costs_one_message_a_minute(redis: Redis, prefix: str) -> None:
    store, touches = a_store(redis, prefix), TouchQueue()
    live = await known(store)
    await redis.config_resetstat()
    for second in range(600):
        use(touches, live, second)
        await touches.flush(store, second)
    assert 9 <= (await redis.info("commandstats"))["cmdstat_pexpire"]["calls"] <= 10


async def test_a_record_that_is_about_to_end_is_not_kept_waiting(redis: Redis, prefix: str) -> None:
    """C-46: somebody comes back ten seconds before the idle timeout."""
    store, touches = a_store(redis, prefix), TouchQueue()
    live = await known(store, left=timedelta(seconds=10))
    await redis.pexpire(store.record_prefix + live.key, 10_000)
    use(touches, live, 0.0)
    await touches.flush(store, 5.0)
    assert await redis.ttl(store.record_prefix + live.key) > 3590


async def test_a_short_idle_timeout_is_told_in_time(redis: Redis, prefix: str) -> None:
    """C-46: with an idle timeout of 20 seconds a minute would be too late."""
    store, touches = a_store(redis, prefix), TouchQueue()
    live = await known(store, idle=timedelta(seconds=20), left=timedelta(seconds=20))
    await redis.pexpire(store.record_prefix + live.key, 11_000)
    use(touches, live, 0.0)
    await touches.flush(store, 5.0)
    assert await redis.ttl(store.record_prefix + live.key) > 13
    use(touches, live, 6.0)
    assert len(touches) == 1


async def test_use_after_a_message_is_in_the_next_one(redis: Redis, prefix: str) -> None:
    store, touches = a_store(redis, prefix), TouchQueue()
    live = await known(store)
    use(touches, live, 0.0)
    await touches.flush(store, 60.0)
    assert len(touches) == 0
    use(touches, live, 61.0)
    assert len(touches) == 1


async def test_a_session_that_was_read_again_is_told_once_and_with_the_newest_use(redis: Redis, prefix: str) -> None:
    store, touches = a_store(redis, prefix), TouchQueue()
    older = await known(store)
    use(touches, older, 0.0)
    newer = live_from(older.key, Stored(older.session, HOUR, timedelta(days=7)), 10.0)
    await redis.pexpire(store.record_prefix + older.key, 1_000_000)
    use(touches, newer, 50.0)
    assert len(touches) == 1
    await touches.flush(store, 60.0)
    assert await redis.ttl(store.record_prefix + older.key) > 3585
    assert len(touches) == 0


async def test_what_could_not_be_sent_is_sent_later(own_valkey: EmbeddedValkey) -> None:
    """C-43: an outage of Redis does not eat the use of a session."""
    async with a_client(own_valkey.url) as client:
        store, touches = a_store(client, "doorward:"), TouchQueue()
        live = await known(store)
        await client.pexpire(store.record_prefix + live.key, 1_000_000)
        use(touches, live, 0.0)
        own_valkey.stop()
        with pytest.raises(StoreUnavailable):
            await touches.flush(store, 60.0)
        assert len(touches) == 1
        own_valkey.start()
        await touches.flush(store, 62.0)
        assert len(touches) == 0
        assert await client.ttl(store.record_prefix + live.key) > 3500
