"""The one key of a Redis command, and whether the command writes: what a routed client must know before it sends one.

Pure. A command that is not listed is refused: a guess at its key would send it to the wrong server.
"""

from collections.abc import Mapping
from typing import Any, Final

Command = tuple[tuple[Any, ...], Mapping[str, Any]]  # arguments, and the options that redis-py reads replies with

_READS: Final = frozenset(
    {"GET", "GETRANGE", "STRLEN", "PTTL", "TTL", "PEXPIRETIME", "TYPE", "DUMP", "EXISTS", "MEMORY USAGE"}
    | {"ZRANGE", "ZCARD", "ZSCORE", "ZCOUNT", "ZRANGEBYSCORE", "ZREVRANGE", "ZSCAN", "SMEMBERS", "SISMEMBER", "SCARD"}
    | {"HGET", "HGETALL", "HMGET", "HLEN", "HEXISTS"}
    | {"XREVRANGE"}
)
_WRITES: Final = frozenset(
    {"SET", "DEL", "UNLINK", "GETDEL", "GETSET", "APPEND", "INCR", "INCRBY", "DECR", "RESTORE", "PERSIST", "SETRANGE"}
    | {
        "ZADD",
        "ZREM",
        "ZREMRANGEBYSCORE",
        "ZREMRANGEBYRANK",
        "ZPOPMIN",
        "SADD",
        "SREM",
        "HSET",
        "HDEL",
        "HSETNX",
        "XADD",
    }
    | {"EVAL", "EVALSHA"}
)
# They only move the end of a record that exists: a failover loses a minute of an idle timeout.
_TOUCHES: Final = frozenset({"PEXPIRE", "EXPIRE", "PEXPIREAT", "EXPIREAT", "GETEX", "TOUCH"})
_ONE_KEY_ONLY: Final = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH"})


def key_of(args: tuple[Any, ...]) -> bytes:
    """The key that a command is about. Raises ValueError for commands without one, with several, and unknown ones."""
    name = str(args[0]).upper()
    if name in ("EVAL", "EVALSHA"):
        if int(args[2]) != 1:
            raise ValueError("a script for a Sentinel set or a cluster names one key")
        return _encoded(args[3])
    if name not in _READS and name not in _WRITES and name not in _TOUCHES:
        raise ValueError(f"the key of {name} is not known")
    if name in _ONE_KEY_ONLY and len(args) != 2:
        raise ValueError(f"{name} for a Sentinel set or a cluster names one key")
    return _encoded(args[1])


def writes(args: tuple[Any, ...]) -> bool:
    """Whether the command changes a value that must outlast a failover."""
    return str(args[0]).upper() in _WRITES


def _encoded(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()
