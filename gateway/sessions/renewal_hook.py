"""Who looks after sessions while they are used: the seam between the cache and token refresh.

The cache compares one number of a session with its clock; when that is past, it asks here, and serves or waits as told.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.identity.claims import Identity
from gateway.sessions.live import LiveSession
from gateway.sessions.session import Session

#: Takes the session as it is and the identity that the provider's new claims give (without directory facts), returns the
#: identity to go on with. A Refusal with status 403 ends the session; any other Refusal keeps the session and its
#: directory facts as they are, and the next refresh asks again.
Recheck = Callable[[Session, Identity], Awaitable[Identity]]


async def keep_directory_facts(session: Session, identity: Identity) -> Identity:
    """Nobody else is asked: what the directory said at sign-in stays."""
    return identity.with_directory(session.identity.directory)


class RenewalHook(Protocol):
    """`now` is the worker's monotonic clock. Neither method waits."""

    def schedule(self, live: LiveSession, now: float) -> None:
        """Set `attention_due` of a session that was just read."""

    def attend(self, live: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        """Attention is due: begin what is to be done. None: serve the session meanwhile; else what to wait for, bounded."""


class NoRenewal:
    """Sessions stay as they were issued."""

    def schedule(self, live: LiveSession, now: float) -> None: ...

    def attend(self, live: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        return None
