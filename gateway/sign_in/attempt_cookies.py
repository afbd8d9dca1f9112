"""LoginAttempts in the browser that began them: one encrypted cookie each, the newest five, for fifteen minutes.

The invariant: a client without a session cannot fill Redis (C-49), and a state is worth nothing in a browser that does not hold
its cookie (A-53). A cookie is bound to its name and its host. When a login succeeds, its cookie shrinks to a marker that lasts a
minute: three markers for one page, without a session, are a redirect loop. The cookies stay under 3.5 KiB together (A-54).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.gate.site import AppRoute
from gateway.oidc.authorization import ATTEMPT_LIFETIME, LoginAttempt, decode, encode
from gateway.sessions.cookie import set_cookie
from gateway.sessions.keyring import KeyRing

LOOP_WINDOW: Final = timedelta(seconds=60)
RUSH_WINDOW: Final = timedelta(seconds=15)  # five logins for one page in this time are a loop, not a person
NEWEST: Final = 5
BUDGET: Final = 3500  # bytes of all these cookies in the Cookie field; many servers refuse a field of 8 KiB
_MOST_CLEARED: Final = 40  # bounds the response, however many cookies were planted
_NAME = re.compile(rb"(?:__Host-)?doorward_login_([0-9a-f]{8})_([0-9a-f]{8})")
_DONE: Final = b"done."


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAttempt:
    """One received cookie of a login attempt. `started`: seconds since 1970, read from the name."""

    name: bytes
    value: bytes
    started: int
    tag: bytes

    @property
    def finished(self) -> bool:
        return self.value.startswith(_DONE)

    @property
    def size(self) -> int:
        return len(self.name) + len(self.value) + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Recent login attempts for one page: `done` succeeded within the last minute, `pending` began within the last 15 seconds and did not."""

    done: int
    pending: int

    @property
    def looping(self) -> bool:
        """Browsers stop after about twenty redirects in a row; this is true well before."""
        return self.done >= 3 or self.pending >= NEWEST


class AttemptCookies:
    """Reads and writes the cookies of login attempts, for any host."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("login")

    def keep(self, attempt: LoginAttempt, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values: the new attempt, and the removal of cookies that are expired, broken, or over the limits."""
        name = self._name(attempt, route)
        sealed = self._ring.seal(encode(attempt), ("login", route.host, name))
        value = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        now = int(attempt.started_at.timestamp())
        room, places, cleared = BUDGET - len(name) - len(value) - 3, NEWEST - 1, []
        for cookie in sorted(read_cookies(values, route), key=lambda kept: kept.started, reverse=True):
            fresh = -5 <= now - cookie.started <= ATTEMPT_LIFETIME.total_seconds()
            if fresh and places > 0 and cookie.size <= room:
                room -= cookie.size
                places -= 1
            else:
                cleared.append(cookie.name.decode())
        return [
            _cookie(name, value, ATTEMPT_LIFETIME, route),
            *(_removal(old, route) for old in cleared[:_MOST_CLEARED]),
        ]

    def find(self, state: str, values: Sequence[bytes], route: AppRoute, now: datetime) -> LoginAttempt | None:
        """The attempt with this `state` that this browser began on this host in the last 15 minutes, or None."""
        tag = _tag(state).encode()
        for cookie in [kept for kept in read_cookies(values, route) if kept.tag == tag][:NEWEST]:
            attempt = self._open(cookie, route)
            # SECURITY: a state without its cookie belongs to another person's login.
            if attempt is not None and attempt.state == state and now - attempt.started_at <= ATTEMPT_LIFETIME:
                return attempt
        return None

    def rounds(self, return_to: str, values: Sequence[bytes], route: AppRoute, now: datetime) -> Rounds:
        """How often this browser was recently redirected to the provider for this page."""
        since, rush = (int((now - window).timestamp()) for window in (LOOP_WINDOW, RUSH_WINDOW))
        recent = sorted((c for c in read_cookies(values, route) if c.started >= since), key=lambda c: -c.started)[
            :NEWEST
        ]
        mark = _done_mark(return_to)
        pending = [self._open(cookie, route) for cookie in recent if not cookie.finished and cookie.started >= rush]
        return Rounds(
            done=sum(cookie.value == mark for cookie in recent),
            pending=sum(attempt is not None and attempt.return_to == return_to for attempt in pending),
        )

    def finish(self, attempt: LoginAttempt, route: AppRoute) -> str:
        """A Set-Cookie value that replaces a used attempt by its marker."""
        return _cookie(self._name(attempt, route), _done_mark(attempt.return_to).decode(), LOOP_WINDOW, route)

    def drop(self, attempt: LoginAttempt, route: AppRoute) -> str:
        """A Set-Cookie value that removes one attempt."""
        return _removal(self._name(attempt, route), route)

    def drop_all(self, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values that remove all of this browser's attempts."""
        return [_removal(kept.name.decode(), route) for kept in read_cookies(values, route)[:_MOST_CLEARED]]

    def _open(self, cookie: KeptAttempt, route: AppRoute) -> LoginAttempt | None:
        if cookie.finished:
            return None
        try:
            padded = cookie.value + b"=" * (-len(cookie.value) % 4)
            sealed = base64.b64decode(padded, altchars=b"-_", validate=True)
            return decode(self._ring.open(sealed, ("login", route.host, cookie.name.decode())))
        except (ValueError, binascii.Error):
            return None

    @staticmethod
    def _name(attempt: LoginAttempt, route: AppRoute) -> str:
        prefix = "__Host-" if route.secure else ""
        return f"{prefix}doorward_login_{int(attempt.started_at.timestamp()):08x}_{_tag(attempt.state)}"


def read_cookies(values: Sequence[bytes], route: AppRoute) -> list[KeptAttempt]:
    """The attempt cookies with the prefix that this route uses; of two with one name, the first."""
    found: dict[bytes, KeptAttempt] = {}
    for pair in _pairs(values):
        name, mark, value = pair.partition(b"=")
        match = _NAME.fullmatch(name) if mark else None
        if match and name.startswith(b"__Host-") == route.secure:
            found.setdefault(name, KeptAttempt(name=name, value=value, started=int(match[1], 16), tag=match[2]))
    return list(found.values())


def _pairs(values: Sequence[bytes]) -> Iterable[bytes]:
    return (pair.strip(b" \t") for value in values for pair in value.split(b";"))


def _cookie(name: str, value: str, life: timedelta, route: AppRoute) -> str:
    return set_cookie(name, value, secure=route.secure, max_age=int(life.total_seconds()))


def _removal(name: str, route: AppRoute) -> str:
    return _cookie(name, "", timedelta(0), route)


def _tag(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _done_mark(return_to: str) -> bytes:
    return _DONE + hashlib.sha256(return_to.encode()).hexdigest()[:16].encode()
