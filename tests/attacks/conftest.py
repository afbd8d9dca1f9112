"""Houses, and real application servers behind them."""

from collections.abc import Iterator

import pytest

from tests.fakes.servers import KINDS, serving
from tests.flows.conftest import (
    OpenHouse,
    OpenStreet,
    house,
    open_house,
    open_street,
    provider,
    pytest_asyncio_loop_factories,
)

__all__ = [
    "OpenHouse",
    "OpenStreet",
    "house",
    "open_house",
    "open_street",
    "provider",
    "pytest_asyncio_loop_factories",
]


@pytest.fixture(scope="session", params=KINDS)
def echo_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real server that says what reached it; a test that asks for it runs with each kind."""
    with serving(request.param) as url:
        yield url
