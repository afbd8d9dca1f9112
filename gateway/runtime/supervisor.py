"""The parent process: it opens the sockets, starts the workers, and keeps them alive.

One worker a core, each on a listening socket that the parent opened and keeps: other workers accept from it while its own worker is missing, and
no connection is reset. SIGTERM: /ready fails, then the workers drain. SIGHUP validates the file, starts the workers of the next generation on
the same sockets and drains the old ones; a file with problems changes nothing. Workers get the resolved configuration through a private
socket, never through arguments or the environment.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from gateway import __version__
from gateway.config.checks.safety import rotation_warnings
from gateway.config.loader import ConfigInvalid, Loaded
from gateway.config.overlay import NOTHING_SAVED, SavedSettings
from gateway.config.schema import Config
from gateway.observability.background import UnexpectedErrors
from gateway.observability.counters import WorkerCounts, WorkerReport
from gateway.observability.events import Audit
from gateway.observability.logging import LogStreams
from gateway.runtime.admin import build_admin, listening
from gateway.runtime.child import WorkerChild, WorkerFailed
from gateway.runtime.client_authentication_watch import ClientAuthenticationWatch
from gateway.runtime.console_listener import ConsoleListener
from gateway.runtime.cores import usable_cores
from gateway.runtime.embedded_store import embedded_store
from gateway.runtime.ended_openings import EndedOpenings
from gateway.runtime.generation import Generation
from gateway.runtime.metrics import ParentFacts
from gateway.runtime.settings_watch import ConfigSource, SettingsWatch
from gateway.runtime.sockets import Listeners
from gateway.runtime.systemd import Notifier, inherited_sockets
from gateway.runtime.telemetry import ReplicaFacts, TelemetryReporter

_log = logging.getLogger("doorward.workers")
_NEEDS_RESTART: Final = ("listen", "listen_mode", "admin_listen", "workers")


class ReloadRefused(Exception):
    """The old workers and their configuration stay; the text gives the reason."""


class Supervisor:
    """The parent of all workers."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._source = ConfigSource(path, environ)
        self._environ = environ
        self._draining: list[Generation] = []
        self._errors = UnexpectedErrors()
        self._reloaded = True  # whether the last reload succeeded
        self._loaded_at = time.time()  # when the last one did that succeeded
        self._ended_counts = WorkerCounts()  # of workers that ended
        self._openings = EndedOpenings()
        self._console = ConsoleListener(environ)
        self._background: set[asyncio.Task[None]] = set()
        self._client_authentication = ClientAuthenticationWatch(lambda: datetime.now(UTC))
        self._notifier = Notifier(environ)
        self._reloading = asyncio.Lock()
        self._reloads = 0  # that have ended
        self._problem: str | None = None  # why the last one was refused
        self._stopping = asyncio.Event()
        self._notice_cut_short = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit status. Raises ConfigInvalid."""
        config = self._source.from_file(NOTHING_SAVED).config
        self._source.keep(NOTHING_SAVED)
        self._streams = LogStreams(config.log)
        self._audit = Audit(self._streams.output, pii_full=config.log.pii == "full")
        self._telemetry = TelemetryReporter(self._replica, self._audit)
        self._settings = SettingsWatch(self._audit, lambda: self._run_in_background(self._apply_settings()))
        try:
            return await self._run(config)
        finally:
            self._streams.close()

    async def _run(self, config: Config) -> int:
        self._errors.install()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._run_in_background(self._reload()))
        async with contextlib.AsyncExitStack() as opened:
            try:
                async with self._reloading:  # a SIGHUP that comes meanwhile waits
                    await self._start(config, opened)
            except (WorkerFailed, ConfigInvalid, OSError, RuntimeError, ValueError) as error:
                _log.error("cannot start: %s", error)
                return 1
            ready = "ready on %s, %d workers, admin on %s"
            _log.info(ready, config.listen, self._listeners.workers, config.admin_listen)
            self._notifier.ready(f"serving on {config.listen}")
            await self._stopping.wait()
            self._notifier.stopping()
            await self._give_notice(self._current.config.shutdown.notice.total_seconds())
            _log.info("stopping: no new connections, open requests may end")
            self._listeners.close()
            self._current.drain(self._current.config.shutdown.drain.total_seconds())
            await asyncio.gather(*(generation.wait_ended() for generation in (self._current, *self._draining)))
        return 0

    async def _start(self, config: Config, opened: contextlib.AsyncExitStack) -> None:
        """Start everything; `opened` ends it in reverse order."""
        workers = usable_cores() if config.workers == "auto" else config.workers
        inherited = inherited_sockets(self._environ, os.getpid())
        self._listeners = Listeners(config.listen, workers, config.listen_mode, inherited)
        opened.callback(self._listeners.close)
        self._redis_url = await opened.enter_async_context(embedded_store(config.redis))
        opened.callback(self._cancel_background)
        opened.callback(self._console.close)
        opened.push_async_callback(self._settings.close)
        saved = await self._settings.start(config, self._redis_url, self._stopping)
        loaded = self._source.as_loaded(saved)
        self._source.keep(saved)
        config = loaded.config
        self._current = self._generation(loaded.data, config)
        opened.push_async_callback(lambda: self._current.kill())
        await self._current.start()
        await opened.enter_async_context(listening(self._admin(), config))
        self._current.serve()
        opened.push_async_callback(self._telemetry.close)
        await self._telemetry.start(config, self._redis_url)
        opened.callback(self._client_authentication.stop)
        self._client_authentication.start(config)

    def _stop(self) -> None:
        """The first signal stops the process; the second one ends the notice at once."""
        (self._notice_cut_short if self._stopping.is_set() else self._stopping).set()

    def _admin(self) -> web.Application:
        return build_admin(
            self._reports, self._facts, lambda: self._listeners.workers, self._stopping.is_set, self._own_dependencies, self._process,
        )  # fmt: skip

    async def _reports(self) -> Sequence[WorkerReport]:
        return [each for each in await asyncio.gather(*(worker.report() for worker in self._current.ready)) if each]

    async def _facts(self) -> ParentFacts:
        """For `/metrics`. The counts of workers that drain or ended, of the console and of this process are in it: a counter never goes back."""
        draining = [
            child for generation in self._draining for child in (*generation.workers.values(), *generation.beside)
        ]
        leaving = [*self._current.beside, *self._current.ended, *draining]
        await asyncio.gather(
            *(child.report() for child in leaving if child.alive)
        )  # into `last`; `_keep_counts` takes that away
        own = WorkerCounts(
            log_lines_dropped=self._streams.dropped, unexpected_errors=self._errors.counts,
            events=self._audit.counts, outcomes=self._audit.outcomes,
        )  # fmt: skip
        return ParentFacts(
            pids=[child.process.pid for child in (*self._current.ready, *leaving) if child.alive],
            past=[*(child.last.counts for child in leaving if child.last is not None), self._ended_counts, own],
            dependencies=self._own_dependencies(), loaded_at=self._loaded_at, reloaded=self._reloaded,
        )  # fmt: skip

    def _own_dependencies(self) -> dict[str, dict[str, Any]]:
        return {**self._client_authentication.report(), **self._settings.report()}

    async def _replica(self) -> ReplicaFacts:
        return ReplicaFacts(
            reports=await self._reports(), parent=await self._facts(), workers=self._current.ready, wanted=self._listeners.workers,
            stopping=self._stopping.is_set(), process=self._process(), config=self._current.config,
        )  # fmt: skip

    def _keep_counts(self, worker: WorkerChild) -> None:
        """The worker ended: add its last report to the counts of those before."""
        if worker.last is not None:
            self._ended_counts.merge(worker.last.counts)
            worker.last = None

    # --- workers ---

    def _generation(self, data: dict[str, Any], config: Config) -> Generation:
        console = self._console.generation(data, config, self._redis_url, self._keep_counts, self._source.for_console)
        return Generation(data, config, self._listeners, self._spawn, self._keep_counts, console)

    async def _spawn(self, slot: int, data: dict[str, Any]) -> WorkerChild:
        worker = WorkerChild(slot, self._openings.on_ended)
        first = {
            "version": __version__,
            "config": data,
            "redis_url": self._redis_url,
            "console": self._console.upstream,
        }
        openings = self._openings.first_message()
        await worker.start({**first, "openings": openings}, self._listeners.sockets)
        self._openings.on_started(worker, openings)
        return worker

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _apply_settings(self) -> None:
        """Have workers run with the settings that are in force now, over the file as it was loaded."""
        async with self._reloading:
            saved = self._settings.in_force
            if saved.values == self._source.saved.values:
                return  # another call applied them
            try:
                old = await self._replace(self._source.as_loaded, saved)
            except ReloadRefused as refused:
                self._settings.refuse(saved, str(refused))
                return
        await self._end(old)

    async def _reload(self) -> None:
        async with self._reloading:
            self._notifier.reloading()
            try:
                old = await self._replace(self._source.from_file, self._settings.in_force)
            except ReloadRefused as refused:
                self._reloaded = False
                _log.error("reload refused, the old configuration stays: %s", refused)
                self._end_reload(str(refused))
                return
            self._reloaded, self._loaded_at = True, time.time()
            self._end_reload(None)
        await self._end(old)

    async def _end(self, old: Generation) -> None:
        """Outside the lock: the next reload, which may correct this one, does not wait for connections that stay open."""
        await old.wait_ended()
        self._draining.remove(old)

    def _end_reload(self, problem: str | None) -> None:
        self._reloads += 1
        self._problem = problem
        self._notifier.ready(
            "reloaded" if problem is None else f"reload refused, the old configuration stays: {problem}"
        )

    def _process(self) -> dict[str, Any]:
        """For `/ready`: what `doorward reload` waits for, and the saved settings that the workers run with."""
        own = {"pid": os.getpid(), "reloads": self._reloads, "problem": self._problem}
        return own | {"settings_version": self._source.saved.version, "confirm_by": self._settings.confirm_by}

    async def _replace(self, load: Callable[[SavedSettings], Loaded], saved: SavedSettings) -> Generation:
        """Replace the workers by those of `load(saved)`. Returns the old generation, which drains. Raises ReloadRefused."""
        try:
            loaded = load(saved)
        except ConfigInvalid as error:
            raise ReloadRefused("; ".join(str(problem) for problem in error.problems)) from error
        except OSError as error:
            raise ReloadRefused(f"{self._source.path} cannot be read: {error.strerror}") from error
        old, config = self._current, loaded.config
        changed = _beyond_reload(old.config, config)
        if changed:
            raise ReloadRefused(f"{', '.join(changed)} needs a restart")
        for warning in rotation_warnings(old.config.keys, config.keys):
            _log.warning("%s", warning)
        try:
            fresh = self._generation(loaded.data, config)
            await fresh.start()
        except (WorkerFailed, OSError) as error:
            raise ReloadRefused(str(error)) from error
        if self._stopping.is_set():
            await fresh.kill()
            raise ReloadRefused("the process is stopping")
        self._streams.apply(config.log)
        self._source.keep(saved)
        fresh.serve()
        self._client_authentication.start(config)
        self._current = fresh
        self._draining.append(old)
        if (
            await self._settings.start(config, self._redis_url, self._stopping)
        ).values != saved.values:  # of another Redis
            self._run_in_background(self._apply_settings())
        old.drain(config.shutdown.drain.total_seconds())
        await self._telemetry.start(config, self._redis_url)
        await old.wait_accepts_nothing()
        _log.info("reloaded: %d new workers, the old ones are draining", len(fresh.workers))
        return old

    # --- the end ---

    async def _give_notice(self, seconds: float) -> None:
        """Serve on while /ready fails, so that a load balancer sees it before a connection is refused (D-07)."""
        if seconds:
            _log.info("stopping: /ready fails, requests are served for another %g s", seconds)
            self._current.give_notice()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._notice_cut_short.wait(), seconds)

    def _cancel_background(self) -> None:
        for task in list(self._background):
            task.cancel()


def _beyond_reload(old: Config, new: Config) -> list[str]:
    """The settings that changed and that a reload cannot apply: sockets, and the embedded store with its folder."""
    changed = [name for name in _NEEDS_RESTART if getattr(new, name) != getattr(old, name)]
    embedded = [config.redis.is_embedded for config in (old, new)]
    if embedded[0] != embedded[1]:
        changed.append("redis.url")
    elif embedded[0] and new.redis.data_dir != old.redis.data_dir:
        changed.append("redis.data_dir")
    return changed


def run(path: Path, environ: Mapping[str, str]) -> int:
    """Run the gateway until a signal stops it. Returns the exit status. Raises ConfigInvalid."""
    return asyncio.run(Supervisor(path, environ).run())
