"""Who looks after sessions while they are used: the seam between the cache and token refresh.

The cache compares one number of a session with its clock; when that is past, it asks here, and serves or waits as told.
"""

import asyncio
from typing import Any, Protocol

from gateway.sessions.live import LiveSession


class Attendant(Protocol):
    """`now` is the worker's monotonic clock. Neither method waits."""

    def schedule(self, live: LiveSession, now: float) -> None:
        """Set `attention_due` of a session that was just read."""

    def attend(self, live: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        """Attention is due: begin what is to be done. None: serve the session meanwhile; else what to wait for, bounded."""


class Unattended:
    """Sessions stay as they were issued."""

    def schedule(self, live: LiveSession, now: float) -> None: ...

    def attend(self, live: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        return None
