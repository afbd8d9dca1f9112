"""Keys are changed without signing anybody out: records move to the first key as they are used."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from gateway.sessions.cache import SessionCache
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.records import Records
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, ISSUER, a_client, a_session, a_store, push_connections

OLD, NEW = new_key(), new_key()


@pytest.fixture
def old(redis: Redis, prefix: str) -> SessionStore:
    return a_store(redis, prefix, keys=(OLD,))


@pytest.fixture
def both(redis: Redis, prefix: str) -> SessionStore:
    return a_store(redis, prefix, keys=(NEW, OLD))


@pytest.fixture
def new(redis: Redis, prefix: str) -> SessionStore:
    return a_store(redis, prefix, keys=(NEW,))


async def test_a_record_of_an_older_key_moves_to_the_first_one(
    old: SessionStore, both: SessionStore, new: SessionStore
) -> None:
    session = a_session()
    key = old.key_of(await old.issue(session))
    before = await both.fetch(key, HOST, APP)
    assert before is not None
    assert before.old_key
    assert await new.fetch(key, HOST, APP) is None
    assert await both.reseal([key]) == 1
    after = await new.fetch(key, HOST, APP)
    assert after is not None
    assert (after.session, after.old_key) == (session, False)
    assert await old.fetch(key, HOST, APP) is None
    assert await both.reseal([key]) == 0


async def test_it_lives_not_a_moment_longer(old: SessionStore, both: SessionStore, redis: Redis, prefix: str) -> None:
    """C-46: the idle timeout that was running goes on."""
    key = old.key_of(await old.issue(a_session(idle=timedelta(hours=8))))
    await redis.pexpire(f"{prefix}s:{key}", 60_000)
    assert await both.reseal([key]) == 1
    assert 0 < await redis.pttl(f"{prefix}s:{key}") <= 60_000


async def test_after_the_old_key_is_gone_the_person_and_the_provider_can_still_end_it(
    old: SessionStore, both: SessionStore, new: SessionStore
) -> None:
    """A-23: the indexes' names come from the keys too."""
    by_sid, by_person = [await old.issue(a_session(provider_sid=sid)) for sid in ("one", None)]
    await both.reseal([old.key_of(by_sid), old.key_of(by_person)])
    assert len(await new.revoke_provider_session(ISSUER, "one")) == 1
    assert len(await new.revoke_person(ISSUER, a_session().identity.subject)) == 1
    for token in (by_sid, by_person):
        assert await new.fetch(new.key_of(token), HOST, APP) is None


async def test_a_record_that_is_rewritten_under_a_new_key_is_found_by_its_person_too(
    old: SessionStore, both: SessionStore, new: SessionStore
) -> None:
    """A-23: a token refresh seals with the first key; the index must follow."""
    session = a_session()
    key = old.key_of(await old.issue(session))
    before = await both.fetch(key, HOST, APP)
    assert before is not None
    assert await both.rewrite(key, before, session)
    assert len(await new.revoke_provider_session(ISSUER, str(session.provider_sid))) == 1


async def test_many_are_sealed_anew_in_few_steps(old: SessionStore, both: SessionStore, redis: Redis) -> None:
    keys = [old.key_of(await old.issue(a_session(f"p{number}"))) for number in range(250)]
    assert await both.reseal([*keys, "0" * 64]) == 250
    assert await both.reseal(keys) == 0


@pytest.mark.parametrize("meanwhile", ["ended", "changed"])
async def test_what_ended_or_changed_while_it_was_sealed_anew_stays_as_it_is(
    valkey: str, redis: Redis, prefix: str, old: SessionStore, both: SessionStore, meanwhile: str
) -> None:
    """C-44: sealing never brings a session back, and never undoes a refresh."""
    key = old.key_of(await old.issue(a_session()))
    name, index = f"{prefix}s:{key}", f"{prefix}sub:*"
    async with FlakyLink(valkey) as link:
        slow = a_client(link.url)
        link.delay = 0.25
        sealing = asyncio.create_task(a_store(slow, prefix, keys=(NEW, OLD)).reseal([key]))
        # Its second index stands: the record was read, and the swap is still on its way.
        await eventually(lambda: _count(redis, index, 2))
        changed = Records(KeyRing((OLD,)), f"{prefix}s:").seal(key, a_session(acr="changed"))
        await (redis.delete(name) if meanwhile == "ended" else redis.set(name, changed, keepttl=True))
        assert await sealing == 0
        await slow.aclose()
    found = await both.fetch(key, HOST, APP)
    assert found is None if meanwhile == "ended" else found is not None and found.session.acr == "changed"


async def _count(redis: Redis, pattern: str, wanted: int) -> bool:
    return len(await redis.keys(pattern)) == wanted


async def test_using_a_session_moves_it_and_keeps_it(
    valkey: str, old: SessionStore, both: SessionStore, new: SessionStore, clock: SettableClock
) -> None:
    """And every worker's cache holds the new record afterwards."""
    key = old.key_of(await old.issue(a_session()))
    cache = SessionCache(both, push_connections(valkey), clock.monotonic, tick=0.01)
    cache.start()
    try:
        await eventually(lambda: cache.trusted)
        live = await cache.load(key, HOST, APP)
        assert live is not None
        assert live.old_key
        cache.touch(live)

        async def moved() -> bool:
            clock.advance(1)
            return await new.fetch(key, HOST, APP) is not None

        await eventually(moved)
        live = await cache.load(key, HOST, APP)
        assert live is not None
        assert not live.old_key
    finally:
        await cache.close()
