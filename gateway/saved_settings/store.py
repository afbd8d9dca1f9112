"""The record of saved settings in Redis: one key, sealed, written only in place of what was read.

The value is the revision in digits, a colon, and the sealed record. The seal binds the key's name and the revision.
"""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.redis_client.client import Operations
from gateway.saved_settings.record import SettingsRecord, decode, encode
from gateway.sessions.keyring import KeyRing

_LARGEST: Final = 1024 * 1024
_ONCE: Final = timedelta(days=1)
#: Of a value of another type, or one that is too large, only the beginning is compared: it is not ours and may go.
_SWAP: Final = """
local seen = ''
if redis.call('type', KEYS[1]).ok == 'string' then seen = redis.call('getrange', KEYS[1], 0, ARGV[3]) end
if seen ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2])
return 1
"""


class SettingsStore:
    """The key `settings:record` under the prefix; `prefix` is where changes of it are announced."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self.prefix: Final = f"{prefix}settings:"
        self._name: Final = f"{self.prefix}record"
        self._redis = redis
        self._ring = ring.purpose("settings")
        self._operations = Operations(redis, "settings")

    async def read(self) -> bytes:
        """The value; empty where there is none, or one that is not ours. Raises StoreUnavailable."""
        return await self._operations.run(self._read())

    async def _read(self) -> bytes:
        try:
            value = await self._redis.getrange(self._name, 0, _LARGEST)  # bounded: a foreign value may be of any size
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return b""
            raise
        return value if isinstance(value, bytes) else value.encode()

    async def swap(self, before: bytes, value: bytes) -> bool:
        """Put `value` in the place of `before`; False when something else is there. Raises StoreUnavailable."""
        # SECURITY: of two people who save at once, the second must see what the first one changed (C-99).
        script: Awaitable[Any] = self._redis.eval(_SWAP, 1, self._name, before, value, str(_LARGEST))
        return bool(await self._operations.run(script))

    async def first(self, name: str) -> bool:
        """Whether this is the first call for `name` in the fleet within a day. Raises StoreUnavailable."""
        answer = self._redis.set(f"{self.prefix}told:{name}", b"told", nx=True, px=_ONCE)
        return bool(await self._operations.run(answer))

    def seal(self, record: SettingsRecord) -> bytes:
        """The value of a record."""
        return b"%d:%s" % (record.revision, self._ring.seal(encode(record), self._context(record.revision)))

    def open(self, value: bytes) -> SettingsRecord:
        """The record of a value. Raises ValueError for one that was altered, or sealed for another place."""
        digits, _, sealed = value.partition(b":")
        if not digits.isdigit() or len(digits) > 18:
            raise ValueError("not a record of settings")
        record = decode(self._ring.open(sealed, self._context(int(digits))))
        if record.revision != int(digits):
            raise ValueError("the record of another revision")
        return record

    def needs_new_seal(self, value: bytes) -> bool:
        """Whether another key than the ring's first one sealed it."""
        return not self._ring.is_first(value.partition(b":")[2])

    def _context(self, revision: int) -> tuple[str, ...]:
        # SECURITY: what was sealed for another key or another revision, or altered, changes no setting (C-96).
        return ("settings", self._name, str(revision))
