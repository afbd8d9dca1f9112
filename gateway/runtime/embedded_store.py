"""The embedded Valkey of the parent process: started with it, started again when it dies, stopped with it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from gateway.config import schema
from gateway.observability.background import repeat
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.invalidation import end_task

_log = logging.getLogger("doorward.workers")
_SECONDS: Final = 1.0


@contextlib.asynccontextmanager
async def embedded_store(settings: schema.Redis) -> AsyncIterator[str | None]:
    """Its URL; None where the configuration names another Redis. Raises RuntimeError, ValueError."""
    if not settings.is_embedded:
        yield None
        return
    valkey = EmbeddedValkey(settings.data_dir)
    valkey.start()
    keeper = asyncio.create_task(repeat("store", lambda: _keep(valkey), _SECONDS))
    try:
        yield valkey.url
    finally:
        await end_task(keeper)
        await asyncio.to_thread(valkey.stop)


async def _keep(valkey: EmbeddedValkey) -> None:
    """Restart it when it died."""
    if not await asyncio.to_thread(lambda: valkey.alive):
        _log.error("the embedded Valkey died: starting another")
        try:
            await asyncio.to_thread(valkey.restart)
        except RuntimeError as error:
            _log.error("%s", error)
