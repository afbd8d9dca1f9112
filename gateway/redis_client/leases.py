"""Leases: a lock in Redis that is renewed while its holder works, so that one process at a time does a piece of work.

The lock of a holder that dies ends within seconds; a holder that cannot renew it must stop (`lost`). Only the owner's
random value renews or releases. One Redis server decides, so a lease avoids double work and proves nothing: the holder
looks in the data itself whether the work was done.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations

_IF_OWNER: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) end return 0"
_RENEW: Final = _IF_OWNER.format("'pexpire', KEYS[1], ARGV[2]")
_RELEASE: Final = _IF_OWNER.format("'del', KEYS[1]")
_POLL_SECONDS: Final = 0.05
_SLOWEST_POLL: Final = 0.4


class LeaseBusy(Exception):
    """Another holder had it all the time that the caller was willing to wait."""


class Lease:
    """A lock that is held. `lost` is set when it may have passed to another holder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = secrets.token_hex(16)
        self.lost = asyncio.Event()


class Leases:
    """Keys `lock:<name>` under the prefix. `clock` is monotonic."""

    def __init__(self, redis: Redis, prefix: str, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._prefix = f"{prefix}lock:"
        self._clock = clock
        self._operations = Operations(redis, "lease")

    @asynccontextmanager
    async def hold(self, name: str, wait: timedelta, lease: timedelta = timedelta(seconds=5)) -> AsyncIterator[Lease]:
        """Hold `name` for as long as the block runs. Raises LeaseBusy after `wait`, StoreUnavailable."""
        held = Lease(self._prefix + name)
        try:
            taken_at = await self._take(held, wait, lease)
            renewing = asyncio.create_task(self._renew(held, lease, taken_at))
            try:
                yield held
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
        finally:
            # Also when `_take` failed or was cancelled: the server may have set the lock all the same.
            with suppress(StoreUnavailable):
                await self._run(_RELEASE, held)

    async def _take(self, held: Lease, wait: timedelta, lease: timedelta) -> float:
        """The moment when the command was sent that took the lock: its time runs from there. Raises LeaseBusy, StoreUnavailable."""
        deadline = self._clock() + wait.total_seconds()
        pause = _POLL_SECONDS
        while True:
            sent_at = self._clock()
            if await self._operations.take(held.name, held.owner.encode(), lease):
                return sent_at
            left = deadline - self._clock()
            if left <= 0:
                raise LeaseBusy(held.name)
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - spreads the processes that wait
            pause = min(pause * 1.5, _SLOWEST_POLL)

    async def _renew(self, held: Lease, lease: timedelta, since: float) -> None:
        length = lease.total_seconds()
        try:
            with suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(since + length - self._clock()):
                        await asyncio.sleep(length / 3)
                        sent_at = self._clock()
                        try:
                            if not await self._run(_RENEW, held, lease // timedelta(milliseconds=1)):
                                break
                        except StoreUnavailable:
                            continue
                        since = sent_at
        finally:  # also when it raised: what nothing renews is not held
            held.lost.set()

    async def _run(self, script: str, held: Lease, *arguments: int) -> int:
        answer: Awaitable[Any] = self._redis.eval(script, 1, held.name, held.owner, *map(str, arguments))
        return int(await self._operations.run(answer))
