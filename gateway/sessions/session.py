"""One session: a person signed in to one app under one host, and the clocks that end it.

Pure. Two clocks: the idle timeout, which requests extend (Redis has it, as the key's TTL), and the lifetime, which nothing
extends.
Stored as JSON of one version; a document that misses a field, or has another type in one, is no session (C-51).

During an upgrade, workers of two releases read what either wrote. So a field that is added later, here or in `Identity`, has a
default, which is its closed meaning ("not verified"), and is left out where it has the default; an unknown field is passed over.
A field that restricts a session needs another version: a worker that does not know it must not serve the session.
A release that writes a session anew, as a token refresh does, writes the fields that it knows.
"""

import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from gateway.config.sections.openid import DEFAULT_PROVIDER
from gateway.identity.claims import Identity
from gateway.sessions.user_agent import MAX_USER_AGENT

VERSION: Final[Literal[1]] = 1
MAX_ENCODED: Final = 256 * 1024  # three tokens and 500 groups fit many times over
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_Microseconds = Annotated[int, Meta(ge=0, le=253_402_300_799_000_000)]  # up to the year 9999


class Session(Struct, frozen=True, kw_only=True, gc=False):
    """`key_host` is the host that issued it, `sid` a random public handle, not derived from the cookie's value.

    `access_expires_at` and `access_lifetime` are the access token's, for its refresh; None: there is no refresh token.
    `userinfo_told` lists, separated by blanks, the mapped claims (`groups`, `email`, `name`, `preferred_username`) of `id_token` that userinfo
    had at least once since that token came: a claim that userinfo leaves out later is gone, also when the ID Token has it.
    `dpop_key` is the private JWK that the access token is bound to (RFC 9449), for its refresh.
    `provider` names the provider in the configuration. `address` and `user_agent` are the client's at the sign-in. Tokens stay out of `repr`,
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
    id_token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    access_expires_at: datetime | None = None
    access_lifetime: timedelta | None = None
    address: str | None = None
    provider: str = DEFAULT_PROVIDER
    userinfo_told: str = ""
    dpop_key: str | None = None
    user_agent: str | None = None

    def __repr__(self) -> str:
        return f"Session({self.sid!r}, {self.app!r}, {self.identity!r})"

    @property
    def expires_at(self) -> datetime:
        """The end of the lifetime."""
        return self.created_at + self.lifetime

    def remaining(self, now: datetime) -> timedelta:
        """What is left of the lifetime; zero or less when it is over."""
        # SECURITY: a clock that was set back must not lend a session more than its lifetime (C-46).
        return min(self.lifetime, self.expires_at - now)

    def ttl(self, now: datetime) -> timedelta:
        """How long it lives from `now` without another request."""
        return min(self.idle, self.remaining(now))


class _Stored(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The stored form. Moments and durations are whole microseconds, moments since 1970."""

    v: Literal[1]
    host: str
    app: str
    sid: str
    identity: Identity
    provider_sid: str | None
    auth_time: _Microseconds | None
    acr: str | None
    created_at: _Microseconds
    idle: _Microseconds
    lifetime: _Microseconds
    id_token: str | None
    access_token: str | None
    refresh_token: str | None
    access_expires_at: _Microseconds | None = None
    access_lifetime: _Microseconds | None = None
    address: str | None = None
    provider: str = DEFAULT_PROVIDER
    userinfo_told: str = ""
    dpop_key: str | None = None
    user_agent: Any = None  # nothing depends on it, so a value of another type is none, and the session stays one

    def __repr__(self) -> str:
        return f"_Stored({self.sid!r}, {self.app!r})"  # no tokens in tracebacks (C-48)


# SECURITY: only JSON of this shape: never pickle, no other version, no field missing or of another type, no number that is no integer (C-51).
_read: Final = msgspec.json.Decoder(_Stored).decode


def encode(session: Session) -> bytes:
    """The stored form. Raises ValueError when it is larger than MAX_ENCODED."""
    stored = _Stored(
        v=VERSION,
        host=session.key_host,
        app=session.app,
        sid=session.sid,
        identity=session.identity,
        provider_sid=session.provider_sid,
        auth_time=_since_epoch(session.auth_time),
        acr=session.acr,
        created_at=(session.created_at - _EPOCH) // _MICROSECOND,
        idle=session.idle // _MICROSECOND,
        lifetime=session.lifetime // _MICROSECOND,
        id_token=session.id_token,
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        access_expires_at=_since_epoch(session.access_expires_at),
        access_lifetime=None if session.access_lifetime is None else session.access_lifetime // _MICROSECOND,
        address=session.address,
        provider=session.provider,
        userinfo_told=session.userinfo_told,
        dpop_key=session.dpop_key,
        user_agent=session.user_agent,
    )
    encoded = msgspec.json.encode(stored)
    if len(encoded) > MAX_ENCODED:
        raise ValueError("the session is too large to be stored")
    return encoded


def _since_epoch(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def decode(encoded: bytes, *, tokens: bool = True) -> Session:
    """The session in a stored form. Raises ValueError for bytes that `encode` of this version, in this release or another, did not write.

    `tokens=False` leaves the tokens out, to save memory: they are needed to end a session or to refresh it, and then the record is read.
    """
    if len(encoded) > MAX_ENCODED:
        raise ValueError("too large")
    try:
        stored = _read(encoded)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error  # in a field that is unknown
    expires_at, lifetime, agent = stored.access_expires_at, stored.access_lifetime, stored.user_agent
    if stored.refresh_token is None:
        expires_at = lifetime = None
    return Session(
        key_host=sys.intern(stored.host),  # many sessions share one text in memory
        app=sys.intern(stored.app),
        sid=stored.sid,
        identity=_shared(stored.identity),
        provider_sid=stored.provider_sid,
        auth_time=None if stored.auth_time is None else _EPOCH + timedelta(microseconds=stored.auth_time),
        acr=stored.acr,
        created_at=_EPOCH + timedelta(microseconds=stored.created_at),
        idle=_duration(stored.idle),
        lifetime=_duration(stored.lifetime),
        id_token=stored.id_token if tokens else None,
        access_token=stored.access_token if tokens else None,
        refresh_token=stored.refresh_token if tokens else None,
        access_expires_at=None if expires_at is None else _EPOCH + timedelta(microseconds=expires_at),
        access_lifetime=None if lifetime is None else _duration(lifetime),
        address=None if stored.address is None else sys.intern(stored.address),
        provider=sys.intern(stored.provider),
        userinfo_told=sys.intern(stored.userinfo_told),
        dpop_key=stored.dpop_key if tokens else None,
        user_agent=sys.intern(agent) if type(agent) is str and len(agent) <= MAX_USER_AGENT else None,
    )


def _shared(person: Identity) -> Identity:
    """The same identity, sharing equal texts with other identities in memory."""
    return replace(
        person,
        issuer=sys.intern(person.issuer),
        groups=_same(person.groups),
        directory=person.directory or _NOTHING,
    )


@lru_cache(1024)
def _same(groups: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(sys.intern, groups))


_NOTHING: Final[dict[str, str]] = {}  # never changed: an Identity is frozen


@lru_cache(256)
def _duration(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)
