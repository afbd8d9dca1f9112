"""What every test may ask for: one real Valkey per run, a client with a corner of it for itself, a clock to set."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import connect
from gateway.redis_client.embedded import EmbeddedValkey
from tests.fakes.clock import SettableClock
from tests.fakes.valkey import running_valkey

_NUMBERS = count(1)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Child processes keep what they compile, in a folder of the run: starting them is most of what process tests do."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.getbasetemp().parent / "doorward-compiled")


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of the run's Valkey server, on a unix socket."""
    with running_valkey() as server:
        yield server.url


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"doorward-test-{next(_NUMBERS)}:"


@pytest.fixture
async def redis(valkey: str, prefix: str) -> AsyncIterator[Redis]:
    """A client of the run's server as the product makes it. Keys under `prefix` are deleted afterwards."""
    client = connect(schema.Redis(url=SecretStr(valkey)))
    yield client
    async for key in client.scan_iter(match=prefix + "*", count=1000):
        await client.delete(key)
    await client.aclose()


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server that a test may stop, fill or lock; its data survive `stop()` and `start()`."""
    with running_valkey(keeps_data=True) as server:
        yield server


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()
