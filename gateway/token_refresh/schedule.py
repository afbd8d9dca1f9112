"""When a session's tokens are due, and how long a provider that failed is left alone.

Pure. A session lives as long as its own clocks say: the access token's end makes a refresh due and ends nothing.
"""

from datetime import datetime, timedelta
from typing import Final, TypedDict

from gateway.config.schema import ProviderKeys
from gateway.sessions.session import Session

#: What an access token is taken to live where the provider does not say (RFC 6749 section 5.1 lets it).
UNSAID: Final = timedelta(hours=1)

_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(minutes=5)


class AccessTimes(TypedDict):
    access_expires_at: datetime | None
    access_lifetime: timedelta | None


def access_times(expires_in: int | None, refresh_token: str | None, now: datetime) -> AccessTimes:
    """The fields of a Session that tell of its access token; none without a refresh token: nobody would look at them."""
    if refresh_token is None:
        return {"access_expires_at": None, "access_lifetime": None}
    lifetime = min(timedelta(seconds=expires_in), timedelta(days=400)) if expires_in else UNSAID
    return {"access_expires_at": now + lifetime, "access_lifetime": lifetime}


def time_left(session: Session, settings: ProviderKeys, now: datetime) -> tuple[timedelta, timedelta] | None:
    """Until a refresh is due, and until the access token ends; None: this session is never refreshed."""
    ends = session.access_expires_at
    if ends is None or settings.refresh == "never":
        return None
    lifetime = session.access_lifetime or UNSAID
    # A clock that was set back must not put the next refresh off for longer than a token lives.
    left = min(ends - now, lifetime)
    # Of a token that lives shorter than `refresh_before`, half of its life is used.
    return left - min(settings.refresh_before, lifetime / 2), left


def pause_after(failures: int) -> timedelta:
    """How long nobody tries again after so many failures in a row."""
    doubled: timedelta = _FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 10)
    return min(doubled, _LONGEST_PAUSE)
