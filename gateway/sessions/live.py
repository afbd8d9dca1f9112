"""A session in one worker's memory.

Deadlines are on the worker's monotonic clock, so setting the wall clock neither ends nor prolongs a session (C-46). An object
stands for one record in Redis; when the record changes, a new object takes its place.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from gateway.sessions.records import Stored
from gateway.sessions.session import Session

NEVER: Final = float("inf")
#: Begins the key of each LiveSession that stands for an access token, and for no record.
TOKEN_KEY: Final = "bearer:"  # noqa: S105 - a name
_seconds: Final = lru_cache(256)(timedelta.total_seconds)  # sessions with the same timeout share one number in memory


@dataclass(slots=True, eq=False)  # no struct: its attributes are read several times a request, and made once
class LiveSession:
    """`idle_deadline` never lies behind `expires_deadline`.

    `met`, `assertion` and `assertion_until` are kept here by the gate and the proxy: the routes whose rules this person meets, one
    bit each, and the identity fields as they were rendered last.
    """

    key: str
    host: str
    session: Session
    idle: float
    idle_deadline: float
    expires_deadline: float
    stored_deadline: float  # when Redis ends it unless it is touched there
    touch_due: float  # from when on a touch is worth a message to Redis
    old_key: bool = False  # to be sealed with the first key when it is used
    met: int = 0
    renewal_due: float = NEVER  # from when on the `RenewalHook` is called
    tokens_end: float = NEVER  # the end of the provider's access token
    assertion: bytes = b""
    assertion_until: float = 0.0
    record_id: bytes = b""  # of the record it was read from, until its fields were shared
    shared: bytes = b""  # the fields that another worker shared, until they are read


def live_from(key: str, stored: Stored, now: float) -> LiveSession:
    """`now` is the worker's monotonic clock, from before Redis was read."""
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
