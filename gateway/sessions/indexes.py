"""Which sessions a person has, and which began in one session at the provider: sorted sets of record keys, scored by when they end.

A set's name is a keyed hash of what it is about: a dump of Redis names nobody (C-48). It is written under the ring's first key and read
under all of them, so that a set outlives a change of keys. An entry proves nothing: the session may be over, the record alone says so.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session

_CLOCKS_DIFFER: Final = timedelta(hours=1)  # entries are kept this much longer: another gateway's clock may lag


class Indexes:
    """`sub:<mark>` and `psid:<mark>` under the prefix. `pipe` is a pipeline of redis-py that somebody else executes."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("index")
        self._prefix = prefix

    def of_person(self, issuer: str, subject: str) -> list[str]:
        """The set's name under each key of the ring, the one to write first."""
        return self.names("sub", issuer, subject)

    def of_provider_session(self, issuer: str, provider_sid: str) -> list[str]:
        return self.names("psid", issuer, provider_sid)

    def names(self, kind: str, *about: str) -> list[str]:
        return [f"{self._prefix}{kind}:{mark}" for mark in self._ring.marks((kind, *about))]

    def add(self, pipe: Any, key: str, session: Session, now: datetime) -> None:
        """Enter a session; entries of sessions that are over for sure go."""
        life = session.lifetime + _CLOCKS_DIFFER
        for name, *_ in self._sets(session):
            pipe.zremrangebyscore(name, "-inf", (now - _CLOCKS_DIFFER).timestamp())
            pipe.zadd(name, {key: session.expires_at.timestamp()})
            pipe.pexpire(name, life, nx=True)
            pipe.pexpire(name, life, gt=True)

    def remove(self, pipe: Any, key: str, session: Session) -> None:
        for names in self._sets(session):
            for name in names:
                pipe.zrem(name, key)

    def _sets(self, session: Session) -> list[list[str]]:
        issuer = session.identity.issuer
        sets = [self.of_person(issuer, session.identity.subject)]
        if session.provider_sid is not None:
            sets.append(self.of_provider_session(issuer, session.provider_sid))
        return sets
