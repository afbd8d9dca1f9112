"""People whose tokens an operator ended: a token that was issued before is refused in every worker, until it would have expired anyway.

A signed token cannot be taken back where it was made, so what ends it is a mark in Redis. A mark's name is a keyed hash, as that of a person's
sessions: a dump of Redis names no person (C-48).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.identity.claims import Identity
from gateway.redis_client.client import Operations, values_of
from gateway.sessions.keyring import KeyRing

KEPT: Final = timedelta(days=90)
_EVERY_APP: Final = ""
_MILLISECOND: Final = timedelta(milliseconds=1)


class EndedTokens:
    """Keys `tokens-ended:<hash>` under the prefix, each with the moment in seconds since 1970. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self.prefix: Final = f"{prefix}tokens-ended:"
        self._redis = redis
        self._ring = ring.purpose("ended tokens")
        self._operations = Operations(redis, "ended_tokens")

    async def write(
        self,
        now: datetime,
        *,
        emails: Iterable[str] = (),
        issuer: str | None = None,
        subject: str | None = None,
        apps: Iterable[str] = (),
    ) -> None:
        """End the tokens of people with one of these addresses, or with this subject (at one issuer, or at any).

        In these apps; none: in all.
        """
        about: list[tuple[str, ...]] = [("email", email.casefold()) for email in emails]
        if subject is not None:
            about.append(("subject", issuer or "", subject))
        for app in tuple(apps) or (_EVERY_APP,):
            for parts in about:
                name = self._names(app, parts)[0]
                moment = str(now.timestamp()).encode()
                await self._operations.run(self._redis.set(name, moment, px=KEPT // _MILLISECOND))

    async def covers(self, identity: Identity, app: str, issued_at: float | None) -> bool:
        """Whether a token of this person was ended. One that does not say when it was issued is, while there is a mark."""
        names = [name for parts in _about(identity) for of in (_EVERY_APP, app) for name in self._names(of, parts)]
        moments = await self._operations.run(self._read(names))
        # SECURITY: by whole seconds, as tokens have them: one of the same second may be from before (D-35).
        return any(issued_at is None or issued_at <= moment for moment in moments)

    def _names(self, app: str, parts: tuple[str, ...]) -> list[str]:
        return [self.prefix + mark for mark in self._ring.marks((app, *parts))]

    async def _read(self, names: list[str]) -> list[float]:
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        replies: list[Any] = values_of(await pipe.execute(raise_on_error=False))
        return [_moment(reply) for reply in replies if reply is not None]


def _about(identity: Identity) -> Iterator[tuple[str, ...]]:
    yield "subject", identity.issuer, identity.subject
    yield "subject", "", identity.subject
    if identity.email is not None:
        yield "email", identity.email.casefold()


def _moment(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")  # not ours: what cannot be read ends more, never less
