"""Hearing of changed session records: one RESP3 connection with `CLIENT TRACKING ON BCAST PREFIX`, to one primary.

The invariant: `trusted_until` lies ahead only while every change that this server made more than three pings ago has been
heard. Redis answers a connection in order, so the answer to a ping proves that all announcements before it were heard; trust
counts from the moment the ping was sent. The ping is HELLO, whose answer also says that the server still is a primary.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from gateway.redis_client.connection_factory import Invalidated, NotPrimary, is_unreachable, refuse_replica

_log = logging.getLogger("doorward.sessions")
_SLOWEST_RETRY: Final = 2.0


class PushConnection(Protocol):
    """What is asked of a connection that `Links.pushes` makes."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_command(self, *args: Any) -> None: ...
    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None, *, push_request: bool | None = False
    ) -> Any: ...


class TrackingListener(Protocol):
    """Who is told; nothing of it may wait. `changed(None)`: any record may have changed."""

    def changed(self, key: str | None) -> None: ...
    def began(self) -> None: ...
    def answered(self) -> None: ...
    def lost(self) -> None: ...
    def demoted(self) -> None: ...


class Tracking:
    """Keeps the connection up.

    `clock` is monotonic and dates the trust; `ping_every` is in seconds, three of them without an answer end the trust.
    """

    def __init__(
        self,
        connect: Callable[[], PushConnection],
        prefix: str,
        listener: TrackingListener,
        *,
        clock: Callable[[], float],
        ping_every: float = 1.0,
    ) -> None:
        self.trusted_until = float("-inf")
        self.unreachable = False  # not merely lost: the server does not answer
        self._connect = connect
        self._prefix = prefix.encode()
        self._listener = listener
        self._clock = clock
        self._ping_every = ping_every
        self._limit = 3 * ping_every

    async def run(self) -> None:
        """Until cancelled: connect, listen, start over when it breaks."""
        failures = 0
        while True:
            connection = self._connect()
            listening = False
            try:
                await self._begin(connection)
                failures, listening = 0, True
                await self._listen(connection)
            except Exception as error:
                if failures == 0:
                    _log.warning(
                        "changes of sessions are not heard, every request asks Redis: %s", type(error).__name__
                    )
                failures += 1
                if isinstance(error, NotPrimary):
                    self._listener.demoted()
                # A connection that breaks may be made again at once; one that cannot be made, or is silent, tells of an outage.
                self.unreachable = isinstance(error, TimeoutError) if listening else is_unreachable(error)
            finally:
                # SECURITY: what was lost with the connection may have been a sign-out: nothing cached counts (C-44).
                self.trusted_until = float("-inf")
                self._listener.lost()
                await _close(connection)
            await asyncio.sleep(min(_SLOWEST_RETRY, 0.05 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _begin(self, connection: PushConnection) -> None:
        sent_at = self._clock()
        await connection.connect()
        await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
        reply = await connection.read_response(disable_decoding=True, push_request=True)
        if reply != b"OK":
            raise ValueError("client-side caching was refused")
        self.trusted_until = sent_at + self._limit
        self.unreachable = False
        self._listener.began()

    async def _listen(self, connection: PushConnection) -> None:
        """Read pushes, ping in between. Raises when three pings went unanswered, or whatever broke the connection."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        unanswered: deque[tuple[float, float]] = deque()  # when each ping was sent: by the loop's clock, by ours
        next_ping = loop.time()
        while True:
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # one that came together with a reply is swallowed on the way here
            if unanswered and loop.time() - unanswered[0][0] >= self._limit:
                raise TimeoutError("no answer to a ping")
            if loop.time() >= next_ping:
                unanswered.append((loop.time(), self._clock()))
                next_ping = loop.time() + self._ping_every
                await connection.send_command("HELLO", 3)
            reply = await connection.read_response(
                disable_decoding=True, timeout=max(next_ping - loop.time(), 0.001), push_request=True
            )
            if isinstance(reply, Invalidated):
                self._announce(reply)
            elif reply is not None:
                refuse_replica(reply)
                self.trusted_until = unanswered.popleft()[1] + self._limit
                self._listener.answered()

    def _announce(self, push: Invalidated) -> None:
        if push.keys is None:
            self._listener.changed(None)
            return
        for name in push.keys:
            self._listener.changed(name[len(self._prefix) :].decode("ascii", "replace"))


async def _close(connection: PushConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except Exception as error:
        _log.debug("closing a connection to Redis: %s", type(error).__name__)
