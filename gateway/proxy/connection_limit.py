"""How many clients are connected to one worker, in all and from one address.

Trusted proxies bring many people, so they count in all only. IPv6 clients are counted by their /64, which is what one
customer of a provider has (docs/threats.md D-20).
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from gateway.config.schema import Limits
from gateway.http.header_policy import network_of

_log = logging.getLogger("doorward.proxy")
_WARN_SECONDS: Final = 10.0


class ConnectionLimiter:
    """`total` connections, no more than `limits` allow."""

    __slots__ = ("_clock", "_each", "_from", "_limit", "_warned", "total")

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.total = 0
        self._limit = limits.connections
        self._each = limits.connections_per_address
        self._from: Counter[str | bytes] = Counter()
        self._clock = clock
        self._warned = float("-inf")

    def enter(self, address: str, *, trusted: bool) -> int:
        """Count one more and return 0; or the status to answer one too many with, which is not counted."""
        if self.total >= self._limit:
            self._warn("limits.connections is reached: new connections are refused, one of them from %s", address)
            return 503
        if not trusted:
            origin = network_of(address)
            if self._from[origin] >= self._each:
                self._warn("limits.connections_per_address is reached by %s", address)
                return 429
            self._from[origin] += 1
        self.total += 1
        return 0

    def reassign(self, address: str, *, trusted: bool) -> int:
        """A connection that was counted as a trusted balancer's is one from `address`: 0, or the status to answer one too many with."""
        self.total -= 1
        status = self.enter(address, trusted=trusted)
        self.total += bool(status)
        return status

    def leave(self, address: str, *, trusted: bool) -> None:
        """Count one less."""
        self.total -= 1
        if not trusted:
            origin = network_of(address)
            self._from[origin] -= 1
            if self._from[origin] <= 0:
                del self._from[origin]

    def _warn(self, message: str, address: str) -> None:
        """At most once in ten seconds: an attack must not fill the log."""
        now = self._clock()
        if now - self._warned > _WARN_SECONDS:
            self._warned = now
            _log.warning(message, address)
