"""Connections to Redis that died without a word: a firewall lost its table, an address moved."""

import asyncio

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import connect
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.store import SessionStore
from tests.chaos.links import Link


async def test_one_connection_that_died_unnoticed_speaks_for_all_that_lie_idle(valkey: str, prefix: str) -> None:
    """C-42: one timeout, not one for each connection of the pool."""
    link = await Link.to_socket("redis", valkey.removeprefix("unix://")).open()
    redis = connect(schema.Redis(url=SecretStr(f"redis://127.0.0.1:{link.port}")))
    store = SessionStore(redis, KeyRing([new_key()]), prefix)
    try:
        await asyncio.gather(*(store.ping() for _ in range(8)))
        assert link.counts["connections"] == 8
        link.misbehave("forget")
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await asyncio.gather(*(store.ping() for _ in range(8)))
    finally:
        await redis.aclose()
        await link.close()
