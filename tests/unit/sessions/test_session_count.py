"""How many sessions there are: exactly where Redis holds little, about where it holds much."""

import pytest
from redis.asyncio import Redis

from gateway.sessions.session_count import SessionCount
from tests.unit.sessions.made import a_session, a_store


async def test_few_sessions_are_counted_and_nothing_else(redis: Redis, prefix: str) -> None:
    store = a_store(redis, prefix)
    assert await SessionCount(redis, prefix, scanned=1_000_000).read() == 0
    for _ in range(3):
        await store.issue(a_session())
    await redis.set(f"{prefix}x", b"1")
    assert await SessionCount(redis, prefix, scanned=1_000_000).read() == 3


async def test_many_sessions_are_estimated(redis: Redis, prefix: str) -> None:
    pipe = redis.pipeline(transaction=False)
    for number in range(3000):
        pipe.set(f"{prefix}s:{number}", b"", ex=60)
        pipe.set(f"{prefix}sub:{number}", b"", ex=60)
    await pipe.execute()
    assert await SessionCount(redis, prefix, scanned=0).read() == pytest.approx(3000, rel=0.3)
