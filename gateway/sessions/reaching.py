"""The sessions of a fleet, for a command that runs beside the gateways or when none of them does.

The embedded server is asked on its socket while a gateway runs it, and started for the length of the command when none does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.sessions.client import connect
from gateway.sessions.embedded import EmbeddedValkey


@asynccontextmanager
async def reached(settings: schema.Redis) -> AsyncIterator[Redis]:
    """A client of the configured Redis. Raises StoreUnavailable, also where nobody but the gateway itself gets in."""
    if settings.url.get_secret_value() != "embedded":
        async with _client(settings, None) as client:
            yield client
        return
    if settings.data_dir is None:
        raise StoreUnavailable(
            "redis.url is embedded without redis.data_dir, so only the gateway itself reaches its sessions; allowed: a data_dir"
        )
    if not (settings.data_dir / "valkey").is_dir():
        raise StoreUnavailable(f"redis.data_dir holds no sessions: no gateway has run with {settings.data_dir}")
    valkey = EmbeddedValkey(settings.data_dir)
    started = not await asyncio.to_thread(lambda: valkey.answers)
    try:
        if started:
            await asyncio.to_thread(valkey.start)
        async with _client(settings, valkey.url) as client:
            yield client
    except RuntimeError as error:
        raise StoreUnavailable(str(error)) from error
    finally:
        if started:
            await asyncio.to_thread(valkey.stop)


@asynccontextmanager
async def _client(settings: schema.Redis, url: str | None) -> AsyncIterator[Redis]:
    client = connect(settings, url)
    try:
        yield client
    finally:
        await client.aclose()
