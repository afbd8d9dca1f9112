"""The sessions of a fleet, for a command that runs beside the gateways or when none of them does.

The embedded server is asked on its socket while a gateway runs it, and started for the length of the command when none does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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
    valkey, started = await asyncio.to_thread(_embedded, settings.data_dir)
    try:
        async with _client(settings, valkey.url) as client:
            yield client
    finally:
        if started:
            await asyncio.to_thread(valkey.stop)


def _embedded(data_dir: Path) -> tuple[EmbeddedValkey, bool]:
    """The server of this folder, and whether it was started for us. Raises StoreUnavailable."""
    try:
        if not (data_dir / "valkey").is_dir():
            raise StoreUnavailable(f"redis.data_dir holds no sessions: no gateway has run with {data_dir}")
        valkey = EmbeddedValkey(data_dir)
        if valkey.answers:
            return valkey, False
        valkey.start()
    except (RuntimeError, ValueError) as error:
        raise StoreUnavailable(str(error)) from error
    except OSError as error:
        raise StoreUnavailable(
            f"redis.data_dir: {error.strerror}: run this as the user that the gateway runs as"
        ) from error
    return valkey, True


@asynccontextmanager
async def _client(settings: schema.Redis, url: str | None) -> AsyncIterator[Redis]:
    client = connect(settings, url)
    try:
        yield client
    finally:
        await client.aclose()
