"""The state of each replica in Redis."""

from redis.asyncio import Redis

from gateway.sessions.keyring import KeyRing, new_key
from gateway.telemetry.replicas import LIFE, ReplicaStates

NOON = 1_800_000_000.0


async def test_each_replica_has_its_last_state_until_it_ends(redis: Redis, prefix: str) -> None:
    states = ReplicaStates(redis, KeyRing([new_key()]), prefix)
    assert await states.all() == ()
    await states.keep("b", NOON, {"version": "0.1.0"})
    await states.keep("a", NOON, {"version": "0.2.0"})
    await states.keep("a", NOON + 5, {"version": "0.2.1"})
    assert [(each.identifier, each.at, each.state) for each in await states.all()] == [
        ("a", NOON + 5, {"version": "0.2.1"}),
        ("b", NOON, {"version": "0.1.0"}),
    ]
    assert 0 < await redis.pttl(f"{prefix}replica:a") <= LIFE.total_seconds() * 1000
    await states.remove("a")
    assert [each.identifier for each in await states.all()] == ["b"]


async def test_a_replica_that_fell_silent_leaves_the_list(redis: Redis, prefix: str) -> None:
    states = ReplicaStates(redis, KeyRing([new_key()]), prefix)
    await states.keep("old", NOON, {})
    await redis.delete(f"{prefix}replica:old")  # as its lifetime does
    assert await states.all() == []
    await states.keep("new", NOON + 90, {})
    assert await redis.zrange(f"{prefix}replicas", 0, -1) == [b"new"]


async def test_a_state_that_another_wrote_or_moved_is_not_shown(redis: Redis, prefix: str) -> None:
    """C-83."""
    states = ReplicaStates(redis, KeyRing([new_key()]), prefix)
    await states.keep("a", NOON, {"version": "0.1.0"})
    await ReplicaStates(redis, KeyRing([new_key()]), prefix).keep("b", NOON, {"version": "<script>"})
    await states.keep("c", NOON, {"version": "0.1.0"})
    await redis.rename(f"{prefix}replica:a", f"{prefix}replica:c")
    assert await states.all() == []
