"""Kept forms in Redis: sealed, one for each ended session, for fifteen minutes, and bounded for the fleet.

Keys under the prefix: `form:<hash of token>` the form; `forms` a hash with the bytes that were taken in each minute. The token is the value
of the browser's cookie; it is a keyed hash of the ended session, so that a session has one.
"""

import base64
import hashlib
import json
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.gate.site import AppRoute
from gateway.held_forms.form import Form, NotKept
from gateway.redis_client.client import Operations, RedisClient
from gateway.sessions.keyring import KeyRing
from gateway.sessions.owners import Owner

LIFE: Final = timedelta(minutes=15)
ROOM: Final = 64 * 1024 * 1024  # bytes of all kept forms of a fleet
_TOKEN: Final = re.compile(r"[0-9a-f]{64}")
# KEYS: the hash. ARGV: the bytes to take, the room, the minutes that a form lives. 1: they are taken; 0: there is no room. A form that was sent
# counts until its minutes are over, so the sum is never too small.
_TAKE: Final = """
local minute = math.floor(redis.call('TIME')[1] / 60)
local sum, taken = tonumber(ARGV[1]), redis.call('HGETALL', KEYS[1])
for i = 1, #taken, 2 do
  if math.abs(minute - tonumber(taken[i])) > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], taken[i])
  else sum = sum + tonumber(taken[i + 1]) end
end
if sum > tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], string.format('%.0f', minute), ARGV[1])
redis.call('PEXPIRE', KEYS[1], (tonumber(ARGV[3]) + 1) * 60000)
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldForm:
    """A kept form and whose it is."""

    form: Form
    owner: Owner


class HeldForms:
    """All methods raise StoreUnavailable. `room` is in bytes."""

    def __init__(self, redis: RedisClient, ring: KeyRing, prefix: str, room: int = ROOM) -> None:
        self._redis = redis
        self._ring = ring.purpose("held form")
        self._prefix = f"{prefix}form:"
        self._taken = f"{prefix}forms"
        self._room = room
        self._operations = Operations(redis, "held_form")

    def token_of(self, session_key: str) -> str:
        """The token of an ended session: 64 hexadecimal digits that only this fleet can make."""
        return self._ring.marks(("held form", session_key))[0]

    async def keep(self, token: str, held: HeldForm, route: AppRoute) -> None:
        """Keep the form. A later version of a form for the same address takes the place of the one before. Raises NotKept."""
        sealed = self._ring.seal(_encode(held), self._context(token, route))
        # SECURITY: forms that are never fetched must not fill Redis, where all sessions are (C-81).
        take: Awaitable[Any] = self._redis.eval(
            _TAKE, 1, self._taken, str(len(sealed)), str(self._room), str(LIFE // timedelta(minutes=1) + 1)
        )
        if not await self._operations.run(take):
            raise NotKept("no_room")
        name = self._name(token)
        if await self._operations.run(self._redis.set(name, sealed, nx=True, px=LIFE)):
            return
        before = await self.find(token, route)
        if before is not None and before.form.target != held.form.target:
            raise NotKept("another_form")
        await self._operations.run(self._redis.set(name, sealed, px=LIFE))

    async def find(self, token: str, route: AppRoute) -> HeldForm | None:
        """The form of a token at this host and app."""
        if not _TOKEN.fullmatch(token):
            return None
        sealed = await self._operations.run(self._redis.get(self._name(token)))
        if not isinstance(sealed, bytes):
            return None
        try:
            # SECURITY: a record that is copied to another key, or read under another host or app, does not open (C-81).
            return _decode(self._ring.open(sealed, self._context(token, route)))
        except (ValueError, KeyError, TypeError):
            return None

    async def take(self, token: str) -> bool:
        """Use the form up. False: it was used before, or is gone."""
        # SECURITY: of two clicks, in any two workers, one sends the form (C-81).
        return bool(await self._operations.run(self._redis.delete(self._name(token))))

    def _name(self, token: str) -> str:
        return self._prefix + hashlib.sha256(token.encode()).hexdigest()

    def _context(self, token: str, route: AppRoute) -> tuple[str, ...]:
        return ("held form", self._name(token), route.host, route.name)


def _encode(held: HeldForm) -> bytes:
    document = {
        "issuer": held.owner.issuer,
        "subject": held.owner.subject,
        "sid": held.owner.sid,
        "target": held.form.target,
        "body": base64.b64encode(held.form.body).decode(),
    }
    return json.dumps(document).encode()


def _decode(plain: bytes) -> HeldForm:
    """Raises ValueError, KeyError, TypeError."""
    document = json.loads(plain)
    owner = Owner(issuer=document["issuer"], subject=document["subject"], sid=document["sid"])
    form = Form(target=document["target"], body=base64.b64decode(document["body"], validate=True))
    return HeldForm(form=form, owner=owner)
