"""A session in one worker's memory.

Deadlines are on the worker's monotonic clock, so setting the wall clock neither ends nor prolongs it (C-46). The object
lives as long as the record in Redis stays as it was; when that changes, a new object takes its place.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from gateway.sessions.records import Stored
from gateway.sessions.session import Session

NEVER: Final = float("inf")
_seconds: Final = lru_cache(256)(timedelta.total_seconds)  # one number in memory for all sessions that have it


@dataclass(slots=True, eq=False)  # no struct: its attributes are read several times a request, and made once
class LiveSession:
    """`idle_deadline` never lies behind `expires_deadline`.

    `met`, `assertion` and `assertion_until` are the gate's and the proxy's memory, dropped with the object: the rulings that
    this person meets, by `Verdict.bit`, and the identity lines as they were rendered last.
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
    met: int = 0
    attention_due: float = NEVER  # from when on the `Attendant` is asked
    tokens_end: float = NEVER  # the provider's access token
    assertion: bytes = b""
    assertion_until: float = 0.0
    record_id: bytes = b""  # of the record it was read from, until its lines were written
    shared: bytes = b""  # what another worker left beside that record, until it is looked at


def live_from(key: str, stored: Stored, now: float) -> LiveSession:
    """`now` is the worker's monotonic clock, read before Redis was asked."""
    deadline = now + stored.ttl.total_seconds()
    return LiveSession(
        key=key,
        host=stored.session.key_host,
        session=stored.session,
        idle=_seconds(stored.session.idle),
        idle_deadline=deadline,
        expires_deadline=now + stored.remaining.total_seconds(),
        stored_deadline=deadline,
        touch_due=now,
        old_key=stored.old_key,
        record_id=stored.record_id,
        shared=stored.shared,
    )
