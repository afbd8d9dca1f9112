"""Failures of Redis in words for an operator: which server, and why.

Nothing but an error's code and the network's reason is quoted, because Redis quotes a command's arguments in its texts (C-48).
"""

import logging
import re
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.network import causes, network_reason
from gateway.redis_client.connection_factory import POOL_SECONDS, NotPrimary
from gateway.redis_client.discovery import UnknownSet

_log = logging.getLogger("doorward.sessions")
_CODE: Final = re.compile(r"[A-Z]{3,24}(?= |$)")
#: The first class that fits counts; a connection's failure comes last, because some of these are kinds of it.
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (NotPrimary, "the server is a replica"),
    (ReadOnlyError, "the server is a replica"),
    (AuthenticationError, "it refuses the user or the password"),
    (AuthorizationError, "it refuses the user or the password"),
    (NoPermissionError, "its user may not run this command"),
    (BusyLoadingError, "it is still loading its data"),
    (OutOfMemoryError, "its memory is full"),
    (ClusterDownError, "the cluster is down"),
    (RedisTimeoutError, "no answer in time"),
)


def unavailable(error: Exception) -> StoreUnavailable:
    """The refusal for a failure of Redis; its detail is one line, as `redis.internal:6379: the connection was refused`."""
    if not isinstance(error, RedisError | OSError):
        _log.warning("Redis sent a reply that cannot be read: %s", type(error).__name__)
    return StoreUnavailable(describe(error))


def describe(error: Exception) -> str:
    """The server, where it is known, and the reason."""
    notes = getattr(error, "__notes__", ())
    return f"{notes[0]}: {_reason(error)}" if notes else _reason(error)


def _reason(error: Exception) -> str:
    for kind, words in _REASONS:
        if any(isinstance(each, kind) for each in causes(error)):
            return words
    if isinstance(error, RedisConnectionError) and isinstance(error.__cause__, TimeoutError):
        return f"no connection was free in {POOL_SECONDS:g} s"
    if isinstance(error, RedisConnectionError | OSError):
        return network_reason(error)
    if isinstance(error, UnknownSet):
        return str(error)
    code = _CODE.match(str(error))
    if isinstance(error, ResponseError):
        return f"it answers {code[0]}" if code else "it refuses a command"
    return "its reply cannot be read"
