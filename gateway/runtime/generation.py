"""A generation: the workers of one configuration, one for each slot, and the console beside them. A reload makes the next one.

A generation starts workers of its own configuration only, so that no worker of an old file outlives a reload, and none of a refused file stays.
What cannot be started (no descriptor, no memory, no interpreter) is tried again at growing intervals; meanwhile the other workers accept
from the sockets of the one that is missing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from gateway.config.schema import Config
from gateway.runtime.child import WorkerChild, WorkerFailed

_log = logging.getLogger("doorward.workers")
_FIRST_PAUSE: Final = 0.1  # seconds before a worker is started again
_LONGEST_PAUSE: Final = 10.0
_STOPS_ACCEPTING_SECONDS: Final = 5.0

Spawn = Callable[[int, dict[str, Any]], Awaitable[WorkerChild]]


class Sockets(Protocol):
    """Listening sockets: how many processes serve them, and which of them each one serves, by their indexes."""

    @property
    def workers(self) -> int: ...

    @property
    def all(self) -> frozenset[int]: ...

    def of(self, slot: int) -> frozenset[int]: ...


class Generation:
    """`spawn(slot, data)` starts a worker's process, or raises WorkerFailed; `on_ended(worker)` is called for each that ended.

    `beside` is the console's generation: it starts, drains and ends together with the workers.
    """

    def __init__(
        self,
        data: dict[str, Any],
        config: Config,
        listeners: Sockets,
        spawn: Spawn,
        on_ended: Callable[[WorkerChild], None],
        beside: "Generation | None" = None,
    ) -> None:
        self._beside = [] if beside is None else [beside]
        self.config = config
        self.workers: dict[int, WorkerChild] = {}
        self._data = data
        self._listeners = listeners
        self._spawn = spawn
        self._on_ended = on_ended
        self._notice_given = False
        self._draining = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all workers; they accept nothing yet. Raises WorkerFailed, when none of them is left."""
        try:
            for slot in range(self._listeners.workers):
                self.workers[slot] = await self._spawn(slot, self._data)
            for beside in self._beside:
                await beside.start()
            for worker in self.workers.values():
                await worker.wait_ready()
        except BaseException:
            await asyncio.gather(*(child.kill() for child in self._children))
            raise

    def serve(self) -> None:
        """Have the workers accept connections, and replace those that die from now on."""
        self._spread()
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in self.workers]
        for beside in self._beside:
            beside.serve()

    @property
    def ready(self) -> list[WorkerChild]:
        """The workers that have started and live."""
        return [worker for worker in self.workers.values() if worker.alive]

    @property
    def ended(self) -> list[WorkerChild]:
        """The workers that are not ready any more, or not yet."""
        return [worker for worker in self.workers.values() if not worker.alive]

    @property
    def beside(self) -> list[WorkerChild]:
        """The console's process, where it has started and lives."""
        return [child for beside in self._beside for child in beside.ready]

    @property
    def _children(self) -> "list[WorkerChild | Generation]":
        return [*self.workers.values(), *self._beside]

    def give_notice(self) -> None:
        """Have each connection closed after its next response; the workers go on accepting."""
        self._notice_given = True
        for worker in self.ready:
            worker.give_notice()

    def drain(self, seconds: float) -> None:
        """Have the workers accept nothing more, and end when their connections have ended, at most after `seconds`."""
        self._draining.set()
        for child in self._children:
            child.drain(seconds)

    async def wait_accepts_nothing(self) -> None:
        """After `drain`: until every worker has stopped accepting."""
        stopped = asyncio.gather(
            *(worker.wait_draining() for worker in self.workers.values()),
            *(beside.wait_accepts_nothing() for beside in self._beside),
        )
        try:
            await asyncio.wait_for(stopped, _STOPS_ACCEPTING_SECONDS)
        except TimeoutError:
            _log.warning("an old worker does not stop accepting connections")

    async def wait_ended(self) -> None:
        """After `drain`."""
        await asyncio.gather(*(child.wait_ended() for child in self._children))
        await asyncio.gather(*self._keepers)

    async def kill(self) -> None:
        """End all workers at once."""
        self._draining.set()
        await asyncio.gather(*(child.kill() for child in self._children))
        await asyncio.gather(*self._keepers)

    # --- workers that die ---

    async def _keep(self, slot: int) -> None:
        """Replace the slot's worker each time it dies, until the generation drains."""
        while True:
            worker = self.workers[slot]
            await worker.wait()
            self._on_ended(worker)
            if self._draining.is_set():
                return
            self._spread()
            _log.error(
                "%s (pid %d) died with status %s: starting another",
                worker.name,
                worker.process.pid,
                worker.process.returncode,
            )
            if not await self._replace(slot):
                return

    async def _replace(self, slot: int) -> bool:
        """Start another worker, as often as it takes. False when the generation drains meanwhile."""
        pause = _FIRST_PAUSE
        while not await self._drains_within(pause):
            pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                worker = await self._spawn(slot, self._data)
            except WorkerFailed as error:
                _log.error("%s; the next attempt is in %g s", error, pause)
                continue
            if self._draining.is_set():
                await worker.kill()
                return False
            self.workers[slot] = worker
            try:
                await worker.wait_ready()
            except WorkerFailed as error:
                await worker.kill()
                if not self._draining.is_set():
                    _log.error("%s; the next attempt is in %g s", error, pause)
                continue
            if self._notice_given:
                worker.give_notice()
            self._spread()
            _log.info("%s is back (pid %d)", worker.name, worker.process.pid)
            return True
        return False

    async def _drains_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._draining.wait(), seconds)
        return False

    def _spread(self) -> None:
        """Assign the sockets of missing workers to the others too, because clients in their queues would get no answer otherwise."""
        ready = self.ready
        served = {index for worker in ready for index in self._listeners.of(worker.slot)}
        missing = self._listeners.all - served
        for worker in ready:
            worker.listen(self._listeners.of(worker.slot) | missing)
