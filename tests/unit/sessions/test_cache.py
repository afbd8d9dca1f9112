"""The worker's cache against a real Valkey: it answers without waiting, and it never believes what is over."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.refusal import Refusal
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.sessions.cache import SESSION_ENDED, SESSION_EXPIRED, LiveSession, SessionCache
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.fakes.redis_commands import command
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, ISSUER, a_client, a_session, a_store, push_connections

QUICK = {"tick": 0.02, "ping_every": 1.0}


@asynccontextmanager
async def caching(
    store: SessionStore, url: str, clock: Callable[[], float] = time.monotonic, **options: float
) -> AsyncIterator[SessionCache]:
    # With a clock that tests set, what a ping ends or begins is waited for.
    settings: dict[str, Any] = {**QUICK, **({} if clock is time.monotonic else {"ping_every": 0.05}), **options}
    cache = SessionCache(store, push_connections(url), clock, **settings)
    cache.start()
    try:
        await eventually(lambda: cache.trusted)
        yield cache
    finally:
        await cache.close()


@pytest.fixture
async def store(redis: Redis, prefix: str, clock: SettableClock) -> SessionStore:
    return a_store(redis, prefix, clock.now)


@pytest.fixture
async def cache(store: SessionStore, valkey: str) -> AsyncIterator[SessionCache]:
    async with caching(store, valkey) as cache:
        yield cache


async def signed_in(store: SessionStore, **changes: Any) -> str:
    return store.key_of(await store.issue(a_session(**changes)))


async def loaded(cache: SessionCache, key: str) -> LiveSession:
    live = await cache.load(key, HOST, APP)
    assert live is not None
    return live


# --- answering ------------------------------------------------------------------------------------------------------------


async def test_a_loaded_session_is_answered_without_asking_again(cache: SessionCache, store: SessionStore) -> None:
    key = await signed_in(store)
    assert cache.peek(key, HOST) is None
    live = await loaded(cache, key)
    assert cache.peek(key, HOST) is live
    assert cache.size == 1


async def test_a_cached_session_is_worth_nothing_under_another_host_or_app(
    cache: SessionCache, store: SessionStore
) -> None:
    """C-09: with a warm cache, and with two hosts asking at once."""
    key = await signed_in(store)
    answers = await asyncio.gather(
        cache.load(key, HOST, APP),
        cache.load(key, "dashboard.example.com", "dashboard"),
        cache.load(key, HOST, "dashboard"),
    )
    assert [answer is not None for answer in answers] == [True, False, False]
    assert cache.peek(key, HOST) is not None
    assert cache.peek(key, "dashboard.example.com") is None


async def test_strangers_fill_no_memory(cache: SessionCache, store: SessionStore) -> None:
    """C-47, C-50."""
    for _ in range(50):
        assert await cache.load(store.key_of(store.new_token()), HOST, APP) is None
    assert cache.size == 0


async def test_no_token_of_the_provider_is_in_memory(cache: SessionCache, store: SessionStore) -> None:
    """C-48: nobody needs them there. This cache is read by way of the library; `test_reader` has the other."""
    live = await loaded(cache, await signed_in(store))
    session = live.session
    assert (session.id_token, session.access_token, session.refresh_token) == (None, None, None)


async def test_somebody_who_fails_at_the_answer_takes_nobody_elses_along(
    cache: SessionCache, store: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    key = await signed_in(store)

    def fail(live: LiveSession | None, error: Refusal | None) -> None:
        raise RuntimeError("a defect")

    cache.read(key, HOST, APP, fail)
    assert await asyncio.wait_for(cache.load(key, HOST, APP), 60) is not None
    assert "a defect" in caplog.text


async def test_those_who_ask_at_once_share_one_reading(store: SessionStore, redis: Redis, valkey: str) -> None:
    key = await signed_in(store)
    async with caching(store, valkey) as cache:
        await redis.config_resetstat()
        answers = await asyncio.gather(*(cache.load(key, HOST, APP) for _ in range(100)))
        stats = await redis.info("commandstats")
    assert len({id(answer) for answer in answers}) == 1
    assert stats["cmdstat_getrange"]["calls"] == 1


async def test_a_caller_that_goes_away_takes_nobodys_answer_along(cache: SessionCache, store: SessionStore) -> None:
    """C-41: the first to ask is cancelled, those who share its reading are not."""
    key = await signed_in(store)
    first = asyncio.create_task(cache.load(key, HOST, APP))
    others = [asyncio.create_task(cache.load(key, HOST, APP)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    assert all([await other is not None for other in others])


async def test_the_cache_is_bounded_and_keeps_who_was_here_lately(store: SessionStore, valkey: str) -> None:
    async with caching(store, valkey, limit=10) as cache:
        regular = await signed_in(store)
        cache.touch(await loaded(cache, regular))
        for number in range(25):
            await loaded(cache, await signed_in(store, subject=f"sub-{number}"))
        assert cache.size == 10
        assert cache.peek(regular, HOST) is not None


# --- the end of a session ---------------------------------------------------------------------------------------------------


async def test_a_sign_out_ends_the_session_in_every_worker_at_once(store: SessionStore, valkey: str) -> None:
    """C-44: two workers; the second hears of it within a second, and its open streams are closed."""
    async with caching(store, valkey) as here, caching(store, valkey) as there:
        key = await signed_in(store)
        reasons: list[str] = []
        for cache in (here, there):
            cache.attach(await loaded(cache, key), reasons.append)
        await store.revoke(key)
        here.forget(key)
        await eventually(lambda: there.peek(key, HOST) is None)
        await eventually(lambda: reasons == [SESSION_ENDED] * 2)
        assert here.peek(key, HOST) is None
        assert await there.load(key, HOST, APP) is None


async def test_all_sessions_of_a_person_end_in_every_worker(store: SessionStore, valkey: str) -> None:
    """C-44, A-23."""
    async with caching(store, valkey) as here, caching(store, valkey) as there:
        keys = [await signed_in(store) for _ in range(5)]
        other = await signed_in(store, subject="sub-other")
        for cache in (here, there):
            for key in [*keys, other]:
                await loaded(cache, key)
        await store.revoke_person(ISSUER, "sub-7f3a")
        await eventually(lambda: here.size == there.size == 1)
        assert here.peek(other, HOST) is not None


async def test_a_stream_that_is_opened_just_after_the_end_is_closed_too(
    cache: SessionCache, store: SessionStore
) -> None:
    """C-44: the announcement came before the stream was known."""
    key = await signed_in(store)
    live = await loaded(cache, key)
    await store.revoke(key)
    await eventually(lambda: cache.peek(key, HOST) is None)
    reasons: list[str] = []
    cache.attach(live, reasons.append)
    await eventually(lambda: reasons == [SESSION_ENDED])


async def test_a_change_that_is_no_end_leaves_streams_open(cache: SessionCache, store: SessionStore) -> None:
    key = await signed_in(store)
    reasons: list[str] = []
    cache.attach(await loaded(cache, key), reasons.append)
    await store.touch({key: timedelta(hours=20)})
    await eventually(lambda: cache.peek(key, HOST))  # forgotten, and read again for the stream's sake
    await store.revoke(key)
    await eventually(lambda: reasons == [SESSION_ENDED])


async def test_a_stream_that_was_detached_is_left_alone(cache: SessionCache, store: SessionStore) -> None:
    key = await signed_in(store)
    live = await loaded(cache, key)
    kept: list[str] = []
    gone: list[str] = []
    cache.attach(live, kept.append)
    cache.attach(live, gone.append)
    cache.detach(live, gone.append)
    await store.revoke(key)
    await eventually(lambda: kept == [SESSION_ENDED])
    assert gone == []
    cache.detach(live, kept.append)


async def test_a_closer_that_fails_keeps_no_other_from_being_called(cache: SessionCache, store: SessionStore) -> None:
    """C-44."""
    key = await signed_in(store)
    live = await loaded(cache, key)
    reasons: list[str] = []

    def failing(reason: str) -> None:
        raise RuntimeError(reason)

    cache.attach(live, failing)
    cache.attach(live, reasons.append)
    await store.revoke(key)
    await eventually(lambda: reasons == [SESSION_ENDED])


async def test_flushall_empties_the_cache_and_ends_the_streams(own_valkey: EmbeddedValkey) -> None:
    """C-44: Redis says None: everything."""
    async with a_client(own_valkey.url) as client:
        store = a_store(client, "doorward:")
        async with caching(store, own_valkey.url) as cache:
            keys = [await signed_in(store) for _ in range(20)]
            reasons: list[str] = []
            for key in keys:
                cache.attach(await loaded(cache, key), reasons.append)
            assert cache.size == 20
            await client.flushall()
            await eventually(lambda: cache.size == 0)
            await eventually(lambda: reasons == [SESSION_ENDED] * 20)


# --- announcements that overtake replies ------------------------------------------------------------------------------------


async def test_no_deleted_session_stays_cached_when_the_announcement_overtakes_the_reply(
    own_valkey: EmbeddedValkey,
) -> None:
    """C-44: sessions are read, and end before the replies arrive; without the mark before the GET they all stay."""
    async with (
        FlakyLink(own_valkey.url) as slow,
        a_client(slow.url, 32) as readers,
        a_client(own_valkey.url) as writers,
    ):
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        async with caching(reading, own_valkey.url) as cache:
            keys = [await signed_in(writing) for _ in range(30)]
            witness, *others = [await signed_in(writing) for _ in range(30)]
            await asyncio.gather(*(loaded(cache, key) for key in (witness, *others)))  # as many connections are there
            before = await times_read(writers)
            slow.hold_answers()
            loads = [asyncio.create_task(cache.load(key, HOST, APP)) for key in keys]
            await eventually(lambda: read_since(writers, before, len(keys)))
            await asyncio.gather(*(writers.delete(f"doorward:s:{key}") for key in keys))
            await heard(cache, writing, witness)
            assert not any(load.done() for load in loads)
            slow.release_answers()
            await asyncio.gather(*loads)
            assert cache.size == len(others)
            assert not any(cache.peek(key, HOST) for key in keys)


async def times_read(redis: Redis) -> int:
    return int((await redis.info("commandstats"))["cmdstat_getrange"]["calls"])


async def read_since(redis: Redis, before: int, times: int) -> bool:
    return await times_read(redis) >= before + times


async def test_whoever_asks_after_a_sign_out_shares_no_reading_from_before_it(own_valkey: EmbeddedValkey) -> None:
    """C-44: the old reading's reply is still on its way, and says that the session exists."""
    async with FlakyLink(own_valkey.url) as slow, a_client(slow.url) as readers, a_client(own_valkey.url) as writers:
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        async with caching(reading, own_valkey.url) as cache:
            key, witness = await signed_in(writing), await signed_in(writing)
            await loaded(cache, witness)  # a connection is there
            slow.hold_answers()
            early = asyncio.create_task(cache.load(key, HOST, APP))
            await eventually(lambda: slow.held)
            await writing.revoke(key)
            await heard(cache, writing, witness)
            assert not early.done()
            late = await asked_now(cache, key)
            slow.release_answers()
            assert await late is None
            await early
            assert cache.peek(key, HOST) is None


async def heard(cache: SessionCache, store: SessionStore, witness: str) -> None:
    """Until the cache has heard of all changes so far: they are announced in their order, and the end of `witness` is the last."""
    await store.revoke(witness)
    await eventually(lambda: cache.peek(witness, HOST) is None)


async def asked_now(cache: SessionCache, key: str) -> asyncio.Task[LiveSession | None]:
    """A reading that has begun."""
    task = asyncio.create_task(cache.load(key, HOST, APP))
    await asyncio.sleep(0)
    return task


# --- when Redis cannot be heard -----------------------------------------------------------------------------------------------


async def test_a_connection_that_dies_in_silence_is_distrusted_after_three_pings(own_valkey: EmbeddedValkey) -> None:
    """C-44: the link stalls, no error is ever seen; what happens meanwhile is not missed."""
    async with FlakyLink(own_valkey.url) as link, a_client(own_valkey.url) as client:
        store = a_store(client, "doorward:")
        async with caching(store, link.url, ping_every=0.1) as cache:
            key = await signed_in(store)
            reasons: list[str] = []
            cache.attach(await loaded(cache, key), reasons.append)
            link.stall()
            await store.revoke(key)
            assert await eventually(lambda: cache.peek(key, HOST) is None and not cache.trusted)
            await eventually(lambda: reasons == [SESSION_ENDED])
            assert await cache.load(key, HOST, APP) is None  # distrusted: every request asks
            link.restore()
            link.cut()
            await eventually(lambda: cache.trusted)
            assert cache.peek(key, HOST) is None


async def test_a_connection_that_breaks_is_distrusted_at_once_and_comes_back(own_valkey: EmbeddedValkey) -> None:
    """C-44: and what ended while nobody listened is not served afterwards."""
    async with FlakyLink(own_valkey.url) as link, a_client(own_valkey.url) as client:
        store = a_store(client, "doorward:")
        async with caching(store, link.url, ping_every=60) as cache:  # by the clock, it is trusted for three minutes
            kept, ended = await signed_in(store), await signed_in(store)
            reasons: list[str] = []
            cache.attach(await loaded(cache, kept), reasons.append)
            cache.attach(await loaded(cache, ended), reasons.append)
            link.refuse()
            await eventually(lambda: not cache.trusted and cache.size == 0)
            assert await cache.load(kept, HOST, APP) is not None
            assert cache.size == 0
            await store.revoke(ended)
            link.restore()
            await eventually(lambda: cache.trusted)
            await eventually(lambda: reasons == [SESSION_ENDED])
            assert cache.peek(ended, HOST) is None
            assert await cache.load(kept, HOST, APP) is not None
            assert cache.peek(kept, HOST) is not None


async def test_a_worker_that_was_stopped_for_an_hour_does_not_serve_what_it_knew(
    store: SessionStore, valkey: str, clock: SettableClock
) -> None:
    """C-44: not even in the moment before its own watch notices."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, idle=timedelta(days=1))
        await loaded(cache, key)
        clock.advance(3600)
        assert cache.peek(key, HOST) is None
        assert not cache.trusted
        await eventually(lambda: cache.trusted)  # a ping was answered: all that was announced has been heard
        assert cache.peek(key, HOST) is not None


async def test_while_redis_is_down_nothing_is_served_from_memory_and_streams_stay(own_valkey: EmbeddedValkey) -> None:
    """C-43: 503 for those who ask, and nobody is signed out; all is well when it is back."""
    async with a_client(own_valkey.url) as client:
        store = a_store(client, "doorward:")
        async with caching(store, own_valkey.url) as cache:
            key = await signed_in(store)
            reasons: list[str] = []
            cache.attach(await loaded(cache, key), reasons.append)
            own_valkey.stop()
            await eventually(lambda: not cache.trusted)
            assert cache.peek(key, HOST) is None
            with pytest.raises(StoreUnavailable):
                await cache.load(key, HOST, APP)
            own_valkey.start()
            await eventually(lambda: cache.trusted)
            assert await cache.load(key, HOST, APP) is not None
            assert reasons == []
            await store.revoke(key)
            await eventually(lambda: reasons == [SESSION_ENDED])


async def test_a_server_that_will_not_announce_is_asked_every_time(own_valkey: EmbeddedValkey) -> None:
    """C-44: no permission for CLIENT TRACKING: slower, never wrong."""
    async with a_client(own_valkey.url) as client:
        await command(client, "ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-client|tracking")
        store = a_store(client, "doorward:")
        url = own_valkey.url.replace("unix://", "unix://limited:secret@")
        cache = SessionCache(store, push_connections(url), time.monotonic, tick=0.02, ping_every=0.05)
        cache.start()
        key = await signed_in(store)
        assert await cache.load(key, HOST, APP) is not None
        await eventually(lambda: own_valkey_saw_refusals(client))
        assert not cache.trusted
        assert cache.size == 0
        await store.revoke(key)
        assert await cache.load(key, HOST, APP) is None
        await cache.close()


async def own_valkey_saw_refusals(client: Redis) -> bool:
    return int((await client.info("stats"))["acl_access_denied_cmd"]) > 1


async def test_nothing_is_kept_that_was_read_before_changes_were_heard_again(own_valkey: EmbeddedValkey) -> None:
    """C-44: the GET is answered, the session ends, Redis is heard again, and only then does the answer arrive."""
    async with (
        FlakyLink(own_valkey.url) as link,
        FlakyLink(own_valkey.url) as slow,
        a_client(slow.url) as readers,
        a_client(own_valkey.url) as writers,
    ):
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        async with caching(reading, link.url, ping_every=0.5) as cache:
            key = await signed_in(writing)
            assert await cache.load(key, HOST, APP) is not None  # a connection is there
            link.stall()
            link.cut()
            await eventually(lambda: not cache.trusted)
            slow.hold_answers()
            load = asyncio.create_task(cache.load(key, HOST, APP))
            await eventually(lambda: slow.held)
            await writing.revoke(key)
            link.restore()
            await eventually(lambda: cache.trusted)
            assert not load.done()
            slow.release_answers()
            await load
            assert cache.size == 0


async def test_not_even_a_record_that_keeps_changing_is_shared_with_those_who_ask_after_its_end(
    own_valkey: EmbeddedValkey,
) -> None:
    """C-44: the reading is spoiled again and again, and the sign-out falls into its last attempt."""
    async with FlakyLink(own_valkey.url) as slow, a_client(slow.url) as readers, a_client(own_valkey.url) as writers:
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        async with caching(reading, own_valkey.url) as cache:
            key, *witnesses = [await signed_in(writing) for _ in range(4)]
            for witness in witnesses:
                await loaded(cache, witness)
            slow.hold_answers()
            early = asyncio.create_task(cache.load(key, HOST, APP))
            for hours, witness in zip((20, 30), witnesses, strict=False):
                await eventually(lambda: slow.held)
                await writing.touch({key: timedelta(hours=hours)})
                await heard(cache, writing, witness)
                slow.held = 0
                slow.pass_answers()
            await eventually(lambda: slow.held)
            await writing.revoke(key)
            await heard(cache, writing, witnesses[-1])
            assert not early.done()
            late = await asked_now(cache, key)
            slow.release_answers()
            assert await late is None
            await early
            assert cache.peek(key, HOST) is None


async def test_while_changes_are_not_heard_nobody_shares_a_reading(own_valkey: EmbeddedValkey) -> None:
    """C-44: whoever asks after a sign-out must not get the answer to a question from before it."""
    async with FlakyLink(own_valkey.url) as slow, a_client(slow.url) as readers, a_client(own_valkey.url) as writers:
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        cache = SessionCache(reading, push_connections(own_valkey.url), time.monotonic)  # never started: hears nothing
        key = await signed_in(writing)
        assert await cache.load(key, HOST, APP) is not None
        slow.hold_answers()
        early = asyncio.create_task(cache.load(key, HOST, APP))
        await eventually(lambda: slow.held)
        await writing.revoke(key)
        assert not early.done()
        late = await asked_now(cache, key)
        slow.release_answers()
        assert await late is None
        assert await early is not None


async def test_once_trust_has_ended_by_the_clock_nobody_shares_a_reading_that_began_under_it(
    own_valkey: EmbeddedValkey, clock: SettableClock
) -> None:
    """C-44: the worker was stopped; a sign-out that it did not hear came between the old question and the new one."""
    async with (
        FlakyLink(own_valkey.url) as announcements,
        FlakyLink(own_valkey.url) as slow,
        a_client(slow.url) as readers,
        a_client(own_valkey.url) as writers,
    ):
        reading, writing = a_store(readers, "doorward:"), a_store(writers, "doorward:")
        async with caching(reading, announcements.url, clock.monotonic) as cache:
            key = await signed_in(writing)
            await loaded(cache, await signed_in(writing))  # a connection is there
            slow.hold_answers()
            early = asyncio.create_task(cache.load(key, HOST, APP))
            await eventually(lambda: slow.held)
            announcements.stall()
            await writing.revoke(key)
            clock.advance(60)
            assert not cache.trusted
            assert not early.done()
            late = await asked_now(cache, key)
            slow.release_answers()
            assert await late is None
            await early


async def test_a_failure_that_nobody_waits_for_any_more_leaves_no_traceback(own_valkey: EmbeddedValkey) -> None:
    """C-48: callers hang up, then Redis fails."""
    complaints: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with FlakyLink(own_valkey.url) as link, a_client(link.url) as client:
        store = a_store(client, "doorward:")
        async with caching(store, own_valkey.url) as cache:
            await store.ping()
            link.stall()
            asked: list[asyncio.Task[object]] = [
                asyncio.create_task(cache.load(store.key_of(store.new_token()), HOST, APP)) for _ in range(3)
            ]
            asked.append(asyncio.create_task(store.revoke("0" * 64)))
            await asyncio.sleep(0.02)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            link.refuse()
            await eventually(lambda: sum(store.durations.counts) == 3)  # all have come to their end
            await asyncio.sleep(0)
            asked.clear()
            del task
            gc.collect()
    assert complaints == []


# --- clocks -------------------------------------------------------------------------------------------------------------------


async def test_an_idle_session_ends_and_one_in_use_does_not(
    store: SessionStore, redis: Redis, prefix: str, valkey: str, clock: SettableClock
) -> None:
    """C-46: idle timeout, with the clock of the worker."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=15))
        for _ in range(10):
            clock.advance(14 * 60)
            await eventually(lambda: cache.trusted)
            live = cache.peek(key, HOST) or await loaded(cache, key)
            cache.touch(live)
            await redis.pexpire(
                f"{prefix}s:{key}", timedelta(minutes=15)
            )  # Redis' clock did not advance: set what it would say
            await eventually(lambda: cache.peek(key, HOST) is None)
        await loaded(cache, key)
        clock.advance(15 * 60 + 1)
        await eventually(lambda: cache.trusted)
        assert cache.peek(key, HOST) is None


async def test_a_session_that_was_idle_too_long_is_not_woken_by_late_traffic(
    store: SessionStore, valkey: str, clock: SettableClock
) -> None:
    """C-46: an old WebSocket still talks; its session's record has not been swept up yet."""
    async with caching(store, valkey, clock.monotonic, tick=10) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=15))
        live = await loaded(cache, key)
        clock.advance(15 * 60)
        cache.touch(live)
        await eventually(lambda: cache.trusted)
        assert cache.peek(key, HOST) is None


async def test_constant_traffic_carries_no_session_past_its_lifetime(
    store: SessionStore, valkey: str, clock: SettableClock
) -> None:
    """C-46: absolute lifetime; and a touch afterwards wakes nothing."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=15), lifetime=timedelta(minutes=60))
        live = await loaded(cache, key)
        for _ in range(59):
            clock.advance(60)
            cache.touch(live)
            assert clock.monotonic() < live.idle_deadline <= live.expires_deadline
        clock.advance(61)
        cache.touch(live)
        assert live.idle_deadline < clock.monotonic()
        assert cache.peek(key, HOST) is None
        assert await cache.load(key, HOST, APP) is None


async def test_a_wall_clock_that_jumps_changes_nothing_for_sessions_in_memory(
    store: SessionStore, valkey: str, clock: SettableClock
) -> None:
    """C-46: an hour ahead, two back."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=15), lifetime=timedelta(minutes=60))
        live = await loaded(cache, key)
        for jump in (3600, -7200, 3600):
            clock.set_wall_clock_by(jump)
            assert cache.peek(key, HOST) is live
        assert live.expires_deadline - clock.monotonic() <= 3600


async def test_use_reaches_redis_with_the_time_of_the_last_request(
    store: SessionStore, redis: Redis, prefix: str, valkey: str, clock: SettableClock
) -> None:
    """C-46: one message for many requests, and it says what the last of them meant."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=60))
        live = await loaded(cache, key)
        await redis.pexpire(f"{prefix}s:{key}", timedelta(minutes=50))
        await redis.config_resetstat()
        for _ in range(30):
            cache.touch(live)
            clock.advance(1)
        cache.touch(live)
        clock.advance(31)
        await eventually(lambda: more_than(redis, f"{prefix}s:{key}", 3550))
        assert await redis.ttl(f"{prefix}s:{key}") <= 3600 - 31
        assert (await redis.info("commandstats"))["cmdstat_pexpire"]["calls"] == 1


async def more_than(redis: Redis, name: str, seconds: int) -> bool:
    return int(await redis.ttl(name)) > seconds


async def test_a_worker_that_stops_tells_redis_of_the_last_requests(
    store: SessionStore, redis: Redis, prefix: str, valkey: str
) -> None:
    async with caching(store, valkey) as cache:
        key = await signed_in(store, idle=timedelta(minutes=60))
        live = await loaded(cache, key)
        await redis.pexpire(f"{prefix}s:{key}", timedelta(minutes=50))
        cache.touch(live)
    assert await redis.ttl(f"{prefix}s:{key}") > 3590


async def test_streams_end_with_the_lifetime(store: SessionStore, valkey: str, clock: SettableClock) -> None:
    """C-19, C-46: nothing announces it; the worker's clock does."""
    async with caching(store, valkey, clock.monotonic) as cache:
        key = await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=60), lifetime=timedelta(minutes=60))
        reasons: list[str] = []
        cache.attach(await loaded(cache, key), reasons.append)
        clock.advance(3599)
        await eventually(lambda: cache.trusted)
        assert reasons == []
        clock.advance(2)
        await eventually(lambda: reasons == [SESSION_EXPIRED])


async def test_streams_end_with_the_idle_timeout_unless_the_session_is_used_elsewhere(
    store: SessionStore, redis: Redis, prefix: str, valkey: str, clock: SettableClock
) -> None:
    """C-19, C-46."""
    async with caching(store, valkey, clock.monotonic) as cache:
        elsewhere, forgotten = [
            await signed_in(store, created_at=clock.now(), idle=timedelta(minutes=15)) for _ in range(2)
        ]
        ended: list[str] = []
        cache.attach(await loaded(cache, elsewhere), lambda reason: ended.append("elsewhere"))
        cache.attach(await loaded(cache, forgotten), lambda reason: ended.append("forgotten"))
        await redis.pexpire(f"{prefix}s:{forgotten}", 150)  # Redis' own clock runs out
        clock.advance(16 * 60)

        def as_time_goes_on() -> list[str]:
            clock.advance(
                1
            )  # who is asked a moment too early says so, and Redis announces what ran out when it comes by
            return ended

        await eventually(as_time_goes_on)
        clock.advance(16 * 60)  # and once more: Redis still says that somebody uses the other one
        await eventually(lambda: cache.trusted)
        assert await cache.load(elsewhere, HOST, APP) is not None
        assert ended == ["forgotten"]


async def test_it_can_be_closed_at_any_moment(store: SessionStore, valkey: str) -> None:
    for number in range(40):
        cache = SessionCache(store, push_connections(valkey), time.monotonic, tick=0.001, ping_every=0.001)
        cache.start()
        await asyncio.sleep(number * 0.0005)
        await asyncio.wait_for(cache.close(), 60)


# --- many at once -------------------------------------------------------------------------------------------------------------


async def test_hundreds_of_sign_outs_while_everybody_is_asking(store: SessionStore, valkey: str) -> None:
    """C-44: two workers load the sessions while they are being ended; afterwards no worker knows any of them."""
    async with caching(store, valkey) as here, caching(store, valkey) as there:
        keys = [await signed_in(store, subject=f"sub-{number}") for number in range(300)]

        async def ask(cache: SessionCache, key: str) -> None:
            for _ in range(3):
                await cache.load(key, HOST, APP)

        async def end(key: str) -> None:
            await store.revoke(key)

        for start in range(0, len(keys), 30):
            work: list[Awaitable[None]] = []
            for key in keys[start : start + 30]:
                work += [ask(here, key), end(key), ask(there, key)]
            await asyncio.gather(*work)
        await eventually(lambda: here.size == there.size == 0)
        assert not any(cache.peek(key, HOST) for cache in (here, there) for key in keys)
