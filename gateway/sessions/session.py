"""One session: a person signed in to one app under one host, and the clocks that end it.

Pure. Two clocks: the idle timeout, which requests push ahead (Redis keeps it, as the key's TTL), and the lifetime,
which nothing pushes.
Stored as JSON of exactly the known fields; anything else is not a session (C-51). Fields of later releases are optional
and left out where they say nothing, so that old records are read by new workers.
"""

import json
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from gateway.config.openid import DEFAULT_PROVIDER
from gateway.identity import Identity

VERSION: Final = 1
MAX_ENCODED: Final = 256 * 1024  # three tokens and 500 groups fit many times over
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIELDS: Final = frozenset(
    {"v", "host", "app", "sid", "identity", "provider_sid", "auth_time", "acr"}
    | {"created_at", "idle", "lifetime", "id_token", "access_token", "refresh_token"}
)
_ADDED: Final = frozenset({"access_expires_at", "access_lifetime", "address", "provider"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """`key_host` is the host that issued it, `sid` a random public handle, not derived from the cookie's value.

    `access_expires_at` and `access_lifetime` are the access token's; None: nobody said, or nobody needs to know.
    `provider` names the provider in the configuration. `address` is the client's at the sign-in. Tokens stay out of `repr`,
    and so out of tracebacks (C-48).
    """

    key_host: str
    app: str
    sid: str
    identity: Identity
    provider_sid: str | None
    auth_time: datetime | None
    acr: str | None
    created_at: datetime
    idle: timedelta
    lifetime: timedelta
    id_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    access_expires_at: datetime | None = None
    access_lifetime: timedelta | None = None
    address: str | None = None
    provider: str = DEFAULT_PROVIDER

    def without_tokens(self) -> "Session":
        """For memory: what nobody asks of a session but to end it or to refresh it, and then of the record."""
        return replace(self, id_token=None, access_token=None, refresh_token=None)

    @property
    def expires_at(self) -> datetime:
        """The end of the lifetime."""
        return self.created_at + self.lifetime

    def remaining(self, now: datetime) -> timedelta:
        """What is left of the lifetime; zero or less when it is over."""
        # SECURITY: a clock that was set back must not lend a session more than its lifetime (C-46).
        return min(self.lifetime, self.expires_at - now)

    def ttl(self, now: datetime) -> timedelta:
        """How long it lives from `now` if nothing more is asked of it."""
        return min(self.idle, self.remaining(now))


def encode(session: Session) -> bytes:
    """Raises ValueError when it is larger than MAX_ENCODED."""
    document = {
        "v": VERSION,
        "host": session.key_host,
        "app": session.app,
        "sid": session.sid,
        "identity": session.identity.to_json(),
        "provider_sid": session.provider_sid,
        "auth_time": None if session.auth_time is None else (session.auth_time - _EPOCH) // _MICROSECOND,
        "acr": session.acr,
        "created_at": (session.created_at - _EPOCH) // _MICROSECOND,
        "idle": session.idle // _MICROSECOND,
        "lifetime": session.lifetime // _MICROSECOND,
        "id_token": session.id_token,
        "access_token": session.access_token,
        "refresh_token": session.refresh_token,
    }
    if session.access_expires_at is not None:
        document["access_expires_at"] = (session.access_expires_at - _EPOCH) // _MICROSECOND
    if session.access_lifetime is not None:
        document["access_lifetime"] = session.access_lifetime // _MICROSECOND
    if session.provider != DEFAULT_PROVIDER:
        document["provider"] = session.provider
    if session.address is not None:
        document["address"] = session.address
    encoded = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    if len(encoded) > MAX_ENCODED:
        raise ValueError("the session is too large to be stored")
    return encoded


def decode(encoded: bytes) -> Session:
    """Raises ValueError for whatever `encode` of this version did not write."""
    # SECURITY: only JSON of this very shape: never pickle, no unknown version or field, no number that is no integer (C-51).
    if len(encoded) > MAX_ENCODED:
        raise ValueError("too large")
    try:
        document = json.loads(encoded)
        if not isinstance(document, dict) or document.keys() - _ADDED != _FIELDS or document["v"] is not VERSION:
            raise ValueError("not a session of this version")
        return _session(document)
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("not a session") from error


def _session(document: dict[str, Any]) -> Session:
    return Session(
        key_host=sys.intern(_text(document["host"])),  # equal texts of many sessions are one in memory
        app=sys.intern(_text(document["app"])),
        sid=_text(document["sid"]),
        identity=Identity.from_json(document["identity"]),
        provider_sid=_maybe_text(document["provider_sid"]),
        auth_time=_maybe_time(document["auth_time"]),
        acr=_maybe_text(document["acr"]),
        created_at=_EPOCH + _microseconds(document["created_at"]),
        idle=_duration(document["idle"]),
        lifetime=_duration(document["lifetime"]),
        id_token=_maybe_text(document["id_token"]),
        access_token=_maybe_text(document["access_token"]),
        refresh_token=_maybe_text(document["refresh_token"]),
        access_expires_at=_maybe_time(document.get("access_expires_at")),
        access_lifetime=_microseconds(document["access_lifetime"]) if "access_lifetime" in document else None,
        address=None if document.get("address") is None else sys.intern(_text(document["address"])),
        provider=sys.intern(_text(document.get("provider", DEFAULT_PROVIDER))),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _maybe_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _maybe_time(value: object) -> datetime | None:
    return None if value is None else _EPOCH + _microseconds(value)


@lru_cache(256)
def _duration(value: object) -> timedelta:
    return _microseconds(value)


def _microseconds(value: object) -> timedelta:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a time")
    return timedelta(microseconds=value)
