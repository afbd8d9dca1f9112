"""What Redis remembers of attempts."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.token_refresh.attempts import MEMORY, Attempts, Past
from tests.unit.sessions.made import a_client

KEY = "k" * 64


async def test_nothing_is_known_of_a_session_that_was_never_refreshed(redis: Redis, prefix: str) -> None:
    assert await Attempts(redis, prefix).read(KEY) == Past()


async def test_an_attempt_that_was_only_begun_is_known_and_forbids_nothing(redis: Redis, prefix: str) -> None:
    """A-71: its worker may be dead."""
    attempts = Attempts(redis, prefix)
    await attempts.begin(KEY, 2)
    assert await attempts.read(KEY) == Past(failures=2, unfinished=True)
    assert 0 < await redis.pttl(f"{prefix}refresh:{KEY}") <= MEMORY / timedelta(milliseconds=1)


async def test_a_failure_forbids_the_next_attempt_for_a_while_and_is_remembered_longer(
    redis: Redis, prefix: str
) -> None:
    """A-73."""
    attempts = Attempts(redis, prefix)
    await attempts.fail(KEY, 3, timedelta(seconds=20))
    past = await attempts.read(KEY)
    assert (past.failures, past.unfinished) == (3, False)
    assert timedelta(seconds=10) < past.pause <= timedelta(seconds=20)
    await redis.pexpire(f"{prefix}refresh:{KEY}", MEMORY)  # the pause passes
    assert await attempts.read(KEY) == Past(failures=3)


async def test_a_success_clears_it(redis: Redis, prefix: str) -> None:
    attempts = Attempts(redis, prefix)
    await attempts.fail(KEY, 3, timedelta(seconds=20))
    await attempts.clear(KEY)
    assert await attempts.read(KEY) == Past()


@pytest.mark.parametrize("value", ["", "failed", "failed x", "failed 99999", "nonsense"])
async def test_what_cannot_be_read_is_nothing(redis: Redis, prefix: str, value: str) -> None:
    await redis.set(f"{prefix}refresh:{KEY}", value, ex=60)
    assert await Attempts(redis, prefix).read(KEY) == Past()


async def test_a_store_that_is_gone_is_said(own_valkey: EmbeddedValkey) -> None:
    client = a_client(own_valkey.url)
    own_valkey.stop()
    with pytest.raises(StoreUnavailable):
        await Attempts(client, "x:").read(KEY)
    await client.aclose()
