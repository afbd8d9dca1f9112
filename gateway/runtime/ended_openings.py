"""Break-glass openings that ended, as the parent passes them on from the worker that saw it to all others."""

import secrets
import time
from typing import Any
from weakref import WeakSet

from gateway.break_glass.store import ENDED_LIFETIME
from gateway.runtime.child import WorkerChild


class EndedOpenings:
    """The IDs of openings that ended, for as long as one could still be put back."""

    def __init__(self) -> None:
        self._gateway = secrets.token_hex(16)
        self._until: dict[str, float] = {}
        self._started: WeakSet[WorkerChild] = WeakSet()

    def first_message(self) -> dict[str, Any]:
        """What a worker gets at its start."""
        return {"gateway": self._gateway, "ended": list(self._until)}

    def on_started(self, worker: WorkerChild, first: dict[str, Any]) -> None:
        """The worker runs; it gets those that ended after its `first` message was made."""
        for opening_id in self._until.keys() - {*first["ended"]}:
            worker.mark_opening_ended(opening_id)
        self._started.add(worker)

    def on_ended(self, opening_id: str) -> None:
        """A worker saw an opening end: pass its ID on to all other workers, and to those that start later."""
        # SECURITY: a writer to Redis can delete the IDs kept there, and put the opening back after a reload (C-73).
        now = time.monotonic()
        known = opening_id in self._until
        self._until[opening_id] = now + ENDED_LIFETIME.total_seconds()
        self._until = {each: until for each, until in self._until.items() if until > now}
        if not known:
            for worker in self._started:
                worker.mark_opening_ended(opening_id)
