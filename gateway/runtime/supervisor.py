"""The parent process: it opens the sockets, starts the workers, and keeps them alive.

One worker a core, each on a listening socket that the parent opened and keeps: a restarted worker takes over the queue of its
predecessor, and no connection is reset. SIGTERM: /ready fails, then the workers drain. SIGHUP validates the file, starts new
workers on the same sockets and drains the old ones; a file with problems changes nothing. Workers get the resolved configuration
through a private socket, never through arguments or the environment.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from aiohttp import web

from gateway.break_glass.store import ENDED_LIFETIME
from gateway.config.addresses import parse_listen
from gateway.config.checks.safety import rotation_warnings
from gateway.config.loader import ConfigInvalid, load
from gateway.config.schema import Config
from gateway.observability.counters import WorkerCounts, WorkerReport
from gateway.observability.logging import configure_logging
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.runtime.admin import build_admin
from gateway.runtime.child import WorkerChild, WorkerFailed
from gateway.runtime.sockets import close_listening, open_listening

_log = logging.getLogger("doorward.workers")
_STORE_SECONDS: Final = 1.0
_NEEDS_RESTART: Final = ("listen", "admin_listen", "workers")


class Supervisor:
    """The parent of all workers. `echo` prints a line for the operator."""

    def __init__(self, path: Path, environ: Mapping[str, str], echo: Callable[[str], None]) -> None:
        self._path = path
        self._environ = environ
        self._echo = echo
        self._workers: dict[int, WorkerChild] = {}
        self._slots: list[socket.socket] = []
        self._valkey: EmbeddedValkey | None = None
        self._draining: list[WorkerChild] = []
        self._ended_counts = WorkerCounts()  # of workers that ended
        self._gateway = secrets.token_hex(16)
        self._ended_openings: dict[str, float] = {}  # IDs of break-glass openings, and until when each is remembered
        self._started: WeakSet[WorkerChild] = WeakSet()
        self._background: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._notice_cut_short = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit status. Raises ConfigInvalid."""
        loaded = load(self._path, self._environ)
        self._data, self._config = loaded.data, loaded.config
        configure_logging(self._config.log)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._run_in_background(self._reload()))
        try:
            count = os.cpu_count() or 1 if self._config.workers == "auto" else self._config.workers
            self._slots = open_listening(self._config.listen, count)
            self._redis_url = self._start_valkey(self._config)
            for slot in range(len(self._slots)):
                self._workers[slot] = await self._spawn(slot)
            for worker in self._workers.values():
                await worker.wait_ready()
            runner = await self._start_admin(self._config)
        except (WorkerFailed, OSError, RuntimeError, ValueError) as error:
            self._echo(f"doorward: {error}")
            await self._end_all(kill=True)
            return 1
        for worker in self._workers.values():
            self._run_in_background(self._keep_alive(worker))
        if self._valkey is not None:
            self._run_in_background(self._keep_valkey(self._valkey))
        self._echo(
            f"doorward: ready on {self._config.listen}, {len(self._workers)} workers, admin on {self._config.admin_listen}"
        )
        await self._stopping.wait()
        await self._give_notice(self._config.shutdown.notice.total_seconds())
        _log.info("stopping: no new connections, open requests may end")
        await self._end_all(kill=False)
        await runner.cleanup()
        return 0

    def _stop(self) -> None:
        """The first signal stops the process; the second one ends the notice at once."""
        (self._notice_cut_short if self._stopping.is_set() else self._stopping).set()

    # --- the embedded store and the admin listener ---

    def _start_valkey(self, config: Config) -> str | None:
        if config.redis.url.get_secret_value() != "embedded":
            return None
        self._valkey = EmbeddedValkey(config.redis.data_dir)
        self._valkey.start()
        return self._valkey.url

    async def _start_admin(self, config: Config) -> web.AppRunner:
        runner = web.AppRunner(
            build_admin(self._reports, self._past, lambda: len(self._slots), self._stopping.is_set), access_log=None
        )
        await runner.setup()
        address = parse_listen(config.admin_listen)
        site = (
            web.UnixSite(runner, address.path)
            if address.path is not None
            else web.TCPSite(runner, address.host, address.port)
        )
        await site.start()
        return runner

    async def _reports(self) -> Sequence[WorkerReport]:
        replies = await asyncio.gather(*(worker.report() for worker in self._workers.values() if worker.ready.is_set()))
        return [report for report in replies if report is not None]

    async def _past(self) -> Sequence[WorkerCounts]:
        """The counts of workers that drain or ended, because a counter never goes back."""
        replies = await asyncio.gather(*(worker.report() for worker in self._draining))
        return [*(report.counts for report in replies if report is not None), self._ended_counts]

    def _keep_counts(self, worker: WorkerChild) -> None:
        """The worker ended: add its last report to the counts of those before."""
        if worker in self._draining:
            self._draining.remove(worker)
        if worker.last is not None:
            self._ended_counts.merge(worker.last.counts)
            worker.last = None

    # --- workers ---

    async def _spawn(self, slot: int) -> WorkerChild:
        worker = WorkerChild(slot, self._on_opening_ended)
        ended = list(self._ended_openings)
        await worker.start(self._data, self._redis_url, self._slots[slot], {"gateway": self._gateway, "ended": ended})
        for opening_id in self._ended_openings.keys() - set(ended):  # those that ended while it started
            worker.mark_opening_ended(opening_id)
        self._started.add(worker)
        return worker

    def _on_opening_ended(self, opening_id: str) -> None:
        """A worker saw a break-glass opening end: pass its ID on to all other workers, and to those that start later."""
        # SECURITY: a writer to Redis can delete the IDs kept there, and put the opening back after a reload (C-73).
        now = time.monotonic()
        known = opening_id in self._ended_openings
        self._ended_openings[opening_id] = now + ENDED_LIFETIME.total_seconds()
        self._ended_openings = {each: until for each, until in self._ended_openings.items() if until > now}
        if not known:
            for worker in self._started:
                worker.mark_opening_ended(opening_id)

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _keep_alive(self, worker: WorkerChild) -> None:
        """Restart a worker that died, with a growing pause while it keeps dying. Returns when a reload or the stop replaced it."""
        slot, pause = worker.slot, 0.1
        while True:
            await worker.process.wait()
            self._keep_counts(worker)
            if self._is_replaced(worker):
                return
            _log.error(
                "worker %d (pid %d) died with status %s: starting another",
                slot,
                worker.process.pid,
                worker.process.returncode,
            )
            await asyncio.sleep(pause)
            if self._is_replaced(worker):
                return
            pause = min(pause * 2, 10.0)
            worker = self._workers[slot] = await self._spawn(slot)
            with contextlib.suppress(WorkerFailed):
                await worker.wait_ready()
                pause = 0.1

    def _is_replaced(self, worker: WorkerChild) -> bool:
        return worker.draining or self._stopping.is_set() or self._workers[worker.slot] is not worker

    async def _keep_valkey(self, valkey: EmbeddedValkey) -> None:
        """Restart the embedded store when it died."""
        while not self._stopping.is_set():
            await asyncio.sleep(_STORE_SECONDS)
            if not await asyncio.to_thread(lambda: valkey.alive):
                _log.error("the embedded Valkey died: starting another")
                try:
                    await asyncio.to_thread(valkey.restart)
                except RuntimeError as error:
                    _log.error("%s", error)

    async def _reload(self) -> None:
        async with self._reloading:
            try:
                loaded = load(self._path, self._environ)
            except ConfigInvalid as error:
                _log.error(
                    "reload refused, the old configuration stays: %s",
                    "; ".join(str(problem) for problem in error.problems),
                )
                return
            changed = _beyond_reload(self._config, loaded.config)
            if changed:
                _log.error("reload refused, the old configuration stays: %s needs a restart", ", ".join(changed))
                return
            for warning in rotation_warnings(self._config.keys, loaded.config.keys):
                _log.warning("%s", warning)
            old = await self._replace(loaded.data, loaded.config)
        # Outside the lock: the next reload, which may correct this one, does not wait for connections that stay open.
        await asyncio.gather(*(worker.end() for worker in old))

    async def _replace(self, data: dict[str, Any], config: Config) -> list[WorkerChild]:
        """Start new workers and drain the old ones, which are returned; none are when the new workers do not become ready."""
        old_data, self._data = self._data, data
        fresh = [await self._spawn(slot) for slot in self._workers]
        try:
            for worker in fresh:
                await worker.wait_ready()
        except WorkerFailed as error:
            self._data = old_data
            for worker in fresh:
                worker.kill()
            _log.error("reload refused, the old workers stay: %s", error)
            return []
        self._config = config
        configure_logging(config.log)
        old = list(self._workers.values())
        for worker in fresh:
            self._workers[worker.slot] = worker
            self._run_in_background(self._keep_alive(worker))
        self._draining += old
        for worker in old:
            worker.drain(config.shutdown.drain.total_seconds())
        _log.info("reloaded: %d new workers, the old ones are draining", len(fresh))
        return old

    async def _give_notice(self, seconds: float) -> None:
        """Serve on while /ready fails, so that a load balancer sees it before a connection is refused (D-07)."""
        if seconds:
            _log.info("stopping: /ready fails, requests are served for another %g s", seconds)
            for worker in self._workers.values():
                worker.give_notice()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._notice_cut_short.wait(), seconds)

    async def _end_all(self, *, kill: bool) -> None:
        close_listening(self._config.listen, self._slots)
        for worker in self._workers.values():
            if kill:
                worker.kill()
            else:
                worker.drain(self._config.shutdown.drain.total_seconds())
        await asyncio.gather(*(worker.end() for worker in self._workers.values()))
        for task in list(self._background):
            task.cancel()
        if self._valkey is not None:
            await asyncio.to_thread(self._valkey.stop)


def _beyond_reload(old: Config, new: Config) -> list[str]:
    """The settings that changed and that a reload cannot apply: sockets, and the embedded store with its folder."""
    changed = [name for name in _NEEDS_RESTART if getattr(new, name) != getattr(old, name)]
    embedded = [config.redis.url.get_secret_value() == "embedded" for config in (old, new)]
    if embedded[0] != embedded[1]:
        changed.append("redis.url")
    elif embedded[0] and new.redis.data_dir != old.redis.data_dir:
        changed.append("redis.data_dir")
    return changed


def run(path: Path, environ: Mapping[str, str], echo: Callable[[str], None]) -> int:
    """Run the gateway until a signal stops it. Returns the exit status. Raises ConfigInvalid."""
    return asyncio.run(Supervisor(path, environ, echo).run())
