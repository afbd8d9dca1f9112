"""When a refresh of a session's tokens is due, and how long to pause after failures.

Pure. A session ends by its own clocks: the access token's end makes a refresh due and ends nothing.
"""

from datetime import datetime, timedelta
from typing import Final, TypedDict

from gateway.config.schema import ProviderKeys
from gateway.sessions.session import Session

#: The lifetime of an access token without `expires_in` (optional by RFC 6749 section 5.1).
DEFAULT_LIFETIME: Final = timedelta(hours=1)

_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(minutes=5)


class AccessTimes(TypedDict):
    access_expires_at: datetime | None
    access_lifetime: timedelta | None


def access_times(expires_in: int | None, refresh_token: str | None, now: datetime) -> AccessTimes:
    """The fields of a Session about its access token; None without a refresh token: they are used for a refresh only."""
    if refresh_token is None:
        return {"access_expires_at": None, "access_lifetime": None}
    lifetime = min(timedelta(seconds=expires_in), timedelta(days=400)) if expires_in else DEFAULT_LIFETIME
    return {"access_expires_at": now + lifetime, "access_lifetime": lifetime}


def time_left(session: Session, settings: ProviderKeys, now: datetime) -> tuple[timedelta, timedelta] | None:
    """The time until a refresh is due, and until the access token ends; None: this session is never refreshed."""
    ends = session.access_expires_at
    if ends is None or settings.refresh == "never":
        return None
    lifetime = session.access_lifetime or DEFAULT_LIFETIME
    # A clock that was set back must not delay the next refresh for longer than a token's lifetime.
    left = min(ends - now, lifetime)
    # A token with a lifetime shorter than `refresh_before` is used for half of it.
    return left - min(settings.refresh_before, lifetime / 2), left


def pause_after(failures: int) -> timedelta:
    """How long to pause after so many failures in a row."""
    doubled: timedelta = _FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 10)
    return min(doubled, _LONGEST_PAUSE)
