"""The exchanges that are open under a session: WebSockets, event streams, downloads, uploads. They are closed when it ends (C-44).

All changes are synchronous. When a record may have changed, `ExchangeRechecks` reads the session again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.observability.background import repeat
from gateway.sessions.live import LiveSession

_log = logging.getLogger("doorward.sessions")

_RECHECKS_AT_ONCE: Final = 16

#: Closes one exchange for the reason given; it does not raise.
Closer = Callable[[str], None]


@dataclass(slots=True)
class _Open:
    session: LiveSession
    closers: set[Closer] = field(default_factory=set)


class OpenExchanges:
    """Closers of exchanges, by session key."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def attach(self, session: LiveSession, closer: Closer) -> None:
        entry = self._open.get(session.key)
        if entry is None:
            entry = self._open[session.key] = _Open(session)
        entry.closers.add(closer)

    def detach(self, session: LiveSession, closer: Closer) -> None:
        """Forget a closer; unknown ones are ignored: the session's end may have come first."""
        entry = self._open.get(session.key)
        if entry is not None:
            entry.closers.discard(closer)
            if not entry.closers:
                del self._open[session.key]

    def session_of(self, key: str) -> LiveSession | None:
        """The session of the open exchanges; None when nothing is open under `key`."""
        entry = self._open.get(key)
        return None if entry is None else entry.session

    def replace(self, session: LiveSession) -> None:
        """The record was read again: its deadlines count from now on."""
        entry = self._open.get(session.key)
        if entry is not None:
            entry.session = session

    def keys(self) -> Collection[str]:
        return self._open.keys()

    def expired(self, now: float) -> tuple[list[str], list[str]]:
        """Keys whose lifetime is over, and keys whose idle timeout passed as far as this worker knows."""
        expired = [key for key, entry in self._open.items() if now >= entry.session.expires_deadline]
        idle = [
            key
            for key, entry in self._open.items()
            if entry.session.idle_deadline <= now < entry.session.expires_deadline
        ]
        return expired, idle

    def renewal_due(self, now: float) -> list[LiveSession]:
        """Sessions with open exchanges whose renewal is due."""
        return [entry.session for entry in self._open.values() if now >= entry.session.renewal_due]

    def close(self, key: str, reason: str) -> None:
        """Close all exchanges that are open under `key`."""
        entry = self._open.pop(key, None)
        for closer in entry.closers if entry is not None else ():
            try:
                closer(reason)
            except Exception:
                _log.exception("an exchange of an ended session could not be closed")


class ExchangeRechecks:
    """Reads sessions with open exchanges again, where their record may have changed, and closes the exchanges of those that ended.

    `read` gives the session as Redis has it, None when it ended, and raises where Redis cannot be read; then it is read again
    after `tick` seconds. `reason` is given to the closers.
    """

    def __init__(
        self,
        exchanges: OpenExchanges,
        read: Callable[[LiveSession], Awaitable[LiveSession | None]],
        reason: str,
        tick: float,
    ) -> None:
        self._exchanges = exchanges
        self._read = read
        self._reason = reason
        self._tick = tick
        self._keys: set[str] = set()
        self._added = asyncio.Event()

    def add(self, keys: Iterable[str]) -> None:
        """The records of these sessions may have changed."""
        self._keys.update(keys)
        self._added.set()

    async def run(self) -> None:
        """Until cancelled: read what was added, as soon as it is."""
        await repeat("rechecks", self._step)

    async def _step(self) -> None:
        await self._added.wait()
        self._added.clear()
        while self._keys:
            some = [self._keys.pop() for _ in range(min(len(self._keys), _RECHECKS_AT_ONCE))]
            errors = await asyncio.gather(*map(self._recheck, some), return_exceptions=True)
            failed = [key for key, error in zip(some, errors, strict=True) if error is not None]
            if failed:
                self.add(failed)
                await asyncio.sleep(self._tick)

    async def _recheck(self, key: str) -> None:
        session = self._exchanges.session_of(key)
        if session is None:
            return
        found = await self._read(session)
        if found is None:
            self._exchanges.close(key, self._reason)
        else:
            self._exchanges.replace(found)
