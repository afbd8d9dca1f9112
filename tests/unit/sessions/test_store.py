"""Sessions in a real Valkey: issued, fetched, touched, revoked; and what a stranger finds there."""

import asyncio
import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.errors.signing_in import SignInFailed
from gateway.sessions.cookie import SessionCookie
from gateway.sessions.keyring import new_key
from gateway.sessions.session import MAX_ENCODED
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.fakes.redis_commands import stored
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, ISSUER, KEY, a_client, a_person, a_session, a_store

MINUTES = timedelta(minutes=1)
COOKIE = SessionCookie(secure=True)


@pytest.fixture
def store(redis: Redis, prefix: str, clock: SettableClock) -> SessionStore:
    return a_store(redis, prefix, clock.now)


async def issued(store: SessionStore, **changes: Any) -> str:
    return store.key_of(await store.issue(a_session(**changes)))


# --- tokens and ids -----------------------------------------------------------------------------------------------------


def test_tokens_and_handles_are_random_and_have_their_shape() -> None:
    """C-40, A-77."""
    tokens = {SessionStore.new_token() for _ in range(10_000)}
    assert len(tokens) == 10_000
    assert all(COOKIE.find([f"{COOKIE.name}={token}".encode()]) == token for token in tokens)
    assert len({SessionStore.new_sid() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "value",
    [b"", b"*", b"..", b"a\nb", b"A" * 42, b"A" * 44, b"A" * 43 + b"\n", b"A" * 42 + b"*", b"\xc3" * 43, b"A" * 10_240],
)
async def test_a_value_that_is_no_token_is_no_cookie_of_ours_and_could_not_name_a_key(value: bytes) -> None:
    """C-50: the shape first, and behind it a hash: no text of the client's reaches Redis."""
    assert COOKIE.find([f"{COOKIE.name}=".encode() + value]) is None
    assert re.fullmatch("[0-9a-f]{64}", SessionStore.key_of(value.decode("latin-1")))


async def test_every_sign_in_gets_a_new_id_and_the_planted_one_dies(store: SessionStore) -> None:
    """C-40."""
    planted = await issued(store)
    token = await store.issue(a_session(), replaces=planted)
    assert await store.fetch(planted, HOST, APP) is None
    assert await store.fetch(store.key_of(token), HOST, APP) is not None
    assert store.key_of(token) != planted


# --- what is found ------------------------------------------------------------------------------------------------------


async def test_an_issued_session_is_found_under_its_host_and_app_only(store: SessionStore) -> None:
    """C-09."""
    session = a_session()
    key = store.key_of(await store.issue(session))
    found = await store.fetch(key, HOST, APP)
    assert found is not None
    assert found.session == session
    assert await store.fetch(key, "dashboard.example.com", APP) is None
    assert await store.fetch(key, HOST, "dashboard") is None
    assert await store.fetch(store.key_of(store.new_token()), HOST, APP) is None


async def test_a_record_copied_under_another_key_is_no_session(store: SessionStore, redis: Redis, prefix: str) -> None:
    """C-08."""
    key, other = await issued(store), store.key_of(store.new_token())
    await redis.copy(f"{prefix}s:{key}", f"{prefix}s:{other}")
    assert await store.fetch(other, HOST, APP) is None


async def test_a_record_whose_outside_was_rewritten_for_another_host_is_no_session(
    store: SessionStore, redis: Redis, prefix: str
) -> None:
    """C-08."""
    key = await issued(store)
    record = await stored(redis, f"{prefix}s:{key}")
    other_host = "p" * len(HOST)
    await redis.set(f"{prefix}s:{key}", record.replace(HOST.encode(), other_host.encode()), keepttl=True)
    assert await store.fetch(key, other_host, APP) is None
    assert await store.fetch(key, HOST, APP) is None


async def test_keys_can_be_changed_without_ending_a_session(redis: Redis, prefix: str) -> None:
    old, new = new_key(), new_key()
    key = await issued(a_store(redis, prefix, keys=(old,)))
    turned = a_store(redis, prefix, keys=(new, old))
    assert await turned.fetch(key, HOST, APP) is not None
    assert len(await turned.revoke_person(ISSUER, "sub-7f3a")) == 1
    assert (
        await a_store(redis, prefix, keys=(new,)).fetch(await issued(a_store(redis, prefix, keys=(old,))), HOST, APP)
        is None
    )


async def test_a_session_that_is_too_large_is_refused_at_sign_in(store: SessionStore) -> None:
    with pytest.raises(SignInFailed):
        await store.issue(a_session(id_token="x" * MAX_ENCODED))


# --- clocks -------------------------------------------------------------------------------------------------------------


async def test_the_time_to_live_in_redis_is_what_is_left(
    store: SessionStore, redis: Redis, prefix: str, clock: SettableClock
) -> None:
    """C-46."""
    idle = await issued(store, created_at=clock.now(), idle=15 * MINUTES, lifetime=600 * MINUTES)
    late = await issued(store, created_at=clock.now() - 595 * MINUTES, idle=15 * MINUTES, lifetime=600 * MINUTES)
    assert 890 < await redis.ttl(f"{prefix}s:{idle}") <= 900
    assert 290 < await redis.ttl(f"{prefix}s:{late}") <= 300
    found = await store.fetch(late, HOST, APP)
    assert found is not None
    assert found.ttl <= found.remaining <= 5 * MINUTES


async def test_no_session_outlives_its_lifetime_whatever_redis_says(
    store: SessionStore, redis: Redis, prefix: str, clock: SettableClock
) -> None:
    """C-46."""
    key = await issued(store, created_at=clock.now(), idle=60 * MINUTES, lifetime=60 * MINUTES)
    await redis.pexpire(f"{prefix}s:{key}", 100 * 60 * MINUTES)
    clock.set_wall_clock_by(3599)
    assert await store.fetch(key, HOST, APP) is not None
    clock.set_wall_clock_by(2)
    assert await store.fetch(key, HOST, APP) is None


async def test_a_wall_clock_an_hour_off_neither_ends_idle_sessions_nor_prolongs_them(
    store: SessionStore, clock: SettableClock
) -> None:
    """C-46."""
    key = await issued(store, created_at=clock.now(), idle=15 * MINUTES, lifetime=600 * MINUTES)
    for jump in (3600, -7200):
        clock.set_wall_clock_by(jump)
        found = await store.fetch(key, HOST, APP)
        assert found is not None
        assert 14 * MINUTES < found.ttl <= 15 * MINUTES
        assert found.remaining <= 600 * MINUTES


async def test_a_record_that_redis_would_keep_for_ever_is_not_ours(
    store: SessionStore, redis: Redis, prefix: str
) -> None:
    key = await issued(store)
    await redis.persist(f"{prefix}s:{key}")
    assert await store.fetch(key, HOST, APP) is None


async def test_a_touch_pushes_the_end_ahead_and_never_back(store: SessionStore, redis: Redis, prefix: str) -> None:
    key = await issued(store, idle=10 * MINUTES)
    await store.touch({key: 60 * MINUTES})
    assert 3590 < await redis.ttl(f"{prefix}s:{key}") <= 3600
    await store.touch({key: 1 * MINUTES})
    assert 3590 < await redis.ttl(f"{prefix}s:{key}") <= 3600


async def test_a_touch_revives_nothing(store: SessionStore, redis: Redis, prefix: str) -> None:
    key = await issued(store)
    await store.revoke(key)
    await store.touch({key: 60 * MINUTES})
    assert not await redis.exists(f"{prefix}s:{key}")


async def test_many_touches_are_sent_in_parts(store: SessionStore, redis: Redis, prefix: str) -> None:
    keys = [await issued(store, idle=10 * MINUTES) for _ in range(3)]
    unknown = {hashlib.sha256(b"%d" % number).hexdigest(): 60 * MINUTES for number in range(700)}
    await store.touch({keys[0]: 60 * MINUTES, **unknown, **dict.fromkeys(keys[1:], 60 * MINUTES)})
    assert all([await redis.ttl(f"{prefix}s:{key}") > 3000 for key in keys])


# --- the end ------------------------------------------------------------------------------------------------------------


async def test_a_revoked_session_is_gone_and_told(store: SessionStore) -> None:
    session = a_session()
    key = store.key_of(await store.issue(session))
    assert await store.revoke(key) == session
    assert await store.fetch(key, HOST, APP) is None
    assert await store.revoke(key) is None


async def test_a_person_is_signed_out_everywhere_and_nobody_else(store: SessionStore) -> None:
    """C-44."""
    mine = [
        await issued(store, key_host=host, app=app)
        for host, app in ((HOST, APP), ("dashboard.example.com", "dashboard"))
    ]
    others = [
        await issued(store, subject="sub-other"),
        await issued(store, identity=a_person().__class__(issuer="https://other/", subject="sub-7f3a")),
    ]
    ended = await store.revoke_person(ISSUER, "sub-7f3a")
    assert {session.app for session in ended} == {"portal", "dashboard"}
    assert await store.fetch(mine[0], HOST, APP) is None
    assert await store.fetch(mine[1], "dashboard.example.com", "dashboard") is None
    for key in others:
        assert await store.fetch(key, HOST, APP) is not None
    assert await store.revoke_person(ISSUER, "sub-7f3a") == []


async def test_a_provider_session_ends_with_all_that_began_in_it(store: SessionStore) -> None:
    """C-44, A-23: by the provider's sid, and only of that issuer."""
    first, second = (
        await issued(store, provider_sid="sid-1"),
        await issued(store, provider_sid="sid-1", subject="sub-b"),
    )
    kept = [await issued(store, provider_sid="sid-2"), await issued(store, provider_sid=None)]
    assert await store.revoke_provider_session("https://elsewhere/", "sid-1") == []
    assert len(await store.revoke_provider_session(ISSUER, "sid-1")) == 2
    assert await store.fetch(first, HOST, APP) is None
    assert await store.fetch(second, HOST, APP) is None
    for key in kept:
        assert await store.fetch(key, HOST, APP) is not None


async def test_the_index_lives_as_long_as_the_longest_session_in_it(
    store: SessionStore, redis: Redis, prefix: str
) -> None:
    await issued(store, lifetime=10_000 * MINUTES)
    await issued(store, lifetime=10 * MINUTES)
    for name in [name async for name in redis.scan_iter(match=prefix + "*sid:*")]:
        assert await redis.ttl(name) > 10_000 * 60


async def test_the_index_of_a_session_lives_an_hour_longer(store: SessionStore, redis: Redis, prefix: str) -> None:
    await issued(store, lifetime=60 * MINUTES)
    for name in [name async for name in redis.scan_iter(match=prefix + "*sid:*")]:
        assert 3600 < await redis.ttl(name) <= 7200


async def test_a_login_attempt_is_used_once(store: SessionStore, redis: Redis, prefix: str) -> None:
    """A-54."""
    outcomes = await asyncio.gather(*(store.consume("state-1", 15 * MINUTES) for _ in range(20)))
    assert sorted(outcomes) == [False] * 19 + [True]
    assert await store.consume("state-2", 15 * MINUTES)
    assert all([0 < await redis.ttl(name) <= 900 async for name in redis.scan_iter(match=prefix + "used:*")])


async def test_a_sign_out_that_was_begun_is_finished_though_its_caller_is_gone(
    valkey: str, prefix: str, store: SessionStore
) -> None:
    """C-41, C-44: the browser hangs up in the middle of it."""
    async with FlakyLink(valkey) as link, a_client(link.url) as client:
        slow = a_store(client, prefix)
        keys = [await issued(store, subject=f"sub-{number}") for number in range(30)]
        await slow.ping()
        link.delay = 0.005
        for number, key in enumerate(keys):
            ending = slow.revoke(key) if number % 2 else slow.revoke_person(ISSUER, f"sub-{number}")
            task = asyncio.create_task(ending)
            await asyncio.sleep(number * 0.001)
            task.cancel()
        for key in keys[1:]:

            async def is_over(key: str = key) -> bool:
                return await store.fetch(key, HOST, APP) is None

            await eventually(is_over)


# --- what a stranger finds ----------------------------------------------------------------------------------------------


async def test_a_dump_of_redis_holds_no_token_no_address_and_no_cookie(
    store: SessionStore, redis: Redis, prefix: str
) -> None:
    """C-48: the key is a hash, the value sealed, and the index keyed: a subject cannot be guessed from it either."""
    session = a_session()
    token = await store.issue(session)
    await store.consume("state-of-the-attempt", 15 * MINUTES)
    dump = b""
    async for name in redis.scan_iter(match=prefix + "*"):
        kind = await redis.type(name)
        value = (
            await redis.get(name)
            if kind == b"string"
            else repr(await redis.zrange(name, 0, -1, withscores=True)).encode()
        )
        dump += name + b" " + value + b"\n"
    secrets = [
        "secret",
        "id-token",
        "members.example",
        "sub-7f3a",
        "provider-sid-1",
        "staff",
        "silver",
        "login.example",
        "state-of-the-attempt",
    ]
    for text in (token, session.sid, KEY, *secrets):
        assert text.encode() not in dump
    for guess in ("sub-7f3a", ISSUER + "sub-7f3a", "provider-sid-1"):
        assert hashlib.sha256(guess.encode()).hexdigest().encode() not in dump
    assert store.key_of(token).encode() in dump


def test_a_handle_is_never_taken_for_an_option() -> None:
    """On a command line, what begins with a dash is one."""
    handles = [SessionStore.new_sid() for _ in range(500)]
    assert len(set(handles)) == 500
    assert not any("-" in handle for handle in handles)
