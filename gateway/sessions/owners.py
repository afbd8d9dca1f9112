"""The person of a session that may have ended: what its browser sends afterwards is not a stranger's.

A session that ends by its idle timeout leaves Redis without a trace, so this is written when it begins. It opens nothing: the person has to sign
in again.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session

_AFTER: Final = timedelta(days=1)  # beyond the session's lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The person, by the provider's names, and the session's public handle."""

    issuer: str
    subject: str
    sid: str


class SessionOwners:
    """Records `owner:<session key>` under the prefix, sealed, bound to the session's key, host and app."""

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._ring = ring.purpose("session owner")
        self._prefix = f"{prefix}owner:"

    def name(self, key: str) -> str:
        return self._prefix + key

    def seal(self, key: str, session: Session) -> bytes:
        who = session.identity
        plain = json.dumps([who.issuer, who.subject, session.sid]).encode()
        return self._ring.seal(plain, self._context(key, session.key_host, session.app))

    def life(self, session: Session, now: datetime) -> timedelta:
        """How long the record lives from `now`."""
        return max(session.remaining(now), timedelta()) + _AFTER

    def open(self, record: object, key: str, host: str, app: str) -> Owner | None:
        """The owner; None for a record that is missing, or that was not sealed for this session, host and app."""
        if not isinstance(record, bytes):
            return None
        try:
            # SECURITY: a session of another host or app has no owner here (C-08).
            issuer, subject, sid = json.loads(self._ring.open(record, self._context(key, host, app)))
        except (ValueError, TypeError):
            return None
        return Owner(issuer=issuer, subject=subject, sid=sid)

    def _context(self, key: str, host: str, app: str) -> tuple[str, ...]:
        return ("owner", self.name(key), host, app)
