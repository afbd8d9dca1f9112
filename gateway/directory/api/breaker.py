"""The circuit breaker of one worker: after several failures in a row it makes no calls to the API for a while.

So logins do not wait for timeouts that are certain, and an API that starts again is not overloaded. After the pause one call may
try; its outcome decides.
"""

from collections.abc import Callable
from typing import Final

from gateway.errors.signing_in import DirectoryUnavailable

FAILURES: Final = 5
PAUSE: Final = 10.0  # seconds


class BreakerOpen(DirectoryUnavailable):
    """No call was made: too many failed just now."""


class Breaker:
    """`clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float], *, failures: int = FAILURES, pause: float = PAUSE) -> None:
        self._clock = clock
        self._failures = failures
        self._pause = pause
        self._row = 0
        self._open_until = 0.0

    def enter(self) -> None:
        """Before a call. Raises BreakerOpen."""
        left = self._open_until - self._clock()
        if self._row >= self._failures and left > 0:
            detail = f"{self._row} calls in a row failed; next call in {left:.0f} s"
            raise BreakerOpen("unreachable", detail, retry_after=round(left) + 1)
        if self._row >= self._failures:
            self._open_until = self._clock() + self._pause  # this call tries, the others wait for its outcome

    def failed(self) -> None:
        """A call failed."""
        self._row += 1
        if self._row >= self._failures:
            self._open_until = self._clock() + self._pause

    def worked(self) -> None:
        """A call succeeded."""
        self._row = 0
