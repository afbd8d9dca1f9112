"""The report of a probe: in a sentence, as JSON, and the last one of this fleet, which Redis keeps sealed."""

import json
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from gateway.operations.probe.runner import Outcome
from gateway.operations.probe.verdicts import ProbeVerdict
from gateway.redis_client.client import Operations
from gateway.sessions.keyring import KeyRing

_KEPT: Final = timedelta(days=90)
_LARGEST: Final = 256 * 1024
_SHOWN: Final = 100  # requests of a kept report


def sentence(outcome: Outcome) -> str:
    """The result in one line."""
    sent, passed, silent = len(outcome.results), len(outcome.passed), len(outcome.unanswered)
    if passed:
        return f"{passed} of {sent} requests got through"
    if silent:
        return f"none of {sent} requests is known to have got through, but {silent} had no answer that says so"
    return f"nothing got through: {sent} requests, all refused"


def document(url: str, outcome: Outcome, *, verbose: bool) -> dict[str, Any]:
    """The report as JSON: the counts of each rule, and the requests that got through or had no answer; all of them if `verbose`."""
    rows = [
        {
            "host": host,
            "rule": rule,
            "sent": counts.total(),
            **{str(verdict): counts[verdict] for verdict in ProbeVerdict},
        }
        for host, rule, counts in outcome.rows()
    ]
    shown = outcome.results if verbose else (*outcome.passed, *outcome.unanswered)
    return {
        "url": url,
        "sent": len(outcome.results),
        "holes": len(outcome.passed),
        "unanswered": len(outcome.unanswered),
        "rules": rows,
        "requests": [
            {
                "host": result.gateway.host,
                "rule": result.request.rule,
                "group": result.request.group,
                "how": result.request.how,
                "method": result.request.method,
                "target": result.request.target.decode("latin-1"),
                "verdict": str(result.finding.verdict),
                "said": result.finding.text,
            }
            for result in shown
        ],
    }


class ProbeReports:
    """The last report, for 90 days. All methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, ring: KeyRing, prefix: str) -> None:
        self._redis = redis
        self._ring = ring.purpose("probe report")
        self._key = f"{prefix}probe"
        self._operations = Operations(redis, "probe_report")

    async def write(self, outcome: Outcome, facts: dict[str, Any]) -> None:
        """Keep a report in place of the one before. `facts` is JSON that goes with it."""
        report = {**document("", outcome, verbose=False), "sentence": sentence(outcome), **facts}
        report["requests"] = report["requests"][:_SHOWN]
        sealed = self._ring.seal(json.dumps(report).encode(), (self._key,))
        await self._operations.run(self._redis.set(self._key, sealed, px=_KEPT))

    async def read(self) -> dict[str, Any] | None:
        """The last report; None where there is none, or it was not sealed by this ring."""
        sealed = await self._operations.run(self._redis.getrange(self._key, 0, _LARGEST))
        if not isinstance(sealed, bytes) or not sealed:
            return None
        try:
            # SECURITY: a report that another client of Redis wrote would say that no request got through (C-08).
            report: dict[str, Any] = json.loads(self._ring.open(sealed, (self._key,)))
        except ValueError:
            return None
        return report
