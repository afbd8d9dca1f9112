"""An office: the control plane with a provider and Redis."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import connect
from tests.fakes.clock import SettableClock
from tests.fakes.office import Office
from tests.fakes.valkey import FlakyLink


@pytest.fixture
async def closed_office(valkey: str, redis: Redis, prefix: str, clock: SettableClock) -> AsyncIterator[Office]:
    """Not opened yet, for a test that wants another configuration."""
    made = Office(valkey, redis, prefix, clock)
    yield made
    if made.port:
        await made.close()


@pytest.fixture
async def office(closed_office: Office) -> Office:
    await closed_office.open()
    return closed_office


@dataclass
class Shaky:
    """An office whose way to Redis can be cut."""

    office: Office
    link: FlakyLink


@pytest.fixture
async def shaky(valkey: str, prefix: str, clock: SettableClock) -> AsyncIterator[Shaky]:
    async with FlakyLink(valkey) as link:
        client = connect(schema.Redis(url=SecretStr(link.url)))
        office = Office(link.url, client, prefix, clock)
        await office.open()
        yield Shaky(office, link)
        link.restore()
        await office.close()
        await client.aclose()
