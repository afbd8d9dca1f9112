"""The client of Redis, and the one way it is used.

An operation runs to its end whatever becomes of the request that asked for it; whatever Redis does wrong is a
StoreUnavailable.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.counters import Histogram
from gateway.redis_client.connection_factory import ConnectionFactory
from gateway.redis_client.discovery import ClusterNodes, Sentinels
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.invalidation import Source, Sources
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.redis_client.routed_client import RoutedClient


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


_log = logging.getLogger("doorward.sessions")
_Result = TypeVar("_Result")

POOL_SIZE: Final = 32


def connect(settings: schema.Redis, url: str | None = None, *, pool_size: int = POOL_SIZE) -> Redis:
    """The pooled client of one process; connects when first used. `url` replaces that of `settings` (embedded server).

    Raises ValueError for a URL that cannot be used.
    """
    links = ConnectionFactory(settings, url)
    if links.url.kind == "sentinel":
        return RoutedClient(links, Sentinels(links), pool_size)
    if links.url.kind == "cluster":
        return RoutedClient(links, ClusterNodes(links), pool_size)
    return links.client(None, pool_size)


def record_reader(settings: schema.Redis, url: str | None, clock: Callable[[], float]) -> RecordReader | None:
    """The short way to a record, where there is one. `clock` is monotonic."""
    return ConnectionFactory(settings, url).reader(clock)


def push_sources(
    redis: Redis, settings: schema.Redis, url: str | None = None, reader: RecordReader | None = None
) -> Sources:
    """Who announces changes of what `redis` and `reader`, made for the same settings, read."""
    return (
        FleetSources(redis)
        if isinstance(redis, RoutedClient)
        else OneSource(ConnectionFactory(settings, url), redis, reader)
    )


class OneSource:
    """The one server that there is; `redis` and `reader` read it."""

    def __init__(self, links: ConnectionFactory, redis: Redis, reader: RecordReader | None = None) -> None:
        self._links = links
        self._redis = redis
        self._reader = reader
        self._operations = Operations()

    async def who(self) -> Sequence[Source]:
        return (None,)

    def owner(self, name: str) -> Source:
        return None

    def connect(self, source: Source) -> AbstractConnection:
        return self._links.pushes()

    async def hang_up(self) -> None:
        """The next connection may find another server under the same name. Raises StoreUnavailable."""
        if self._reader is not None:
            self._reader.hang_up()
        await self._operations.run(self._redis.connection_pool.disconnect())

    def on_change(self, hear: Callable[[], None]) -> None:
        """It never does."""


class FleetSources:
    """The primaries of a fleet."""

    def __init__(self, fleet: RoutedClient) -> None:
        self._fleet = fleet
        self._operations = Operations()

    async def who(self) -> Sequence[Source]:
        """Asked anew: a primary that was replaced may not know it yet. Raises StoreUnavailable."""
        await self._operations.run(self._fleet.look())
        return self._fleet.answering()

    def owner(self, name: str) -> Source:
        return self._fleet.owner(name.encode())

    def connect(self, source: Source) -> AbstractConnection:
        return self._fleet.links.pushes(source)

    async def hang_up(self) -> None:
        """Raises StoreUnavailable."""
        await self._operations.run(self._fleet.hang_up())

    def on_change(self, hear: Callable[[], None]) -> None:
        self._fleet.on_change(hear)


class Operations:
    """Runs Redis operations to their end."""

    def __init__(self) -> None:
        self.durations = Histogram()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, operation: Awaitable[_Result]) -> _Result:
        """The operation's result; cancelling the caller cancels only the waiting. Raises StoreUnavailable."""
        task = asyncio.create_task(self.timed(_translated(operation)))
        self._running.add(task)
        task.add_done_callback(self._finished)
        # SECURITY: a caller cancelled between a command and its reply must never leave the reply on a connection
        # that the next request reads (C-41): no cancellation reaches the library at all.
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        look_at(task)

    async def timed(self, operation: Awaitable[_Result]) -> _Result:
        """The operation's result, its duration counted."""
        begun = time.perf_counter()
        try:
            return await operation
        finally:
            self.durations.observe(time.perf_counter() - begun)


async def _translated(operation: Awaitable[_Result]) -> _Result:
    try:
        return await operation
    except StoreUnavailable:
        raise
    # A server that answers nonsense makes the library's parser raise all kinds (ValueError, IndexError...).
    except Exception as error:
        raise unavailable(error) from error


def look_at(task: asyncio.Task[Any]) -> None:
    """A failure that its caller did not wait for is nobody's: asyncio must not log it with a traceback."""
    if not task.cancelled():
        task.exception()


def unavailable(error: Exception) -> StoreUnavailable:
    """The refusal for a failure of Redis. Only its kind is kept: the text may quote a command's arguments (C-48)."""
    kind = type(error).__name__
    if not isinstance(error, RedisError | OSError):
        _log.warning("Redis gave an answer that cannot be read: %s", kind)
    return StoreUnavailable(kind)


def checked(replies: list[Any]) -> list[Any]:
    """A pipeline's replies; a key of a foreign type reads as None. Raises StoreUnavailable for all other errors."""
    for place, reply in enumerate(replies):
        if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
            replies[place] = None
        elif isinstance(reply, Exception):
            raise unavailable(reply) from reply
    return replies


def all_done(replies: list[Any]) -> None:
    """Raises StoreUnavailable when a command of the pipeline was refused."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
