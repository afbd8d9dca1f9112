"""LoginAttempts that release 0.1.0 began, one sealed cookie each: found for one release, so that an upgrade ends no sign-in.

The other way round, an attempt of this release that comes back to a worker of 0.1.0 is unknown there: the person sees a page, and signs in once
more. To be deleted with the release after the next.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.config.sections.openid import DEFAULT_PROVIDER
from gateway.gate.site import AppRoute
from gateway.oidc.authorization import ATTEMPT_LIFETIME, AttemptFacts, LoginAttempt, attempt_of
from gateway.oidc.strict_json import parse_object
from gateway.sessions import base64url
from gateway.sessions.cookie import set_cookie
from gateway.sessions.keyring import KeyRing

_STATE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(rb"(?:__Host-)?doorward_login_[0-9a-f]{8}_([0-9a-f]{8})")
_MICROSECONDS: Final = 1_000_000


class EarlierAttempts:
    """Reads what `AttemptCookies` of 0.1.0 sealed."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring.purpose("login")

    def find(self, state: str, values: Sequence[bytes], route: AppRoute, now: datetime) -> LoginAttempt | None:
        """The attempt with this `state` that this browser began on this host in the last 15 minutes, or None."""
        if not _STATE.fullmatch(state):
            return None
        for name, value in _cookies(values, route, _tag(state)):
            attempt = self._open(name, value, route)
            # SECURITY: a state without its cookie belongs to another person's login.
            if attempt is not None and attempt.state == state and now - attempt.started_at <= ATTEMPT_LIFETIME:
                return attempt
        return None

    def drop(self, attempt: LoginAttempt, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values that remove an attempt of 0.1.0; none for another one."""
        return [_removal(name, route) for name, _ in _cookies(values, route, _tag(attempt.state))]

    def drop_all(self, values: Sequence[bytes], route: AppRoute) -> list[str]:
        """Set-Cookie values that remove all of them."""
        return [_removal(name, route) for name, _ in _cookies(values, route, None)]

    def _open(self, name: str, value: bytes, route: AppRoute) -> LoginAttempt | None:
        try:
            return _decode(self._ring.open(base64url.decode(value), ("login", route.host, name)))
        except (ValueError, KeyError, TypeError):
            return None


def _cookies(values: Sequence[bytes], route: AppRoute, tag: bytes | None) -> list[tuple[str, bytes]]:
    """Names and values of the attempts' cookies, of one `state` or of all."""
    found = []
    for pair in (pair.strip(b" \t") for value in values for pair in value.split(b";")):
        name, _, value = pair.partition(b"=")
        match = _NAME.fullmatch(name)
        if match and name.startswith(b"__Host-") == route.secure and tag in (None, match[1]):
            found.append((name.decode(), value))
    return found


def _removal(name: str, route: AppRoute) -> str:
    return set_cookie(name, "", secure=route.secure, max_age=0)


def _tag(state: str) -> bytes:
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()[:8].encode()


def _decode(raw: bytes) -> LoginAttempt:
    """Our own sealed bytes. Raises ValueError, KeyError or TypeError for another version's."""
    values = parse_object(raw)
    if values["v"] != 1:
        raise ValueError("another version")
    facts = AttemptFacts(
        app=values["a"],
        host=values["h"],
        return_to=values["r"],
        started_at=datetime.fromtimestamp(values["t"], UTC),
        max_age=values.get("m"),
        acr=tuple(values.get("l", ())),
        step_up_for=values.get("f"),
        provider=values.get("p", DEFAULT_PROVIDER),
        begun=None if "b" not in values else values["b"] / _MICROSECONDS,
    )
    return attempt_of(facts, state=values["s"], nonce=values["n"], verifier=values["c"])
