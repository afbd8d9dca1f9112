"""How one connection to one server is made: address, TLS, user, timeouts, and the check that the server is no replica.

Every connection to Redis is made here, so that all have the same address, TLS and timeouts.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    DefaultParser,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.config import schema
from gateway.config.redis_url import Endpoint, parse_redis_url
from gateway.observability.counters import Durations
from gateway.redis_client.pipelined_reader import RecordConnection, RecordReader, encode_command

CONNECT_SECONDS: Final = 1.0
COMMAND_SECONDS: Final = 2.0
POOL_SECONDS: Final = 4.0  # waiting for a free connection: twice as long as a command can block one
_DISCOVERY_POOL: Final = 2  # connections to a server that only names the primaries


@dataclass(frozen=True, slots=True)
class Invalidated:
    """Redis announced that these keys changed; None: all of them (FLUSHALL)."""

    keys: tuple[bytes, ...] | None


class _PushParser(DefaultParser):  # type: ignore[misc, valid-type]
    """Returns a push from `read_response`."""

    async def handle_push_response(self, response: list[Any], **_: Any) -> Invalidated:
        if response[0] != b"invalidate":
            return Invalidated(())
        return Invalidated(None if response[1] is None else tuple(response[1]))


class _Pool(BlockingConnectionPool):
    """Closes the idle connections too when one broke: a firewall or an address that moved dropped them all.

    Otherwise each of them would cost one request a timeout (C-42).
    """

    async def release(self, connection: AbstractConnection) -> None:
        broke = not connection.is_connected
        await super().release(connection)
        if broke:
            await self.disconnect(inuse_connections=False)


class _WithServerName:
    """Adds the server's name to what a connection raises, as a note, because the library's own texts do not always have it."""

    async def connect_check_health(self, *options: Any, **named: Any) -> None:
        try:
            await super().connect_check_health(*options, **named)  # type: ignore[misc]
        except Exception as error:
            self._name_server(error)
            raise

    async def send_packed_command(self, *options: Any, **named: Any) -> None:
        try:
            await super().send_packed_command(*options, **named)  # type: ignore[misc]
        except Exception as error:
            self._name_server(error)
            raise

    async def read_response(self, *options: Any, **named: Any) -> Any:
        try:
            return await super().read_response(*options, **named)  # type: ignore[misc]
        except Exception as error:
            self._name_server(error)
            raise

    def _name_server(self, error: Exception) -> None:
        if not hasattr(error, "__notes__"):
            pieces: dict[str, Any] = dict(self.repr_pieces())  # type: ignore[attr-defined]
            error.add_note(pieces["path"] if "path" in pieces else f"{pieces['host']}:{pieces['port']}")


class _TcpConnection(_WithServerName, Connection):
    pass


class _TlsConnection(_WithServerName, SSLConnection):
    pass


class _UnixConnection(_WithServerName, UnixDomainSocketConnection):
    pass


class TimedClient(Redis):
    """A client with the histograms of its operations, if they are timed."""

    durations: Durations | None = None


class NotPrimary(RedisConnectionError):
    """The server is a replica: what it has of a session may be long out of date."""


async def greet_primary(connection: Any) -> None:
    """What the library does with a new connection, then HELLO. Raises NotPrimary."""
    await connection.on_connect()
    await connection.send_command("HELLO", connection.protocol, check_health=False)
    refuse_replica(await connection.read_response(disable_decoding=True))


def refuse_replica(hello: Any) -> None:
    """Raises NotPrimary unless the reply to HELLO is a primary's."""
    fields = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=True))
    # SECURITY: a replica lags: it answers for sessions that were ended, and forgets writes (C-43, C-44).
    if fields.get(b"role") != b"master":
        raise NotPrimary("the server is a replica")


def _common_options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": COMMAND_SECONDS,
        # A pooled connection may have died unnoticed (C-42): once more, at once. Not after a timeout: a request waits.
        "retry": Retry(NoBackoff(), 1, (RedisConnectionError,)),
        # SECURITY: with maintenance notifications the pool hands out connections that hold unread bytes (C-41).
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "client_name": "doorward",
        "driver_info": None,
    }


def is_unreachable(error: BaseException) -> bool:
    """Whether the server could not be reached at all, as against one that refuses a command."""
    return isinstance(error, OSError | TimeoutError | RedisConnectionError | RedisTimeoutError)


class ConnectionFactory:
    """Makes clients and connections to the servers that `settings` name; `url` replaces theirs (embedded server).

    Raises ValueError for a URL that cannot be used.
    """

    def __init__(self, settings: schema.Redis, url: str | None = None) -> None:
        try:
            self.url: Final = parse_redis_url(url if url is not None else settings.url.get_secret_value())
        except ValueError as error:
            raise ValueError(f"redis.url {error}") from None
        if self.url.kind == "embedded":
            raise ValueError("redis.url is embedded: its server's own URL is needed")
        self._settings = settings

    def client(self, endpoint: Endpoint | None, size: int) -> TimedClient:
        """A pooled client of a primary; None: of the one server."""
        greeting = {} if self.url.kind == "cluster" else {"redis_connect_func": greet_primary}
        return self._pooled(size, **self._server_options(endpoint), **greeting)

    def discovery_client(self, endpoint: Endpoint) -> Redis:
        """A client of a sentinel, or of a node of a cluster in any role."""
        if self.url.kind == "sentinel":
            secret = self._settings.sentinel.password
            password = None if secret is None else secret.get_secret_value()
            options = self._host_options(endpoint, self._settings.sentinel.username, password)
        else:
            options = self._server_options(endpoint)
        return self._pooled(_DISCOVERY_POOL, **options)

    def push_connection(self, endpoint: Endpoint | None = None) -> AbstractConnection:
        """One RESP3 connection, not connected yet; `read_response(push_request=True)` returns pushes as `Invalidated`."""
        options = self._server_options(endpoint)
        kind = options.pop("connection_class")
        made: AbstractConnection = kind(protocol=3, parser_class=_PushParser, **options)
        return made

    def record_reader(self, clock: Callable[[], float]) -> RecordReader | None:
        """The pipelined reader of the one server; None for a Sentinel set or a cluster, where each key has its own primary."""
        url = self.url
        if url.kind not in ("server", "socket"):
            return None
        user = [] if url.username is None else [url.username.encode()]
        greeting = [encode_command(b"AUTH", *user, url.password.encode())] if url.password is not None else []
        greeting.append(encode_command(b"SELECT", b"%d" % url.database))
        greeting.append(encode_command(b"CLIENT", b"SETNAME", b"doorward"))
        return RecordReader(self._connect, greeting, clock, timeout=COMMAND_SECONDS)

    async def _connect(self, factory: Callable[[], RecordConnection]) -> RecordConnection:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.url.kind == "socket":
            return (await loop.create_unix_connection(factory, self.url.path))[1]
        host, port = self.url.hosts[0]
        return (await loop.create_connection(factory, host, port, ssl=self._tls() if self.url.tls else None))[1]

    def _tls(self) -> ssl.SSLContext:
        tls = self._settings.tls
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.certificate:
            context.load_cert_chain(str(tls.certificate), str(tls.key) if tls.key else None)
        return context

    def _pooled(self, size: int, **options: Any) -> TimedClient:
        # RESP2: nothing but replies ever comes down a connection that requests share.
        client = TimedClient(connection_pool=_Pool(protocol=2, max_connections=size, timeout=POOL_SECONDS, **options))
        client.auto_close_connection_pool = True
        return client

    def _server_options(self, endpoint: Endpoint | None) -> dict[str, Any]:
        url = self.url
        if url.kind == "socket":
            options: dict[str, Any] = {"connection_class": _UnixConnection, "path": url.path}
            options |= {"username": url.username, "password": url.password, **_common_options()}
        else:
            options = self._host_options(endpoint or url.hosts[0], url.username, url.password)
        return {**options, "db": url.database}

    def _host_options(self, endpoint: Endpoint, username: str | None, password: str | None) -> dict[str, Any]:
        host, port = endpoint
        plain = {"host": host, "port": port, "username": username, "password": password, **_common_options()}
        if not self.url.tls:
            return {"connection_class": _TcpConnection, **plain}
        tls = self._settings.tls
        files = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
        secure = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        secure |= {name: str(path) for name, path in files.items() if path}
        return {"connection_class": _TlsConnection, **plain, **secure}
