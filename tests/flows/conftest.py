"""A house for each test that asks for one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.fakes.house import House
from tests.fakes.provider import MisbehavingProvider

OpenHouse = Callable[..., Awaitable[House]]


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
