from datetime import timedelta

import pytest
from redis.asyncio import Redis

from gateway.directory.creation_markers import CreationMarker, CreationMarkers
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey


async def test_a_note_says_that_a_creation_began_and_then_what_came_of_it(redis: Redis, prefix: str) -> None:
    notes = CreationMarkers(redis, prefix)
    assert await notes.read("one") is None
    assert await notes.begin("one")
    assert await notes.read("one") == CreationMarker(None)
    await notes.finish("one", "87654321")
    assert await notes.read("one") == CreationMarker("87654321")
    assert await notes.read("two") is None


async def test_only_one_creation_can_begin_until_it_is_withdrawn(redis: Redis, prefix: str) -> None:
    notes, others = CreationMarkers(redis, prefix), CreationMarkers(redis, prefix)
    assert await notes.begin("one")
    assert not await others.begin("one")
    await notes.withdraw("one")
    assert await others.begin("one")
    await others.finish("one", "7")
    assert not await notes.begin("one")


async def test_a_note_that_cannot_be_read_forbids_a_creation(redis: Redis, prefix: str) -> None:
    notes = CreationMarkers(redis, prefix)
    await redis.set(f"{prefix}note:one", b"created \xff\n")
    assert await notes.read("one") == CreationMarker(None)
    assert not await notes.begin("one")


async def test_every_note_ends(redis: Redis, prefix: str) -> None:
    notes = CreationMarkers(redis, prefix, attempt_life=timedelta(seconds=5), created_life=timedelta(seconds=50))
    await notes.begin("one")
    assert 0 < await redis.pttl(f"{prefix}note:one") <= 5_000
    await notes.finish("one", "7")
    assert 5_000 < await redis.pttl(f"{prefix}note:one") <= 50_000


async def test_a_store_that_is_gone_is_said_to_be(own_valkey: EmbeddedValkey) -> None:
    client = Redis.from_url(own_valkey.url)
    notes = CreationMarkers(client, "x:")
    own_valkey.stop()
    for call in (notes.read("one"), notes.begin("one"), notes.finish("one", "7"), notes.withdraw("one")):
        with pytest.raises(StoreUnavailable):
            await call
    await client.aclose()
