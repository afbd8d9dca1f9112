"""How many callbacks of one address may fail in a minute; beyond, none of its callbacks is looked at.

A failed callback costs a key in Redis and a call of the provider, and any stranger can make one with a login attempt of their own. People who
share one address share its limit, so a sign-in that succeeds does not count. Each worker counts for itself.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from gateway.http.header_policy import network_of

_MINUTE: Final = 60.0
MOST: Final = 10_000  # addresses that are remembered, the ones with the newest failures


class FailedCallbacks:
    """`per_minute` failures of one address, IPv6 by /64; one more each `60 / per_minute` seconds. `clock` is monotonic."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._pause = _MINUTE / per_minute
        self._clock = clock
        # When all failures of an address are forgotten; the newest failure last.
        self._free_at: dict[str | bytes, float] = {}

    def __len__(self) -> int:
        return len(self._free_at)

    def wait(self, address: str) -> int:
        """Seconds until a callback of this address is looked at: 0, or 1 and more."""
        free_at = self._free_at.get(network_of(address), 0.0)
        return max(0, ceil(free_at - self._clock() - (_MINUTE - self._pause)))

    def count(self, address: str) -> None:
        """One callback of this address failed."""
        now, network = self._clock(), network_of(address)
        free_at = max(self._free_at.pop(network, now), now) + self._pause
        # SECURITY: addresses are free of charge where whole networks are rented: what is remembered of them is bounded.
        while len(self._free_at) >= MOST:
            del self._free_at[next(iter(self._free_at))]
        self._free_at[network] = free_at
