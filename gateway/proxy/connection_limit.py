"""Who is connected to one worker: how many in all, and how many from each address.

Proxies that are trusted speak for many people, so they count in all only. IPv6 clients are counted by their /64, which is what one
customer of a provider has (docs/threats.md D-20).
"""

import logging
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from gateway.config.schema import Limits
from gateway.http.header_policy import parse_address

_log = logging.getLogger("doorward.proxy")
_QUIET_SECONDS: Final = 10.0


class ConnectionLimiter:
    """`total` connections, no more than `limits` allow."""

    __slots__ = ("_clock", "_each", "_from", "_limit", "_said", "total")

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.total = 0
        self._limit = limits.connections
        self._each = limits.connections_per_address
        self._from: Counter[str | bytes] = Counter()
        self._clock = clock
        self._said = float("-inf")

    def enter(self, address: str, *, trusted: bool) -> int:
        """Count one more and return 0; or the status for one too many, who is not counted."""
        if self.total >= self._limit:
            self._say("limits.connections is reached, newcomers are refused; one of them is %s", address)
            return 503
        if not trusted:
            origin = _origin(address)
            if self._from[origin] >= self._each:
                self._say("limits.connections_per_address is reached by %s", address)
                return 429
            self._from[origin] += 1
        self.total += 1
        return 0

    def reassign(self, address: str, *, trusted: bool) -> int:
        """One that was counted as a trusted balancer turns out to come from `address`: 0, or the status for one too many."""
        self.total -= 1
        status = self.enter(address, trusted=trusted)
        self.total += bool(status)
        return status

    def leave(self, address: str, *, trusted: bool) -> None:
        """One that was counted is gone."""
        self.total -= 1
        if not trusted:
            origin = _origin(address)
            self._from[origin] -= 1
            if self._from[origin] <= 0:
                del self._from[origin]

    def _say(self, what: str, address: str) -> None:
        """An attack must not fill the log as well."""
        now = self._clock()
        if now - self._said > _QUIET_SECONDS:
            self._said = now
            _log.warning(what, address)


def _origin(address: str) -> str | bytes:
    if ":" not in address:
        return address
    parsed = parse_address(address)
    return parsed.packed[:8] if isinstance(parsed, IPv6Address) else str(parsed)
