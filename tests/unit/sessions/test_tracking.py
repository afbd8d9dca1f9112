"""The connection on which one server says what changed: it ends when it is told to, whatever came in at that moment."""

import asyncio
import time
from typing import Any

from gateway.redis_client.tracking import Tracking


class Answering:
    """Redis at the other end, with a reply that comes in together with the first cancellation: the library gives the reply alone."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self._replies: list[Any] = [b"OK"]
        self._cancelled = False

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...

    async def send_command(self, *args: Any) -> None: ...

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None, *, push_request: bool | None = False
    ) -> Any:
        if self._replies:
            return self._replies.pop()
        self.reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._cancelled:
                raise
            self._cancelled = True
        return None


class Nobody:
    """Has every callback and does nothing."""

    def on_invalidate(self, key: str | None) -> None: ...
    def on_tracking(self) -> None: ...
    def on_ping_reply(self) -> None: ...
    def on_disconnect(self) -> None: ...
    def on_demotion(self) -> None: ...


async def test_a_cancellation_that_comes_together_with_a_reply_ends_it() -> None:
    connection: Any = Answering()
    task = asyncio.create_task(Tracking(lambda: connection, "p:", Nobody(), clock=time.monotonic).run())
    await connection.reading.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    task.cancel()  # so that a failure of this test leaves nothing behind
    assert done == {task}
