"""A session in one worker's memory.

Deadlines are on the worker's monotonic clock, so setting the wall clock neither ends nor prolongs it (C-46). The object
lives as long as the record in Redis stays as it was; when that changes, a new object takes its place.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.sessions.session import Session
from gateway.sessions.store import Stored


@dataclass(slots=True, eq=False)
class LiveSession:
    """`idle_deadline` never lies behind `expires_deadline`.

    `headers`, `assertion` and `verdicts` are the gate's and the proxy's memory: what was rendered or decided for this
    session, dropped with it.
    """

    key: str
    host: str
    session: Session
    idle: float
    idle_deadline: float
    expires_deadline: float
    stored_deadline: float  # when Redis ends it unless it is touched there
    touch_due: float  # from when on a touch is worth a message to Redis
    old_key: bool = False  # to be sealed anew when it is used
    headers: dict[str, bytes] = field(default_factory=dict)
    assertion: bytes | None = None
    assertion_until: float = 0.0
    verdicts: dict[Any, Any] = field(default_factory=dict)


def live_from(key: str, stored: Stored, now: float) -> LiveSession:
    """`now` is the worker's monotonic clock, read before Redis was asked."""
    deadline = now + stored.ttl.total_seconds()
    return LiveSession(
        key=key,
        host=stored.session.key_host,
        session=stored.session,
        idle=stored.session.idle.total_seconds(),
        idle_deadline=deadline,
        expires_deadline=now + stored.remaining.total_seconds(),
        stored_deadline=deadline,
        touch_due=now,
        old_key=stored.old_key,
    )
