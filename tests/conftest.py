"""What every test may ask for: one real Valkey per run, a client with a corner of it for itself, a clock to set."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from pydantic import SecretStr
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import connect
from gateway.redis_client.embedded import EmbeddedValkey
from tests.fakes.clock import SettableClock
from tests.fakes.valkey import running_valkey

_NUMBERS = count(1)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Child processes keep what they compile: starting them is most of what process tests do. Of `make test` the next run has it too."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp().parent / "doorward-compiled"))


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[SyncRedis]:
    """A client of the run's Valkey server, on a unix socket."""
    with running_valkey() as server, SyncRedis.from_url(server.url) as client:
        yield client


@pytest.fixture
def valkey(shared_valkey: SyncRedis) -> Iterator[str]:
    """The URL of the run's Valkey server, on a unix socket. It is empty before each test."""
    path: str = shared_valkey.get_connection_kwargs()["path"]
    yield f"unix://{path}"
    shared_valkey.flushall()


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"doorward-test-{next(_NUMBERS)}:"


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    """A client of the run's server as the product makes it."""
    client = connect(schema.Redis(url=SecretStr(valkey)))
    yield client
    await client.aclose()


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server that a test may stop, fill or lock; its data survive `stop()` and `start()`."""
    with running_valkey(keeps_data=True) as server:
        yield server


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()
