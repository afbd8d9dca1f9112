"""Things that are kept for a while under random names: codes, tokens, sessions."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Vault(Generic[Kept]):
    """Forgets what is older than `lifetime`, and the oldest when there are more than `limit`."""

    def __init__(self, lifetime: timedelta, now: Callable[[], datetime], limit: int = 10_000) -> None:
        self._lifetime = lifetime
        self._now = now
        self._limit = limit
        self._kept: dict[str, tuple[datetime, Kept]] = {}

    def put(self, value: Kept) -> str:
        """The name to find it by: 256 random bits."""
        name = secrets.token_urlsafe(32)
        self._kept[name] = (self._now() + self._lifetime, value)
        while len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]
        return name

    def get(self, name: str | None) -> Kept | None:
        until, value = self._kept.get(name or "", (None, None))
        if until is None or until <= self._now():
            self._kept.pop(name or "", None)
            return None
        return value

    def pop(self, name: str | None) -> Kept | None:
        value = self.get(name)
        self._kept.pop(name or "", None)
        return value

    def drop(self, unwanted: Callable[[Kept], bool]) -> None:
        self._kept = {name: (until, value) for name, (until, value) in self._kept.items() if not unwanted(value)}
