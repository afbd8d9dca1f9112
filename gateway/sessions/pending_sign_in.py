"""Sign-ins that are finished at the provider and wait for their account: stored encrypted, found by the token in the browser's cookie.

The invariant: a pending sign-in is no session. It has Redis keys and a sealing key of its own and is bound to the host; only the browser
that signed in has the token.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing
from gateway.sessions.session import Session, decode, encode

LIFE: Final = timedelta(minutes=15)
_LARGEST: Final = 512 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSignIn:
    """`session` has everything but the directory's facts; `issued_at` is the ID Token's `iat`, `return_to` a local path. It waits since
    `began`; `begun` is that of its LoginAttempt.
    """

    session: Session
    claims: Mapping[str, Any] = field(repr=False)
    issued_at: int
    return_to: str
    began: datetime
    begun: float | None = None


class PendingSignIns:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, prefix: str, ring: KeyRing) -> None:
        self._redis = redis
        self._prefix = f"{prefix}pending:"
        self._ring = ring.purpose("pending sign-in")
        self._operations = Operations(redis, "pending_sign_in")

    async def keep(self, waiting: PendingSignIn) -> str:
        """Store it; the new token. Raises ValueError when it is too large."""
        document = {
            "session": encode(waiting.session).decode(),
            "claims": dict(waiting.claims),
            "issued_at": waiting.issued_at,
            "return_to": waiting.return_to,
            "began": waiting.began.timestamp(),
            "begun": waiting.begun,
        }
        plain = json.dumps(document).encode()
        if len(plain) > _LARGEST:
            raise ValueError("the sign-in is too large to be stored")
        token = secrets.token_urlsafe(32)
        sealed = self._ring.seal(plain, self._context(token, waiting.session.key_host))
        await self._operations.run(self._redis.set(self._name(token), sealed, px=LIFE))
        return token

    async def find(self, token: str, host: str) -> PendingSignIn | None:
        """The pending sign-in of a token at this host; None where there is none."""
        if not _TOKEN.fullmatch(token):
            return None
        sealed = await self._operations.run(self._redis.get(self._name(token)))
        if not isinstance(sealed, bytes):
            return None
        try:
            # SECURITY: a record that is copied to another key, or read under another host, does not open (C-09).
            document = json.loads(self._ring.open(sealed, self._context(token, host)))
            return PendingSignIn(
                session=decode(document["session"].encode()),
                claims=document["claims"],
                issued_at=document["issued_at"],
                return_to=document["return_to"],
                began=datetime.fromtimestamp(document["began"], UTC),
                begun=document.get("begun"),  # an earlier release left it out
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    async def drop(self, token: str) -> None:
        """Delete it; no effect where there is none."""
        await self._operations.run(self._redis.delete(self._name(token)))

    def _name(self, token: str) -> str:
        return self._prefix + hashlib.sha256(token.encode()).hexdigest()

    def _context(self, token: str, host: str) -> tuple[str, ...]:
        return ("pending", self._name(token), host)
