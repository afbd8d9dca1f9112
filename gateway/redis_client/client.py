"""The client of Redis, and the one way it is used.

An operation runs to its end even when the request that began it is cancelled. Every failure of Redis is a StoreUnavailable.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.counters import Durations, Histogram
from gateway.redis_client.connection_factory import ConnectionFactory, TimedClient
from gateway.redis_client.discovery import ClusterNodes, Sentinels
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.failures import unavailable
from gateway.redis_client.invalidation import Source, Sources
from gateway.redis_client.pipelined_reader import RecordReader
from gateway.redis_client.routed_client import RoutedClient


@asynccontextmanager
async def connected(settings: schema.Redis) -> AsyncIterator[Redis]:
    """A client of the configured Redis, for a command beside the gateway.

    Raises StoreUnavailable, also for an embedded server without a `data_dir`: only the gateway itself reaches that one.
    """
    if not settings.is_embedded:
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
    """The server of this folder, and whether this call started it. Raises StoreUnavailable."""
    try:
        if not (data_dir / "valkey").is_dir():
            raise StoreUnavailable(f"redis.data_dir holds no sessions: no gateway has run with {data_dir}")
        valkey = EmbeddedValkey(data_dir)
        if valkey.accepting:
            return valkey, False
        owner = (data_dir / "valkey").stat().st_uid
        if owner != os.geteuid():  # what this user wrote there, the gateway could not read
            raise StoreUnavailable(
                f"redis.data_dir belongs to the user with the id {owner}, and no gateway runs: start the gateway, or run this as that user"
            )
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

#: For packages that take a client and do not make one.
RedisClient: TypeAlias = Redis

POOL_SIZE: Final = 32


def connect(
    settings: schema.Redis, url: str | None = None, *, pool_size: int = POOL_SIZE, durations: Durations | None = None
) -> Redis:
    """The pooled client of one process; it connects at its first command. `url` replaces that of `settings` (embedded server).

    `durations`: where its operations are timed.

    Raises ValueError for a URL that cannot be used.
    """
    factory = ConnectionFactory(settings, url)
    client: TimedClient
    if factory.url.kind == "sentinel":
        client = RoutedClient(factory, Sentinels(factory), pool_size)
    elif factory.url.kind == "cluster":
        client = RoutedClient(factory, ClusterNodes(factory), pool_size)
    else:
        client = factory.client(None, pool_size)
    client.durations = durations
    return client


def record_reader(settings: schema.Redis, url: str | None, clock: Callable[[], float]) -> RecordReader | None:
    """The pipelined reader of the one server; None for a Sentinel set or a cluster. `clock` is monotonic."""
    return ConnectionFactory(settings, url).record_reader(clock)


def push_sources(
    redis: Redis, settings: schema.Redis, url: str | None = None, reader: RecordReader | None = None
) -> Sources:
    """The servers that announce changes of what `redis` and `reader`, made for the same settings, read."""
    return (
        RoutedSources(redis)
        if isinstance(redis, RoutedClient)
        else SingleSource(ConnectionFactory(settings, url), redis, reader)
    )


class SingleSource:
    """The source of changes where there is one server; `redis` and `reader` read from it."""

    def __init__(self, factory: ConnectionFactory, redis: Redis, reader: RecordReader | None = None) -> None:
        self._factory = factory
        self._redis = redis
        self._reader = reader
        self._operations = Operations(redis, "invalidation")

    async def servers(self) -> Sequence[Source]:
        return (None,)

    def owner(self, name: str) -> Source:
        return None

    def connect(self, source: Source) -> AbstractConnection:
        return self._factory.push_connection()

    async def disconnect(self) -> None:
        """The next connection may find another server under the same name. Raises StoreUnavailable."""
        if self._reader is not None:
            self._reader.disconnect()
        await self._operations.run(self._redis.connection_pool.disconnect())

    def watch_servers(self, on_change: Callable[[], None]) -> None:
        """There is one server, so nothing calls `on_change`."""


class RoutedSources:
    """The primaries of a Sentinel set or a cluster."""

    def __init__(self, client: RoutedClient) -> None:
        self._client = client
        self._operations = Operations(client, "invalidation")

    async def servers(self) -> Sequence[Source]:
        """Read anew each time: a primary that was replaced may not know it yet. Raises StoreUnavailable."""
        await self._operations.run(self._client.refresh_topology())
        return self._client.servers()

    def owner(self, name: str) -> Source:
        return self._client.owner(name.encode())

    def connect(self, source: Source) -> AbstractConnection:
        return self._client.factory.push_connection(source)

    async def disconnect(self) -> None:
        """Raises StoreUnavailable."""
        await self._operations.run(self._client.disconnect_all())

    def watch_servers(self, on_change: Callable[[], None]) -> None:
        self._client.watch_servers(on_change)


class Operations:
    """Runs operations of one kind to their end. `redis` is their client; `kind` names them in metrics."""

    def __init__(self, redis: Redis, kind: str) -> None:
        self._redis = redis
        self._histogram = timer(redis, kind)
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, operation: Awaitable[_Result]) -> _Result:
        """The operation's result; cancelling the caller cancels only the waiting. Raises StoreUnavailable."""
        task = asyncio.create_task(self._run(operation))
        self._running.add(task)
        task.add_done_callback(self._finished)
        # SECURITY: a caller cancelled between a command and its reply must never leave the reply on a connection
        # that the next request reads (C-41): no cancellation reaches the library at all.
        return await asyncio.shield(task)

    async def take(self, key: str, owner: bytes, life: timedelta) -> bool:
        """Set a key that is not set; `owner` is unique to the caller. False: another caller has set it. Raises StoreUnavailable."""
        # SECURITY: of two callers, one proceeds.
        if await self.run(self._redis.set(key, owner, nx=True, px=life)):
            return True
        # The library sends SET again when the first reply was lost; then the value is the caller's own.
        return bool(await self.run(self._redis.get(key)) == owner)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        retrieve_exception(task)

    async def _run(self, operation: Awaitable[_Result]) -> _Result:
        begun = time.perf_counter()
        try:
            return await operation
        except StoreUnavailable:
            raise
        # A malformed reply makes the library's parser raise exceptions of many classes (ValueError, IndexError...).
        except Exception as error:
            raise unavailable(error) from error
        finally:
            self._histogram.observe(time.perf_counter() - begun)


def timer(redis: Redis, kind: str) -> Histogram:
    """Where the durations of these operations are counted: with the client, if it was made by `connect`."""
    durations = redis.durations if isinstance(redis, TimedClient) else None
    return (durations or Durations()).of("redis", kind)


def retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task whose caller is gone, so that asyncio does not log it with a traceback."""
    if not task.cancelled():
        task.exception()


def values_of(replies: list[Any]) -> list[Any]:
    """A pipeline's replies, None for a key of another type than was read. Raises StoreUnavailable for all other errors."""
    for place, reply in enumerate(replies):
        if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
            replies[place] = None
        elif isinstance(reply, Exception):
            raise unavailable(reply) from reply
    return replies


def raise_refused(replies: list[Any]) -> None:
    """Raises StoreUnavailable when a command of the pipeline was refused."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
