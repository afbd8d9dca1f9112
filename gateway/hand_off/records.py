"""The hand-offs of a session: their times, the bearer token, the links that its browser may follow once.

A record is sealed like the session itself and bound to its key, host and app. It expires with the session, and a day after the
last hand-off unless a bearer token is valid for longer; a lost record costs one more hand-off. It is written only under the lease
of `broker`. Keys under the prefix: `handed:<session key>`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from redis.asyncio import Redis

from gateway.hand_off.redirects import with_language, without_language
from gateway.policy.bodies import name_of, read_query
from gateway.policy.paths import Target
from gateway.policy.readings import EVERY
from gateway.policy.routes import parse_match
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


class RedeemingRoute:
    """The route that redeems a token. `parameter` is the query parameter with the token; empty when the token stands elsewhere."""

    def __init__(self, template: str) -> None:
        path, _, query = template.partition("?")
        self._route = parse_match(f"* {_PLACEHOLDER.sub('*', without_language(path.lower()))}")
        named = [name for name, value in parse_qsl(query) if value == "{token}"]
        self.parameter: Final = named[0] if len(named) == 1 else ""

    def holds(self, target: Target) -> bool:
        """Whether an upstream could read this as the request that redeems a token."""
        readings = tuple(EVERY.read(target).paths)
        if not any(self._route.lenient.fullmatch(path) for path in with_language(readings)):
            return False
        return not self.parameter or any(name == name_of(self.parameter) for name, _ in read_query(target.query))

    def token_of(self, target: Target) -> str | None:
        """The token of a target; None when it is missing or repeated."""
        pairs = parse_qsl((target.query or b"").decode("ascii"), max_num_fields=200)
        found = [value for name, value in pairs if name == self.parameter]
        return found[0] if len(found) == 1 else None


_LONGEST: Final = 64 * 1024
_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_LINKS: Final = 8
_ENOUGH: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A bearer token for the upstream, and its expiry (seconds since 1970)."""

    token: str = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffRecord:
    """`began` and `ended` are seconds since 1970; `links` are hashes of tokens in links that may still be followed, one for each tab.

    `paths` are the paths of the session cookies that were set, by name: a sign-out deletes them. `opened` are the cookies of the newest upstream
    session, `name=value`: a browser that signs out before it received them cannot send them.
    """

    began: tuple[float, ...] = ()
    ended: float = 0.0
    bearer: Bearer | None = None
    links: tuple[str, ...] = ()
    paths: dict[str, str] = field(default_factory=dict)
    opened: tuple[str, ...] = field(default=(), repr=False)

    def recent(self, now: datetime, within: timedelta) -> tuple[float, ...]:
        """The hand-offs that began in the last `within`."""
        since = (now - within).timestamp()
        return tuple(time for time in self.began if time > since)

    def with_link(self, link: str) -> "HandOffRecord":
        """With one more link; the newest eight are kept."""
        return replace(self, links=(*self.links, link)[-_MOST_LINKS:])

    def without_link(self, link: str) -> "HandOffRecord":
        """The same record when there is no such link."""
        return replace(self, links=tuple(one for one in self.links if one != link)) if link in self.links else self

    def with_start(self, now: datetime, within: timedelta) -> "HandOffRecord":
        """With a hand-off that begins now, and without those before the last `within`."""
        return replace(self, began=(*self.recent(now, within), now.timestamp()))


class HandOffRecords:
    """All methods raise StoreUnavailable. A record that is missing, or cannot be unsealed, reads as an empty one."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str, now: Callable[[], datetime]) -> None:
        self._redis = redis
        self._now = now
        self._ring = ring.purpose("hand-off")
        self._prefix = f"{prefix}handed:"
        self._operations = Operations(redis, "hand_off")

    async def read(self, session: LiveSession) -> HandOffRecord:
        sealed = await self._operations.run(self._redis.get(self._prefix + session.key))
        if not isinstance(sealed, bytes) or len(sealed) > _LONGEST:
            return HandOffRecord()
        try:
            return _decode(self._ring.open(sealed, self._context(session)))
        except (ValueError, TypeError, KeyError):
            return HandOffRecord()

    async def write(self, session: LiveSession, record: HandOffRecord) -> None:
        sealed = self._ring.seal(_encode(record), self._context(session))
        now = self._now()
        wanted = (
            _ENOUGH if record.bearer is None else max(_ENOUGH, timedelta(seconds=record.bearer.until - now.timestamp()))
        )
        life = max(min(session.session.remaining(now), wanted), _MILLISECOND)
        await self._operations.run(self._redis.set(self._prefix + session.key, sealed, px=life // _MILLISECOND))

    async def forget(self, session: LiveSession) -> None:
        await self._operations.run(self._redis.delete(self._prefix + session.key))

    def _context(self, session: LiveSession) -> tuple[str, ...]:
        # SECURITY: a record copied under another session's key does not open (C-08, C-43).
        return ("1", session.key, session.host, session.session.app)


def _encode(record: HandOffRecord) -> bytes:
    bearer = record.bearer
    document = {
        "began": record.began,
        "ended": record.ended,
        "bearer": None if bearer is None else [bearer.token, bearer.until],
        "links": record.links,
        "paths": record.paths,
        "opened": record.opened,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _decode(data: bytes) -> HandOffRecord:
    document = json.loads(data)
    bearer = document["bearer"]
    return HandOffRecord(
        began=tuple(float(time) for time in document["began"]),
        ended=float(document["ended"]),
        bearer=None if bearer is None else Bearer(token=str(bearer[0]), until=float(bearer[1])),
        links=tuple(str(link) for link in document["links"]),
        paths=dict(document["paths"]),
        opened=tuple(str(pair) for pair in document.get("opened", ())),  # earlier releases did not write it
    )
