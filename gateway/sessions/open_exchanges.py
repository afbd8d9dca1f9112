"""What is open under a session: WebSockets, event streams, downloads, uploads. They end when it does (C-44).

All changes are synchronous; whoever decides that a session is over calls `end`.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gateway.sessions.live import LiveSession

_log = logging.getLogger("doorward.sessions")

Closer = Callable[[str], None]


@dataclass(slots=True)
class _Open:
    live: LiveSession
    closers: set[Closer] = field(default_factory=set)


class Streams:
    """Closers of exchanges, by session key. A closer takes the reason and must not raise."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def attach(self, live: LiveSession, closer: Closer) -> None:
        entry = self._open.get(live.key)
        if entry is None:
            entry = self._open[live.key] = _Open(live)
        entry.closers.add(closer)

    def detach(self, live: LiveSession, closer: Closer) -> None:
        """Forget a closer; unknown ones are ignored: the session's end may have come first."""
        entry = self._open.get(live.key)
        if entry is not None:
            entry.closers.discard(closer)
            if not entry.closers:
                del self._open[live.key]

    def live(self, key: str) -> LiveSession | None:
        """The session that these streams believe in; None when nothing is open under `key`."""
        entry = self._open.get(key)
        return None if entry is None else entry.live

    def renew(self, live: LiveSession) -> None:
        """The record was read again: its clocks are the ones that count."""
        entry = self._open.get(live.key)
        if entry is not None:
            entry.live = live

    def keys(self) -> Collection[str]:
        return self._open.keys()

    def past(self, now: float) -> tuple[list[str], list[str]]:
        """Keys whose lifetime is over, and keys whose idle timeout passed as far as this worker knows."""
        expired = [key for key, entry in self._open.items() if now >= entry.live.expires_deadline]
        idle = [
            key for key, entry in self._open.items() if entry.live.idle_deadline <= now < entry.live.expires_deadline
        ]
        return expired, idle

    def due(self, now: float) -> list[LiveSession]:
        """Sessions with something open whose attention is due."""
        return [entry.live for entry in self._open.values() if now >= entry.live.attention_due]

    def end(self, key: str, reason: str) -> None:
        """Close everything that is open under `key`."""
        entry = self._open.pop(key, None)
        for closer in entry.closers if entry is not None else ():
            try:
                closer(reason)
            except Exception:
                _log.exception("a stream of an ended session could not be closed")
