"""How often each password rule refused a request, and when it did last, from the numbers of the fleet."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.observability.events import ROUTE_BLOCKED
from gateway.telemetry.numbers import EVENTS, NumberStore, Step

_SPAN: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleHits:
    """Refused requests of the last 30 days; `last` is the second of the last one since 1970, None where there was none."""

    count: int
    last: float | None


async def rule_hits(numbers: NumberStore, now: float) -> dict[tuple[str, str], RuleHits]:
    """By app and the rule's name, for rules that refused something. Raises StoreUnavailable."""
    total: Counter[tuple[str, str]] = Counter()
    for slot in await numbers.read(Step.HOUR, now - _SPAN.total_seconds(), now):
        for labels, count in slot.counts.items():
            if labels[:2] == (EVENTS, ROUTE_BLOCKED):
                total[labels[2], labels[3]] += count
    seen = await numbers.last_seen()
    return {
        (app, rule): RuleHits(count=count, last=seen.get((EVENTS, ROUTE_BLOCKED, app, rule)))
        for (app, rule), count in total.items()
    }
