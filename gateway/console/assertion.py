"""The operator, from the signed assertion of the door and from nothing else.

The invariant: every request has an assertion that a key of the ring signed for the console, for this host, and that has not expired. Plain
identity headers are never read.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.config.console import CONSOLE
from gateway.identity.assertion import ASSERTION_LIFETIME, AssertionSigner
from gateway.identity.claims import Identity
from gateway.oidc.signatures import JwtInvalid, parse_keys, verified_claims

FIELD: Final = "X-Doorward-Jwt-Assertion"
_SKEW: Final = timedelta(seconds=5)  # worker and console read the same machine's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The person, and the public handle of the session that the request came with."""

    identity: Identity
    sid: str

    @property
    def label(self) -> str:
        """Who did something, in records and events; the address only where the log may have it is the caller's care."""
        who = self.identity
        return who.preferred_username or who.name or who.subject


class AssertionVerifier:
    """`keys` are the raw ring keys; only their public halves are used. `now` gives aware UTC."""

    def __init__(self, keys: tuple[bytes, ...], now: Callable[[], datetime]) -> None:
        self._keys = parse_keys(json.dumps(AssertionSigner(keys).jwks()).encode())
        self._now = now

    def verify(self, given: list[str], origin: str) -> Operator:
        """The operator of a request to `origin` with these values of the field. Raises JwtInvalid."""
        if len(given) != 1:
            raise JwtInvalid("missing" if not given else "repeated")
        _, claims = verified_claims(given[0], self._keys, ("ES256",))
        # SECURITY: an assertion for another app or host is another request's (C-90).
        if claims.get("aud") != CONSOLE:
            raise JwtInvalid("audience")
        if claims.get("iss") != origin:
            raise JwtInvalid("issuer")
        self._check_time(claims)
        return _operator(claims)

    def _check_time(self, claims: dict[str, Any]) -> None:
        begins, ends, now = claims.get("iat"), claims.get("exp"), self._now().timestamp()
        if not isinstance(begins, int) or not isinstance(ends, int):
            raise JwtInvalid("time")
        # SECURITY: a clock that is ahead or behind by more than seconds is none of this machine's: the assertion is an old one (C-90).
        lasting, skew = ASSERTION_LIFETIME.total_seconds(), _SKEW.total_seconds()
        if not begins - skew <= now < ends + skew or ends - begins > lasting:
            raise JwtInvalid("expired")


def _operator(claims: dict[str, Any]) -> Operator:
    subject, issuer, sid = claims.get("sub"), claims.get("provider"), claims.get("sid")
    groups = claims.get("groups", [])
    if not (isinstance(subject, str) and isinstance(issuer, str) and isinstance(sid, str) and isinstance(groups, list)):
        raise JwtInvalid("malformed")
    email = _text(claims.get("email"))
    identity = Identity(
        issuer=issuer, subject=subject, email=email, email_verified=email is not None, name=_text(claims.get("name")),
        preferred_username=_text(claims.get("preferred_username")), groups=tuple(map(str, groups)),
    )  # fmt: skip
    return Operator(identity=identity, sid=sid)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
