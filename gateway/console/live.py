"""Pages that renew themselves while they are open: server-sent events (HTML Living Standard, section 9.2), each a part of a page as HTML."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.errors.refusal import Refusal

MOST: Final = 50  # open views
_LONGEST_SECONDS: Final = 240.0
_AGAIN_MILLISECONDS: Final = 3000
_FIELDS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class LiveViews:
    """The open views of one process. `stopping` ends them all; `longest` is how many seconds one lasts."""

    def __init__(self, stopping: asyncio.Event, longest: float = _LONGEST_SECONDS) -> None:
        self._stopping = stopping
        self._longest = longest
        self._open = 0

    async def stream(
        self, request: web.Request, draw: Callable[[], Awaitable[str]], seconds: float
    ) -> web.StreamResponse:
        """Send what `draw()` gives, and again each time that it changed; it is asked every `seconds`.

        204, by which a browser asks no more, where MOST views are open. Raises what the first `draw()` raises; a later failure ends the
        stream, and the browser asks again.
        """
        if self._open >= MOST:
            return web.Response(status=204)
        self._open += 1
        try:
            shown = await draw()
            response = web.StreamResponse(headers=_FIELDS)
            await response.prepare(request)
            await response.write(b"retry: %d\n\n%b" % (_AGAIN_MILLISECONDS, _event(shown)))
            with contextlib.suppress(Refusal, ConnectionError):
                await self._renew(response, draw, seconds, shown)
            return response
        finally:
            self._open -= 1

    async def _renew(
        self, response: web.StreamResponse, draw: Callable[[], Awaitable[str]], seconds: float, shown: str
    ) -> None:
        # SECURITY: the operator's groups may change, and the assertion of this request is out of date in minutes: the browser
        # asks again, and the gate decides anew (C-92).
        ends = time.monotonic() + self._longest
        while time.monotonic() < ends and not await self._stops_within(seconds):
            fresh = await draw()
            # A comment finds out whether the browser is still there.
            await response.write(_event(fresh) if fresh != shown else b":\n\n")
            shown = fresh

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._stopping.wait(), seconds)
        return False


def _event(html: str) -> bytes:
    return b"".join(b"data: %b\n" % line for line in html.encode().splitlines()) + b"\n"
