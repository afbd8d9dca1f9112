"""A command finds the sessions of an embedded server, whether a gateway runs it or nobody does."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import connected
from gateway.redis_client.embedded import EmbeddedValkey
from tests.unit.sessions.made import APP, HOST, a_session, a_store


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short: a unix socket lives in it."""
    with tempfile.TemporaryDirectory(prefix="dw-") as folder:
        yield Path(folder)


def embedded(data_dir: Path | None) -> schema.Redis:
    return schema.Redis(url=SecretStr("embedded"), data_dir=data_dir)


async def test_the_server_of_a_running_gateway_is_used_and_left_running(data_dir: Path, prefix: str) -> None:
    server = EmbeddedValkey(data_dir)
    server.start()
    try:
        async with connected(embedded(data_dir)) as redis:
            key = a_store(redis, prefix).key_of(await a_store(redis, prefix).issue(a_session()))
        assert server.alive
        async with connected(embedded(data_dir)) as redis:
            assert await a_store(redis, prefix).fetch(key, HOST, APP) is not None
    finally:
        server.stop()


async def test_without_a_gateway_the_server_runs_as_long_as_the_command(data_dir: Path, prefix: str) -> None:
    server = EmbeddedValkey(data_dir)
    server.start()
    async with connected(embedded(data_dir)) as redis:
        key = a_store(redis, prefix).key_of(await a_store(redis, prefix).issue(a_session()))
    server.stop()
    async with connected(embedded(data_dir)) as redis:
        assert await a_store(redis, prefix).revoke(key) is not None
    assert not EmbeddedValkey(data_dir).accepting
    async with connected(embedded(data_dir)) as redis:
        assert await a_store(redis, prefix).fetch(key, HOST, APP) is None


async def test_where_nobody_but_the_gateway_gets_in_it_is_said(data_dir: Path) -> None:
    for settings, word in ((embedded(None), "data_dir"), (embedded(data_dir), "holds no sessions")):
        with pytest.raises(StoreUnavailable) as refused:
            async with connected(settings):
                pass
        assert word in refused.value.detail
    assert list(data_dir.iterdir()) == [], "asking leaves nothing behind"


async def test_the_store_of_another_user_is_not_started(data_dir: Path) -> None:
    """What root writes there, the gateway could not read any more."""
    if os.geteuid() == 0:
        (data_dir / "valkey").mkdir()
        os.chown(data_dir / "valkey", 65534, 65534)
    else:
        (data_dir / "valkey").symlink_to("/")
    with pytest.raises(StoreUnavailable) as refused:
        async with connected(embedded(data_dir)):
            pass
    assert "run this as that user" in refused.value.detail
    assert not (data_dir / "valkey" / "lock").exists()
