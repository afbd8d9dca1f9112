"""Connections to Redis, and the one way they are used.

Two kinds: a bounded pool for commands, and a single RESP3 connection on which Redis announces changes. An operation
runs to its end whatever becomes of the request that asked for it; whatever Redis does wrong is a StoreUnavailable.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.histogram import Histogram

_log = logging.getLogger("doorward.sessions")
_Result = TypeVar("_Result")

CONNECT_SECONDS: Final = 1.0
COMMAND_SECONDS: Final = 2.0
POOL_SECONDS: Final = 4.0  # waiting for a free connection: twice as long as a command can block one
POOL_SIZE: Final = 32


def connect(settings: schema.Redis, url: str | None = None, *, pool_size: int = POOL_SIZE) -> Redis:
    """The pooled client of one process; connects when first used. `url` replaces that of `settings` (embedded server).

    Raises ValueError for a URL that this release does not speak.
    """
    options = _options(settings, url)
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        # RESP2: nothing but replies ever comes down a connection that requests share.
        protocol=2,
        max_connections=pool_size,
        timeout=POOL_SECONDS,
        **options,
    )
    return Redis.from_pool(pool)


def connect_for_pushes(settings: schema.Redis, url: str | None = None) -> AbstractConnection:
    """One RESP3 connection, not connected yet; `read_response(push_request=True)` returns pushes as `Invalidated`."""
    pool: ConnectionPool = ConnectionPool.from_url(protocol=3, parser_class=_PushParser, **_options(settings, url))
    return pool.connection_class(**pool.connection_kwargs)


def _options(settings: schema.Redis, url: str | None) -> dict[str, Any]:
    address = url if url is not None else settings.url.get_secret_value()
    parts = urlsplit(address)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("redis.url must be embedded, redis://, rediss:// or unix://")
    # SECURITY: the URL's options win over ours: ssl_cert_reqs=none would switch verification off unnamed (C-21).
    if parse_qs(parts.query, keep_blank_values=True).keys() - {"db"}:
        raise ValueError("redis.url takes no option but db")
    tls = settings.tls
    secure = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    files = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    return {
        "url": address,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": COMMAND_SECONDS,
        # A pooled connection may have died unnoticed (C-42): once more, at once. Not after a timeout: somebody waits.
        "retry": Retry(NoBackoff(), 1, (RedisConnectionError,)),
        # SECURITY: with maintenance notifications the pool hands out connections that hold unread bytes (C-41).
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "client_name": "doorward",
        "driver_info": None,
        **({**secure, **{name: str(path) for name, path in files.items() if path}} if parts.scheme == "rediss" else {}),
    }


@dataclass(frozen=True, slots=True)
class Invalidated:
    """Redis says that these keys changed; None: all of them (FLUSHALL)."""

    keys: tuple[bytes, ...] | None


class _PushParser(DefaultParser):  # type: ignore[misc, valid-type]
    """Hands pushes to whoever reads the connection."""

    async def handle_push_response(self, response: list[Any], **_: Any) -> Invalidated:
        if response[0] != b"invalidate":
            return Invalidated(())
        return Invalidated(None if response[1] is None else tuple(response[1]))


class Operations:
    """Runs Redis operations to their end."""

    def __init__(self) -> None:
        self.durations = Histogram()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, operation: Awaitable[_Result]) -> _Result:
        """The operation's result; cancelling the caller cancels only the waiting. Raises StoreUnavailable."""
        task = asyncio.create_task(self._timed(operation))
        self._running.add(task)
        task.add_done_callback(self._finished)
        # SECURITY: a caller cancelled between a command and its reply must never leave the reply on a connection
        # that the next request reads (C-41): no cancellation reaches the library at all.
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        look_at(task)

    async def _timed(self, operation: Awaitable[_Result]) -> _Result:
        begun = time.perf_counter()
        try:
            return await _translated(operation)
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
