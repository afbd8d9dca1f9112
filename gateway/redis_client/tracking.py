"""Client-side caching of one primary: one RESP3 connection with `CLIENT TRACKING ON BCAST PREFIX`.

The invariant: `trusted_until` lies ahead only while every change that this server made more than three pings ago has been
received. Redis replies to a connection in order, so the reply to a ping proves that all invalidations before it have arrived;
trust counts from the moment the ping was sent. The ping is HELLO, whose reply also names the server's role.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from redis.asyncio.connection import AbstractConnection

from gateway.observability.background import repeat
from gateway.redis_client.connection_factory import Invalidated, NotPrimary, is_unreachable, refuse_replica
from gateway.redis_client.failures import describe

_log = logging.getLogger("doorward.sessions")
_SLOWEST_RETRY: Final = 2.0


class TrackingListener(Protocol):
    """The callbacks of a Tracking; they do not block. `on_invalidate(None)`: any record may have changed."""

    def on_invalidate(self, key: str | None) -> None: ...
    def on_tracking(self) -> None: ...
    def on_ping_reply(self) -> None: ...
    def on_disconnect(self) -> None: ...
    def on_demotion(self) -> None: ...


class Tracking:
    """Keeps the connection up. `trusted_until` is on `clock`, which is monotonic.

    `ping_every` is in seconds; three of them without a reply end the trust.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        prefix: str,
        listener: TrackingListener,
        *,
        clock: Callable[[], float],
        ping_every: float = 1.0,
    ) -> None:
        self.trusted_until = float("-inf")
        self.unreachable = False  # the server does not reply at all; a connection that broke is no proof of that
        self._connect = connect
        self._prefix = prefix.encode()
        self._listener = listener
        self._clock = clock
        self._ping_every = ping_every
        self._limit = 3 * ping_every
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled: connect, listen, start over when it breaks."""
        await repeat("tracking", self._track_once)

    async def _track_once(self) -> float:
        """One connection, until it breaks; the seconds until the next."""
        connection = self._connect()
        listening = False
        try:
            await self._begin(connection)
            self._failures, listening = 0, True
            await self._listen(connection)
        except Exception as error:
            if self._failures == 0:
                _log.warning("changes of sessions are not announced, every request reads Redis: %s", describe(error))
            self._failures += 1
            if isinstance(error, NotPrimary):
                self._listener.on_demotion()
            # A connection that breaks may be made again at once; one that cannot be made, or is silent, is an outage.
            self.unreachable = isinstance(error, TimeoutError) if listening else is_unreachable(error)
        finally:
            # SECURITY: an invalidation that was lost with the connection may have been a sign-out: nothing cached counts (C-44).
            self.trusted_until = float("-inf")
            self._listener.on_disconnect()
            await _close(connection)
        pause: float = min(_SLOWEST_RETRY, 0.05 * 2 ** min(self._failures, 6))
        return pause * random.uniform(0.5, 1.0)  # noqa: S311

    async def _begin(self, connection: AbstractConnection) -> None:
        """Raises OSError, RedisError, ValueError."""
        sent_at = self._clock()
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
        reply = await connection.read_response(disable_decoding=True, push_request=True)
        if reply != b"OK":
            raise ValueError("client-side caching was refused")
        self.trusted_until = sent_at + self._limit
        self.unreachable = False
        self._listener.on_tracking()

    async def _listen(self, connection: AbstractConnection) -> None:
        """Read pushes, ping in between. Raises TimeoutError after three pings without a reply, NotPrimary, and the connection's error."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        unanswered: deque[tuple[float, float]] = deque()  # when each ping was sent: by the loop's clock, by ours
        next_ping = loop.time()
        while True:
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # the library swallows one that comes together with a reply
            if unanswered and loop.time() - unanswered[0][0] >= self._limit:
                raise TimeoutError("no reply to a ping")
            if loop.time() >= next_ping:
                unanswered.append((loop.time(), self._clock()))
                next_ping = loop.time() + self._ping_every
                await connection.send_command("HELLO", 3)
            reply = await connection.read_response(
                disable_decoding=True, timeout=max(next_ping - loop.time(), 0.001), push_request=True
            )
            if isinstance(reply, Invalidated):
                self._dispatch(reply)
            elif reply is not None:
                refuse_replica(reply)
                self.trusted_until = unanswered.popleft()[1] + self._limit
                self._listener.on_ping_reply()

    def _dispatch(self, push: Invalidated) -> None:
        if push.keys is None:
            self._listener.on_invalidate(None)
            return
        for name in push.keys:
            self._listener.on_invalidate(name[len(self._prefix) :].decode("ascii", "replace"))


async def _close(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception as error:
        _log.debug("closing a connection to Redis: %s", type(error).__name__)
