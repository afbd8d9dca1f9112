"""`check --online` says what Redis would refuse later, and what its settings will do one day."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import RoutedSources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.routed_client import RoutedClient
from gateway.redis_client.self_test import advice, examine, read_servers
from tests.fakes.redis_commands import command
from tests.unit.sessions.made import a_client, push_connections

# The user that deploy/guides/redis.md recommends.
RIGHTS = "-@all +@read +@write +@connection +eval +wait +time +cluster|slots +cluster|info"


@pytest.fixture
async def admin(own_valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    async with a_client(own_valkey.url) as client:
        yield client


async def allowed(admin: Redis, rights: str) -> str:
    """The URL of a user with these rights."""
    name = "someone"
    words = ("on", ">pw", "~doorward:*", "resetchannels", *rights.split())
    await command(admin, "ACL", "SETUSER", name, "reset", *words)
    return f"unix://{name}:pw@"


async def test_the_user_of_the_guide_suffices(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    url = await allowed(admin, RIGHTS) + own_valkey.url.removeprefix("unix://")
    async with a_client(url) as redis:
        await examine(redis, push_connections(url), "doorward:")
    assert await admin.dbsize() == 0


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("-eval", "may not run EVAL"),
        ("-pexpire", "may not run PEXPIRE"),
        ("-zadd", "may not run ZADD"),
        ("-scan", "may not run SCAN"),
        ("-client|tracking", "CLIENT TRACKING is refused"),
    ],
)
async def test_each_right_that_is_missing_is_named(
    own_valkey: EmbeddedValkey, admin: Redis, taken: str, said: str
) -> None:
    """C-43: NOPERM is found before people find it."""
    url = await allowed(admin, f"{RIGHTS} {taken}") + own_valkey.url.removeprefix("unix://")
    async with a_client(url) as redis:
        with pytest.raises(StoreUnavailable) as refused:
            await examine(redis, push_connections(url), "doorward:")
    assert said in refused.value.detail


async def test_another_prefix_than_the_user_may_touch_is_named(own_valkey: EmbeddedValkey, admin: Redis) -> None:
    url = await allowed(admin, RIGHTS) + own_valkey.url.removeprefix("unix://")
    async with a_client(url) as redis:
        with pytest.raises(StoreUnavailable, match="under the key prefix"):
            await examine(redis, push_connections(url), "other:")


async def test_every_primary_of_a_fleet_is_examined(fleet: RoutedClient, prefix: str) -> None:
    await examine(fleet, RoutedSources(fleet), prefix, console=True)
    lines = list(advice(await read_servers(fleet)))
    assert len(lines) == len((await fleet.topology()).primaries)
    assert all("min-replicas-to-write" in line for line in lines)


async def test_an_eviction_policy_that_signs_people_out_is_told(admin: Redis) -> None:
    assert list(advice(await read_servers(admin))) == []
    await admin.config_set("maxmemory", "100mb")
    await admin.config_set("maxmemory-policy", "allkeys-lru")
    (line,) = list(advice(await read_servers(admin)))
    assert "allkeys-lru" in line
