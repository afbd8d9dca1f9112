"""Servers in numbers, started once for a module that asks for them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.redis_client.routed_client import RoutedClient
from tests.fakes.redis_servers import SentinelSet, ValkeyCluster, running_cluster, running_sentinels
from tests.unit.sessions.made import a_fleet


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    """Three primaries, each with a replica."""
    with running_cluster() as servers:
        yield servers


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelSet]:
    """A primary with two replicas, and three sentinels."""
    with running_sentinels() as servers:
        yield servers


@pytest.fixture(params=["cluster", "sentinels"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[RoutedClient]:
    """A client of either."""
    servers = request.getfixturevalue(request.param)
    if isinstance(servers, ValkeyCluster):
        await asyncio.to_thread(servers.wait_replicas)  # the test before may have moved slots, or killed a primary
    client = a_fleet(servers.url)
    yield client
    await client.aclose()
