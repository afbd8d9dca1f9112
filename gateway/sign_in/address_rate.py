"""How often one address may do in a minute what costs a call of the provider: failed callbacks, and sign-ins whose request is pushed.

Any stranger can do either with login attempts of their own. People who share one address share its limit, so a callback whose sign-in succeeds
does not count. Each worker counts for itself.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from gateway.http.header_policy import network_of

_MINUTE: Final = 60.0
MOST: Final = 10_000  # addresses that are remembered, the ones that were counted last


class AddressRate:
    """`per_minute` of one address, IPv6 by /64; one more each `60 / per_minute` seconds. `clock` is monotonic."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._pause = _MINUTE / per_minute
        self._clock = clock
        # When all that was counted of an address is forgotten; the last one counted last.
        self._free_at: dict[str | bytes, float] = {}

    def __len__(self) -> int:
        return len(self._free_at)

    def wait(self, address: str) -> int:
        """Seconds until this address may again: 0, or 1 and more."""
        free_at = self._free_at.get(network_of(address), 0.0)
        return max(0, ceil(free_at - self._clock() - (_MINUTE - self._pause)))

    def count(self, address: str) -> None:
        """Count one of this address."""
        now, network = self._clock(), network_of(address)
        free_at = max(self._free_at.pop(network, now), now) + self._pause
        # SECURITY: addresses are free of charge where whole networks are rented: what is remembered of them is bounded.
        while len(self._free_at) >= MOST:
            del self._free_at[next(iter(self._free_at))]
        self._free_at[network] = free_at
