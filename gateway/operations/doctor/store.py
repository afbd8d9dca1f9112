"""How Redis keeps what is written, and since when the first key is in use."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.operations.doctor.line import Line, broken, ok, unknown, warning
from gateway.redis_client.client import connected
from gateway.redis_client.self_test import RedisServer, read_servers
from gateway.sessions.key_ages import KeyAges
from gateway.sessions.keyring import KeyRing

_OLD: Final = timedelta(days=365)
_FULL: Final = 0.9  # of maxmemory
_KEEP: Final = "set appendonly yes and appendfsync everysec"


async def store_lines(config: Config, now: datetime) -> list[Line]:
    """Persistence, eviction and replicas of every primary, and the age of the key ring."""
    embedded = config.redis.is_embedded
    if embedded and config.redis.data_dir is None:
        means = "the embedded store is in memory: at each restart of the gateway every person signs in again"
        return [
            warning("redis persistence", means, "set redis.data_dir, or redis.url to a server of your own"),
            _unseen_age(),
        ]
    try:
        async with connected(config.redis) as redis:
            servers = [] if embedded else await read_servers(redis)
            ages = await KeyAges(redis, KeyRing(config.keys), config.redis.key_prefix, lambda: now).read()
    except StoreUnavailable as refusal:
        return [unknown("redis persistence", f"it was not seen: {refusal.detail}", "mend Redis first"), _unseen_age()]
    if embedded:
        lines = [ok("redis persistence", "the embedded store writes to redis.data_dir, synced every second")]
    elif not servers:
        means = "the server refuses CONFIG or INFO, as managed services do"
        lines = [
            unknown(
                "redis persistence",
                means,
                "see in the service's settings: persistence on, eviction noeviction, a replica",
            )
        ]
    else:
        lines = [line for server in servers for line in _server(server, several=len(servers) > 1)]
    return [*lines, _age(ages, now)]


def _server(server: RedisServer, *, several: bool) -> Iterator[Line]:
    suffix = f" ({server.where})" if several else ""
    yield _persistence(server, f"redis persistence{suffix}")
    yield _eviction(server, f"redis eviction{suffix}")
    yield _replicas(server, f"redis replicas{suffix}")


def _persistence(server: RedisServer, called: str) -> Line:
    facts = server.facts
    for field, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if facts.get(field, "ok") != "ok":
            means = f"the last write of its {what} failed: the server refuses writes (MISCONF), or loses everything at a restart"
            return broken(called, means, "make room on its disk, and see its log")
    if facts.get("aof_enabled"):
        return ok(called, "what is written is in an append-only file")
    if server.settings.get("save"):
        means = "snapshots only: a crash loses the sessions since the last one, and brings sessions back that have ended since"
        return warning(called, means, _KEEP)
    return warning(called, "nothing is kept over a restart of the server: every person signs in again", _KEEP)


def _eviction(server: RedisServer, called: str) -> Line:
    if server.evicts:
        means = f"maxmemory-policy is {server.evicts}: people are signed out when memory is short"
        return warning(
            called, means, "set maxmemory-policy noeviction, and use the server for nothing that may be evicted"
        )
    used, limit = int(server.facts.get("used_memory", 0)), int(server.settings.get("maxmemory", 0) or 0)
    if limit and used > _FULL * limit:
        means = f"{used * 100 // limit} % of maxmemory is used: when it is full, writes are refused and no person can sign in"
        return warning(called, means, "raise maxmemory, or see what fills it (redis-cli --bigkeys)")
    return ok(called, "no session is dropped for lack of memory")


def _replicas(server: RedisServer, called: str) -> Line:
    count = int(server.facts.get("connected_slaves", 0))
    if server.writes_alone:
        means = (
            f"{count} replicas, and min-replicas-to-write 0: cut off from them it takes writes that a failover undoes"
        )
        return warning(called, means, "set min-replicas-to-write 1")
    wanted = int(server.settings.get("min-replicas-to-write", "0"))
    if count < wanted:
        means = f"{count} of the {wanted} replicas are connected that min-replicas-to-write asks for: the server refuses writes"
        return broken(called, means, "start the replicas, or see in their log why they do not connect")
    return ok(
        called,
        f"{count} replicas"
        if count
        else "no replica: while this server is away, every request that needs a session is 503",
    )


def _age(ages: list[datetime | None], now: datetime) -> Line:
    first = ages[0] if ages else None
    if first is None:
        return _unseen_age()
    days, more = (now - first).days, len(ages) - 1
    means = f"keys[0] encrypts since {first:%Y-%m-%d}, {days} days" + (f"; {more} older in the ring" if more else "")
    if now - first > _OLD:
        return warning(
            "key ring", means, "make a new key (doorward keys new) and add it, last first: deploy/guides/sessions.md"
        )
    return ok("key ring", means + ("; `doorward keys status` says whether they are still needed" if more else ""))


def _unseen_age() -> Line:
    return unknown(
        "key ring", "since when keys[0] is in use is not known here: no gateway with it has noted it in this Redis"
    )
