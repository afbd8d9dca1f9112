"""A house for each test that asks for one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.fakes.house import House
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.street import Street
from tests.fakes.street import open_street as a_street

OpenHouse = Callable[..., Awaitable[House]]
OpenStreet = Callable[..., Awaitable[Street]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that workers run on: its transports are not those of asyncio."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_house(valkey: str, prefix: str) -> AsyncIterator[OpenHouse]:
    """Open a house with the given sections; all are closed afterwards."""
    houses: list[House] = []

    async def opening(**sections: Any) -> House:
        house = await House.open(valkey, prefix, **sections)
        houses.append(house)
        return house

    yield opening
    for house in houses:
        await house.close()


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    """One portal that asks everybody to sign in."""
    return await open_house()


@pytest.fixture
async def provider() -> AsyncIterator[MisbehavingProvider]:
    """A provider that listens and is honest until told otherwise."""
    running = MisbehavingProvider()
    await running.start()
    yield running
    await running.close()


@pytest.fixture
async def open_street(open_house: OpenHouse, provider: MisbehavingProvider) -> AsyncIterator[OpenStreet]:
    """`open_street(**keys of hand_off)`; all are closed afterwards."""
    streets: list[Street] = []

    async def opening(**keys: Any) -> Street:
        streets.append(await a_street(open_house, provider, **keys))
        return streets[-1]

    yield opening
    for street in streets:
        await street.close()


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    recorder = RecordingUpstream()
    await recorder.start()
    yield recorder
    await recorder.close()
