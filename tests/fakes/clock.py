"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta


class SettableClock:
    """`advance` moves both hands, `set_wall_clock_by` only the wall clock, as an administrator or NTP would."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)

    def set_wall_clock_by(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
