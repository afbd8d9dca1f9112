"""Login tests: a sign-in that issues no session, begun by an operator, and its story. Both are sealed, and end after ten minutes.

The link has a token; everything in Redis is found by its hash, `id`. Keys under the prefix: `login-test:<id>` the test, `login-test-story:<id>`
its story, `login-test-browser:<id>` the browser that opened the link first, `login-test-begun:<id>` whether its sign-in has begun.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

LIFE: Final = timedelta(minutes=10)
_LARGEST: Final = 512 * 1024
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginTest:
    """`page` is the path whose decision is asked for, `owner` a text that names who began it. `overlay` has settings of the provider, as a file
    writes them, that take the place of the running gateway's.
    """

    app: str
    host: str
    provider: str
    page: str
    owner: str
    overlay: Mapping[str, Any] = field(default_factory=dict, repr=False)


class LoginTests:
    """All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, prefix: str, ring: KeyRing) -> None:
        self._redis = redis
        self._prefix = f"{prefix}login-test"
        self._ring = ring.purpose("login test")
        self._operations = Operations(redis, "login_test")

    @staticmethod
    def id_of(token: str) -> str:
        """The test's id: 64 hexadecimal digits, from which the token does not follow."""
        return hashlib.sha256(token.encode()).hexdigest()

    async def keep(self, test: LoginTest) -> str:
        """Store a test; the token of its link. Raises ValueError when it is too large."""
        token = secrets.token_urlsafe(32)
        await self._write("test", self.id_of(token), asdict(test))
        return token

    async def find(self, token: str) -> LoginTest | None:
        """The test of a link; None where there is none, or none any more."""
        return await self.find_by_id(self.id_of(token)) if _TOKEN.fullmatch(token) else None

    async def find_by_id(self, test_id: str) -> LoginTest | None:
        """As `find`."""
        document = await self._read("test", test_id)
        try:
            return None if document is None else LoginTest(**document)
        except TypeError:
            return None

    async def bind(self, test_id: str, browser: str) -> bool:
        """Whether this is the browser that opened the link first, by the secret in its cookie."""
        mark = hashlib.sha256(browser.encode()).digest()
        name = f"{self._prefix}-browser:{test_id}"
        await self._operations.run(self._redis.set(name, mark, nx=True, px=LIFE))
        kept: Any = await self._operations.run(self._redis.get(name))
        # SECURITY: a link that leaks is worth nothing in a second browser (C-85).
        return isinstance(kept, bytes) and hmac.compare_digest(kept, mark)

    async def begin(self, test_id: str) -> bool:
        """Whether the sign-in begins now; False: it has begun before."""
        return await self._operations.take(f"{self._prefix}-begun:{test_id}", secrets.token_bytes(16), LIFE)

    async def write_story(self, test_id: str, story: Mapping[str, Any]) -> None:
        """Keep the story. Raises ValueError when it is too large."""
        await self._write("story", test_id, story)

    async def read_story(self, test_id: str, owner: str) -> dict[str, Any] | None:
        """The story of the test that `owner` began; None: there is none yet, or it is another's."""
        story = await self._read("story", test_id)
        # SECURITY: the story has a person's claims: only who began the test reads it (C-85).
        if story is None or story.get("owner") != owner:
            return None
        return story

    async def _write(self, kind: str, test_id: str, document: Mapping[str, Any]) -> None:
        plain = json.dumps(document).encode()
        if len(plain) > _LARGEST:
            raise ValueError("the login test is too large to be stored")
        name = self._name(kind, test_id)
        await self._operations.run(self._redis.set(name, self._ring.seal(plain, (kind, name)), px=LIFE))

    async def _read(self, kind: str, test_id: str) -> dict[str, Any] | None:
        name = self._name(kind, test_id)
        sealed: Any = await self._operations.run(self._redis.get(name))
        try:
            document = json.loads(self._ring.open(sealed, (kind, name))) if isinstance(sealed, bytes) else None
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def _name(self, kind: str, test_id: str) -> str:
        return f"{self._prefix}:{test_id}" if kind == "test" else f"{self._prefix}-story:{test_id}"
