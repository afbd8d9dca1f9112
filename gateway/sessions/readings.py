"""Readings of records that are under way: shared by those who ask at once, spoiled by what is announced meanwhile.

The invariant: a key is marked before its GET, so an announcement that overtakes the reply is not missed; and whoever asks after an
announcement shares no reading from before it. All of it is synchronous.
"""

from collections.abc import Callable, Iterable

from gateway.errors import Refusal
from gateway.sessions.fetching import Which
from gateway.sessions.live import LiveSession

#: Hears of a session, None where there is none; or of the reason why nobody can say.
Hear = Callable[[LiveSession | None, Refusal | None], None]


class Reading:
    """One reading of a record. `hearers` are told of it: each with whether the attendant is to be asked first.

    `shared`: whoever asks now may wait for it. `spoiled`: the record was announced as changed since the reading began. `begun` on the worker's
    monotonic clock, `attempts` how often Redis was asked.
    """

    __slots__ = ("attempts", "begun", "hearers", "shared", "spoiled", "which")

    def __init__(self, which: Which, hear: Hear, *, attended: bool, shared: bool) -> None:
        self.which = which
        self.hearers = [(hear, attended)]
        self.shared = shared
        self.spoiled = False
        self.begun = 0.0
        self.attempts = 0


class Readings:
    """Those under way, by key."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[Reading]] = {}

    def shared(self, which: Which) -> Reading | None:
        """The reading that whoever asks now may wait for."""
        for reading in self._under_way.get(which[0], ()):
            if reading.shared and reading.which == which:
                return reading
        return None

    def mark(self, reading: Reading) -> None:
        """It begins."""
        key = reading.which[0]
        others = self._under_way.get(key)
        if others is None:
            self._under_way[key] = [reading]
        else:
            others.append(reading)

    def over(self, reading: Reading) -> None:
        key = reading.which[0]
        readings = self._under_way[key]
        readings.remove(reading)
        if not readings:
            del self._under_way[key]

    def spoil(self, key: str) -> None:
        """A record changed."""
        _spoil(self._under_way.get(key, ()))

    def spoil_all(self) -> None:
        """Any record may have changed."""
        for readings in self._under_way.values():
            _spoil(readings)


def _spoil(readings: Iterable[Reading]) -> None:
    """Whoever asks from here on starts a reading of their own."""
    for reading in readings:
        reading.spoiled = True
        reading.shared = False
