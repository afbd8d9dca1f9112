"""Tombstones of the sessions that this worker ended recently, so that it can end them again.

A replica that is promoted, or a server that starts from its last saved state, may have missed a sign-out that was confirmed to the client:
the worker that confirmed it deletes the records once more before it trusts the server. Bounded in time and number.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

_SECONDS: Final = 15 * 60.0
_MOST: Final = 20_000


class Tombstones:
    """Record keys, newest last. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._keys: OrderedDict[str, float] = OrderedDict()

    def add(self, keys: Iterable[str]) -> None:
        until = self._clock() + _SECONDS
        for key in keys:
            self._keys[key] = until
            self._keys.move_to_end(key)
        self._drop_old()

    def recent(self) -> list[str]:
        """The keys of the last 15 minutes, oldest first."""
        self._drop_old()
        return list(self._keys)

    def _drop_old(self) -> None:
        now = self._clock()
        while self._keys and (len(self._keys) > self._most or next(iter(self._keys.values())) <= now):
            self._keys.popitem(last=False)
