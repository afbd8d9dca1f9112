"""Old keys go out of use: a record that another key than the ring's first one sealed is sealed anew when its session is used.

The invariant: nothing ends, begins, changes or lives longer by it. The record is replaced only if it is still the one that was read, and
keeps its TTL; one that ended meanwhile stays ended. What a later release wrote in it stays in it.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.sessions.client import unavailable
from gateway.sessions.indexes import Indexes
from gateway.sessions.records import MAX_RECORD, Records

_BATCH: Final = 100

# SECURITY: a plain SET would bring back a session that was ended since it was read, or lengthen its life (C-44, C-46).
_SWAP: Final = (
    "if redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[1] then return 0 end"
    " redis.call('SET', KEYS[1], ARGV[2], 'XX', 'KEEPTTL') return 1"
)


async def reseal(redis: Redis, prefix: str, records: Records, indexes: Indexes, keys: Sequence[str]) -> int:
    """Seal these records with the first key where they are not; how many were. A few round trips for many. Raises StoreUnavailable."""
    count = 0
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        pipe = redis.pipeline(transaction=False)
        for key in some:
            pipe.getrange(prefix + key, 0, MAX_RECORD)
        read = zip(some, await _done(pipe), strict=True)
        opened = [
            (key, record, session)
            for key, record in read
            if (session := records.open(key, record)) is not None and records.place_of_key(record) != 0
        ]
        # The index first: its old name is lost with the old key, and a session that no index knows cannot be ended from afar.
        await indexes.enter(redis, [(key, session) for key, _, session in opened])
        pipe = redis.pipeline(transaction=False)
        for key, record, _ in opened:
            pipe.eval(_SWAP, 1, prefix + key, record, records.seal_again(key, record), str(MAX_RECORD))
        count += sum(await _done(pipe))
    return count


async def _done(pipe: Pipeline) -> list[Any]:
    """The replies. Raises StoreUnavailable when a command was refused."""
    replies: list[Any] = await pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply) from reply
    return replies


async def swap(redis: Redis, name: str, before: bytes, record: bytes) -> bool:
    """Put `record` in the place of `before`, if that is still there. One key only, so that it runs on any cluster."""
    swapped: Awaitable[Any] = redis.eval(_SWAP, 1, name, before, record, str(MAX_RECORD))
    return bool(await swapped)
