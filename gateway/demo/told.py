"""What the gateway told an application: the identity headers of one request, read as an application would read them.

Pure. The samples believe these headers because only the gateway is meant to reach them (they listen on loopback, on a
port of their own); an application on an open network checks the assertion's signature against
`/.well-known/doorward/jwks.json`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from joserfc.util import urlsafe_b64decode

IDENTITY = (
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Name",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Groups",
)
ASSERTION = "X-Doorward-Jwt-Assertion"
REQUEST = (
    "X-Request-Id",
    "Traceparent",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Real-Ip",
)
_EXPLAINED = {
    "iss": "who says so",
    "aud": "for which app",
    "sub": "the person, at the provider",
    "sid": "the session's public handle",
    "iat": "said at",
    "exp": "good until",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Header values after percent-decoding; absent headers are absent here, never empty strings."""

    identity: dict[str, str]
    groups: tuple[str, ...]
    claims: dict[str, str]
    request: dict[str, str]
    extra: dict[str, str]
    cookies: tuple[str, ...]

    @property
    def user(self) -> str | None:
        return self.identity.get("X-Forwarded-User")

    @property
    def email(self) -> str | None:
        return self.identity.get("X-Forwarded-Email")

    @property
    def name(self) -> str | None:
        return self.identity.get("X-Forwarded-Name")

    @property
    def request_id(self) -> str:
        return self.request.get("X-Request-Id", "")


def read_told(headers: Mapping[str, str], cookies: Iterable[str] = ()) -> Told:
    """Sorts the header fields of a request into what the panel shows."""
    known = {name.lower() for name in (*IDENTITY, ASSERTION, *REQUEST)}
    extra = {
        name: unquote(value)
        for name, value in headers.items()
        if name.lower() not in known and name.lower().startswith("x-")
    }
    groups = headers.get("X-Forwarded-Groups", "")
    return Told(
        identity={name: unquote(headers[name]) for name in IDENTITY if name in headers},
        groups=tuple(unquote(group) for group in groups.split(",") if group),
        claims=read_claims(headers.get(ASSERTION, "")),
        request={name: headers[name] for name in REQUEST if name in headers},
        extra=extra,
        cookies=tuple(sorted(cookies)),
    )


def read_claims(assertion: str) -> dict[str, str]:
    """The payload of a compact JWT for display, without a check of its signature; empty when it is none."""
    try:
        payload = assertion.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload.encode()))
    except (IndexError, ValueError):
        return {}
    return {name: _shown(name, value) for name, value in claims.items()} if isinstance(claims, dict) else {}


def explained(claim: str) -> str:
    """A few words on a registered claim, or nothing."""
    return _EXPLAINED.get(claim, "")


def _shown(name: str, value: Any) -> str:
    if name in ("exp", "iat", "nbf", "auth_time") and isinstance(value, int) and 0 <= value < 1 << 34:
        return datetime.fromtimestamp(value, UTC).strftime("%H:%M:%S UTC")
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return str(value)
