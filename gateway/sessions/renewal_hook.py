"""The seam between the cache and token refresh: sessions are renewed while they are used.

The cache compares `LiveSession.renewal_due` with its clock; when it is past, it calls the hook, which decides whether requests wait.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.identity.claims import Identity
from gateway.sessions.live import LiveSession
from gateway.sessions.session import Session

#: Takes the session as it is and the identity of the provider's new claims (without directory facts), and returns the
#: identity from now on. A Refusal with status 403 ends the session; any other Refusal keeps the session and its
#: directory facts as they are, and the next refresh checks again.
Recheck = Callable[[Session, Identity], Awaitable[Identity]]


async def keep_directory_facts(session: Session, identity: Identity) -> Identity:
    """The Recheck without a directory: the directory facts of the sign-in stay."""
    return identity.with_directory(session.identity.directory)


class RenewalHook(Protocol):
    """`now` is the worker's monotonic clock. Neither method waits."""

    def schedule(self, session: LiveSession, now: float) -> None:
        """Set `renewal_due` of a session that was just read."""

    def renew(self, session: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        """Begin a renewal that is due. None: serve the session meanwhile; else a future that a request waits for, for a bounded time."""


class NoRenewal:
    """Sessions stay as they were issued."""

    def schedule(self, session: LiveSession, now: float) -> None: ...

    def renew(self, session: LiveSession, now: float) -> "asyncio.Future[Any] | None":
        return None
