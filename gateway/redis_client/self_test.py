"""The check of Redis by `doorward check --online`: every command that Doorward sends, once, on keys that expire."""

import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.failures import describe, unavailable
from gateway.redis_client.invalidation import Sources
from gateway.redis_client.routed_client import RoutedClient

_SHORT: Final = 5000  # TTL of the keys that are written, in milliseconds
_GUIDE: Final = "see the guide on Redis"


async def examine(redis: Redis, sources: Sources, prefix: str) -> None:
    """Run every kind of command, and begin client-side caching on every primary.

    Raises StoreUnavailable, whose detail names the command that was refused and the reason.
    """
    client: Any = redis
    text, entries = (f"{prefix}check:{secrets.token_hex(8)}" for _ in range(2))
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


async def advice(redis: Redis) -> AsyncIterator[str]:
    """Settings of the server that work today and lose sessions one day, one line each. A server that refuses CONFIG or INFO is passed over."""
    try:
        servers = await redis.nodes() if isinstance(redis, RoutedClient) else [redis]
        for place, server in enumerate(servers, 1):
            where = f"primary {place} of {len(servers)}" if len(servers) > 1 else "the server"
            settings: Any = await server.config_get("maxmemory*", "min-replicas-to-write")
            replicas: Any = (await server.info("replication"))["connected_slaves"]
            if settings.get("maxmemory", "0") != "0" and settings["maxmemory-policy"] != "noeviction":
                policy = settings["maxmemory-policy"]
                yield f"redis: {where} has maxmemory-policy {policy}; people are signed out when its memory is short"
            if replicas and settings.get("min-replicas-to-write", "0") == "0":
                yield f"redis: {where} has replicas and min-replicas-to-write 0; cut off from them it takes writes that a failover undoes"
    except (OSError, RedisError):
        return
