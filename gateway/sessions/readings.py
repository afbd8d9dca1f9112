"""Readings of records that are under way: shared by those who ask at once, spoiled by what is announced meanwhile.

The invariant: a key is marked before its GET, so an announcement that overtakes the reply is not missed; and whoever asks after an
announcement shares no reading from before it. All of it is synchronous.
"""

import asyncio
from collections.abc import Iterable

from gateway.sessions.live import LiveSession

Which = tuple[str, str, str]  # key, host, app


class Reading:
    """One reading of a record. `spoiled`: the record was announced as changed since the reading began."""

    __slots__ = ("spoiled", "task", "which")

    def __init__(self, which: Which) -> None:
        self.which = which
        self.spoiled = False
        self.task: asyncio.Task[LiveSession | None] | None = None


class Readings:
    def __init__(self) -> None:
        self._shared: dict[Which, Reading] = {}
        self._marked: dict[str, set[Reading]] = {}

    def shared(self, which: Which) -> Reading | None:
        """The reading that whoever asks now may wait for."""
        return self._shared.get(which)

    def share(self, reading: Reading) -> None:
        self._shared[reading.which] = reading

    def mark(self, reading: Reading) -> None:
        """It begins."""
        self._marked.setdefault(reading.which[0], set()).add(reading)

    def over(self, reading: Reading) -> None:
        marked = self._marked[reading.which[0]]
        marked.discard(reading)
        if not marked:
            del self._marked[reading.which[0]]
        self._land(reading)

    def spoil(self, key: str) -> None:
        """A record changed."""
        self._spoil(self._marked.get(key, ()))

    def spoil_all(self) -> None:
        """Any record may have changed."""
        for readings in self._marked.values():
            self._spoil(readings)

    def _spoil(self, readings: Iterable[Reading]) -> None:
        for reading in readings:
            reading.spoiled = True
            self._land(reading)

    def _land(self, reading: Reading) -> None:
        """Whoever asks from here on starts a reading of their own."""
        if self._shared.get(reading.which) is reading:
            del self._shared[reading.which]
