"""Tells Redis for the console what this replica is and what it counted: its state every few seconds, its numbers once a minute."""

import asyncio
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway import __version__
from gateway.config.checks.safety import warnings
from gateway.config.schema import Config
from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.background import repeat
from gateway.observability.counters import WorkerCounts, WorkerReport
from gateway.observability.events import Audit
from gateway.redis_client.client import RedisClient, connect
from gateway.redis_client.invalidation import end_task
from gateway.runtime.child import WorkerChild
from gateway.runtime.metrics import ParentFacts
from gateway.runtime.readiness import readiness
from gateway.sessions.keyring import KeyRing
from gateway.telemetry.event_log import EventLog, open_event_log
from gateway.telemetry.numbers import Growth, NumberStore
from gateway.telemetry.replicas import EVERY, ReplicaStates

_POOL_SIZE: Final = 2
_MINUTE: Final = 60.0
_LAST_EVENTS_SECONDS: Final = 1.0
_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFacts:
    """What the parent knows at one moment. `wanted` is how many workers there should be; `process` as `/ready` has it."""

    reports: Sequence[WorkerReport]
    parent: ParentFacts
    workers: Sequence[WorkerChild]
    wanted: int
    stopping: bool
    process: Mapping[str, Any]
    config: Config


class TelemetryReporter:
    """`facts()` gives the state of this moment; the events of `audit`, which are the parent's own, are kept too."""

    def __init__(self, facts: Callable[[], Awaitable[ReplicaFacts]], audit: Audit) -> None:
        self._facts = facts
        self._audit = audit
        self._event_log: EventLog | None = None
        self._identifier = f"{socket.gethostname()[:60]}-{os.urandom(_ID_BYTES).hex()}"
        self._started_at = time.time()
        self._growth = Growth()
        self._minute = int(time.time() // _MINUTE)
        self._redis: RedisClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, config: Config, redis_url: str | None) -> None:
        """Begin, or go on with another configuration. Without a console, nothing is written."""
        await self._end()
        if config.console is None:
            return
        prefix = config.redis.key_prefix
        self._redis = connect(config.redis, redis_url, pool_size=_POOL_SIZE)
        ring = KeyRing(config.keys)
        self._event_log = open_event_log(config, self._redis, ring, self._audit)
        self._states = ReplicaStates(self._redis, ring, prefix)
        self._numbers = NumberStore(self._redis, prefix)
        self._task = asyncio.create_task(repeat("telemetry", self._step, EVERY.total_seconds()))

    async def close(self) -> None:
        """Write what was counted last, and leave the list of replicas."""
        if self._task is not None:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._write_numbers(await self._facts())
                    await self._states.remove(self._identifier)
        await self._end()

    async def _end(self) -> None:
        if self._task is not None:
            await end_task(self._task)
            self._task = None
        if self._event_log is not None:
            self._audit.keep = lambda at, line: None
            await self._event_log.close(_LAST_EVENTS_SECONDS)
            self._event_log = None
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _step(self) -> float | None:
        with contextlib.suppress(StoreUnavailable):  # which the workers say
            facts = await self._facts()
            await self._states.keep(self._identifier, time.time(), self._state(facts))
            minute = int(time.time() // _MINUTE)
            if minute != self._minute:
                self._minute = minute
                await self._write_numbers(facts)
        return None

    async def _write_numbers(self, facts: ReplicaFacts) -> None:
        """Raises StoreUnavailable; then the numbers are written with the next."""
        sums = WorkerCounts()
        for counts in (*facts.parent.past, *(report.counts for report in facts.reports)):
            sums.merge(counts)
        growth = self._growth.of(sums)
        try:
            await self._numbers.add(time.time(), growth)
        except StoreUnavailable:
            self._growth.take_back(growth)
            raise

    def _state(self, facts: ReplicaFacts) -> dict[str, Any]:
        reports = facts.reports
        _, ready = readiness(reports, facts.wanted, stopping=facts.stopping, own=facts.parent.dependencies)
        upstreams: dict[str, dict[str, int]] = {}
        for report in reports:
            for (app, state), count in report.upstreams.items():
                of_app = upstreams.setdefault(app, {})
                of_app[state] = of_app.get(state, 0) + count
        sessions = [report.sessions for report in reports if report.sessions is not None]
        return {
            "host": socket.gethostname(),
            "version": __version__,
            "since": self._started_at,
            "configuration": {"digest": digest(facts.config), "since": facts.parent.loaded_at},
            "status": ready["status"],
            "dependencies": ready["dependencies"],
            "break_glass": ready["break_glass"],
            "process": dict(facts.process),
            "workers": [
                {"slot": each.slot, "pid": each.process.pid, "since": each.started_at} for each in facts.workers
            ],
            "workers_wanted": facts.wanted,
            "in_flight": sum(report.in_flight for report in reports),
            "sessions_cached": sum(report.sessions_cached for report in reports),
            "sessions": max(sessions, default=None),
            "upstreams": upstreams,
            "warnings": list(warnings(facts.config)),
        }


def digest(config: Config) -> str:
    """Replicas with the same configuration have the same; secrets are not in it, so that it says nothing about them."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]
