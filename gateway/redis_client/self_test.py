"""The check of Redis by `doorward check --online`: every command that Doorward sends, once, on keys that expire."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.failures import describe, unavailable
from gateway.redis_client.invalidation import Sources
from gateway.redis_client.routed_client import RoutedClient

_SHORT: Final = 5000  # TTL of the keys that are written, in milliseconds
_GUIDE: Final = "see the guide on Redis"


async def examine(redis: Redis, sources: Sources, prefix: str, *, console: bool = False) -> None:
    """Run every kind of command, those of a console too where there is one, and begin client-side caching on every primary.

    Raises StoreUnavailable, whose detail names the command that was refused and the reason.
    """
    client: Any = redis
    text, entries, events, numbers = (f"{prefix}check:{secrets.token_hex(8)}" for _ in range(4))
    of_console = (
        ("XADD", events, "MAXLEN", "=", 1, "*", "x", "x"),
        ("PEXPIRE", events, _SHORT),
        ("XREVRANGE", events, "+", "-"),
        ("HSET", numbers, "x", "1"),
        ("PEXPIRE", numbers, _SHORT),
        ("HGETALL", numbers),
    )
    await _run("PING", redis.ping())
    for words in (
        ("SET", text, "x", "NX", "PX", _SHORT),
        ("GETRANGE", text, 0, 1),
        ("PTTL", text),
        ("PEXPIRE", text, _SHORT, "GT"),
        ("GET", text),
        ("EVAL", "redis.call('TIME') return redis.call('GET', KEYS[1])", 1, text),
        ("ZADD", entries, 1, "x"),
        ("PEXPIRE", entries, _SHORT),
        ("ZRANGE", entries, 0, -1),
        ("ZREMRANGEBYSCORE", entries, "-inf", 0),
        ("ZREM", entries, "x"),
        ("DEL", text),
        *(of_console if console else ()),
    ):
        await _run(str(words[0]), client.execute_command(*words))
    await _run("SCAN", anext(aiter(redis.scan_iter(match=text)), None))
    for source in await sources.servers():
        connection = sources.connect(source)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
            await connection.read_response(disable_decoding=True, push_request=True)
        except (OSError, RedisError) as error:
            raise StoreUnavailable(
                f"CLIENT TRACKING is refused ({describe(error)}), so every request would ask Redis; {_GUIDE}"
            ) from error
        finally:
            await connection.disconnect(nowait=True)


async def _run(command: str, operation: Any) -> None:
    """Raises StoreUnavailable."""
    try:
        await operation
    except NoPermissionError as error:
        raise StoreUnavailable(f"the user may not run {command} under the key prefix; {_GUIDE}") from error
    except (OSError, RedisError) as error:
        raise StoreUnavailable(f"{command}: {unavailable(error).detail}; {_GUIDE}") from error


class RedisServer(NamedTuple):
    """A primary and what it says of itself. `settings` are those of CONFIG GET, `facts` those of INFO; `where` names it in a sentence."""

    where: str
    settings: Mapping[str, str]
    facts: Mapping[str, Any]

    @property
    def evicts(self) -> str | None:
        """The eviction policy by which it drops keys when its memory is short; None: it drops none."""
        policy = self.settings.get("maxmemory-policy", "noeviction")
        return policy if self.settings.get("maxmemory", "0") != "0" and policy != "noeviction" else None

    @property
    def writes_alone(self) -> bool:
        """Whether it has replicas and takes writes also when it has lost them."""
        return bool(self.facts.get("connected_slaves")) and self.settings.get("min-replicas-to-write", "0") == "0"


async def read_servers(redis: Redis) -> list[RedisServer]:
    """Every primary; none where one refuses CONFIG or INFO, as managed services do."""
    try:
        servers = await redis.nodes() if isinstance(redis, RoutedClient) else [redis]
        found = []
        for place, server in enumerate(servers, 1):
            where = f"primary {place} of {len(servers)}" if len(servers) > 1 else "the server"
            settings: Any = await server.config_get("maxmemory*", "min-replicas-to-write", "save")
            facts: Any = {}
            for section in ("replication", "persistence", "memory"):
                facts |= await server.info(section)
            found.append(RedisServer(where, settings, facts))
        return found
    except (OSError, RedisError):
        return []


def advice(servers: Sequence[RedisServer]) -> Iterator[str]:
    """Settings that work today and lose sessions one day, one line each."""
    for server in servers:
        if server.evicts:
            yield f"redis: {server.where} has maxmemory-policy {server.evicts}; people are signed out when its memory is short"
        if server.writes_alone:
            yield (
                f"redis: {server.where} has replicas and min-replicas-to-write 0; cut off from them it takes writes that a failover undoes"
            )
