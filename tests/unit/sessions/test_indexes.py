"""A session that lives is in its indexes, whatever a worker's clock says; one that is over leaves them (C-72)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.scan import SessionFilter, SessionScan
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.unit.sessions.made import APP, HOST, ISSUER, KEY, a_session, a_store

DAYS = timedelta(days=1)
NEW = new_key()


@pytest.fixture
def store(redis: Redis, prefix: str) -> SessionStore:
    return a_store(redis, prefix)


@pytest.fixture
def ahead(redis: Redis, prefix: str, clock: SettableClock) -> SessionStore:
    """A worker's whose clock is eight days ahead: after the end of every session that began today. It has a new key already."""
    clock.set_wall_clock_by(8 * DAYS.total_seconds())
    return a_store(redis, prefix, clock.now, keys=(NEW, KEY))


@pytest.fixture
async def keys(store: SessionStore) -> list[str]:
    """Of two sessions, each with its own way to be found."""
    return [store.key_of(await store.issue(a_session(provider_sid=sid))) for sid in ("sid-1", None)]


async def indexes(redis: Redis, prefix: str) -> AsyncIterator[str]:
    for kind in ("sub", "psid"):
        async for name in redis.scan_iter(match=f"{prefix}{kind}:*"):
            yield name.decode()


async def alive(store: SessionStore, keys: list[str]) -> list[bool]:
    return [await store.fetch(key, HOST, APP) is not None for key in keys]


async def test_a_sign_in_at_a_worker_whose_clock_is_ahead_puts_nobodys_session_out_of_reach(
    store: SessionStore, ahead: SessionStore, keys: list[str], clock: SettableClock, redis: Redis, prefix: str
) -> None:
    """C-72, C-44: neither of the person nor of their sign-in at the provider."""
    await ahead.issue(a_session(created_at=clock.now(), provider_sid="sid-1"))
    person = SessionFilter(issuer=ISSUER, subject=a_session().identity.subject)
    batches = [batch async for batch in SessionScan(redis, KeyRing((NEW, KEY)), prefix).batches(person)]
    assert {entry.key for batch in batches for entry in batch} > set(keys)
    assert len(await ahead.revoke_provider_session(ISSUER, "sid-1")) == 2
    assert await alive(store, keys) == [False, True]
    assert len(await store.revoke_person(ISSUER, person.subject or "")) == 1
    assert await alive(store, keys) == [False, False]


async def test_a_refresh_and_a_change_of_keys_at_such_a_worker_put_none_out_of_reach_either(
    store: SessionStore, ahead: SessionStore, keys: list[str], clock: SettableClock
) -> None:
    """C-72, C-44."""
    clock.set_wall_clock_by(-8 * DAYS.total_seconds())
    stored = await ahead.fetch(keys[1], HOST, APP)
    clock.set_wall_clock_by(8 * DAYS.total_seconds())
    assert stored is not None
    assert await ahead.rewrite(keys[1], stored, replace(stored.session, provider_sid="sid-1"))
    assert await ahead.reseal(keys) == 1
    assert len(await ahead.revoke_provider_session(ISSUER, "sid-1")) == 2
    assert await alive(ahead, keys) == [False, False]


async def test_an_entry_whose_record_lives_stays_though_it_seems_to_be_over(
    store: SessionStore, keys: list[str], redis: Redis, prefix: str
) -> None:
    """C-72: a worker lagged when it wrote it, or Redis' own clock was set."""
    async for name in indexes(redis, prefix):
        await redis.zadd(name, dict.fromkeys(keys, 1.0), xx=True)
    await store.issue(a_session(provider_sid="sid-1"))
    assert len(await store.revoke_provider_session(ISSUER, "sid-1")) == 2
    assert len(await store.revoke_person(ISSUER, a_session().identity.subject)) == 1
    assert await alive(store, keys) == [False, False]


async def test_entries_whose_records_are_gone_leave(
    store: SessionStore, keys: list[str], redis: Redis, prefix: str
) -> None:
    two_hours_ago = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    async for name in indexes(redis, prefix):
        await redis.zadd(name, dict.fromkeys((f"{number:064x}" for number in range(150)), two_hours_ago))
    await store.issue(a_session(provider_sid="sid-1"))
    assert sorted([await redis.zcard(name) async for name in indexes(redis, prefix)]) == [2, 3]


async def test_a_session_that_began_by_a_clock_ahead_is_in_reach_for_as_long_as_others_let_it_live(
    ahead: SessionStore, store: SessionStore, clock: SettableClock, redis: Redis, prefix: str
) -> None:
    """C-72: for those whose clocks are right it lives eight days longer."""
    session = a_session(created_at=clock.now(), lifetime=7 * DAYS, idle=7 * DAYS)
    key = ahead.key_of(await ahead.issue(session))
    stored = await a_store(redis, prefix, keys=(KEY, NEW)).fetch(key, HOST, APP)
    assert stored is not None
    assert session.expires_at - datetime.now(UTC) > 14 * DAYS
    for name in [name async for name in indexes(redis, prefix)]:
        assert await redis.pttl(name) / 1000 > (session.expires_at - datetime.now(UTC)).total_seconds()


async def test_it_is_the_same_on_many_servers(fleet: Redis, prefix: str, clock: SettableClock) -> None:
    """C-72: a set and its records lie in different slots."""
    store = a_store(fleet, prefix)
    keys = [store.key_of(await store.issue(a_session(provider_sid="sid-1"))) for _ in range(12)]
    clock.set_wall_clock_by(8 * DAYS.total_seconds())
    ahead = a_store(fleet, prefix, clock.now)
    await ahead.issue(a_session(created_at=clock.now(), provider_sid="sid-1"))
    assert len(await ahead.revoke_provider_session(ISSUER, "sid-1")) == 13
    assert await alive(store, keys) == [False] * 12
