"""The parent process: it opens the sockets, starts the workers, and keeps them alive.

One worker a core, each on a listening socket that the parent opened and keeps: a worker that is restarted takes over the queue of its
predecessor, and nobody is reset. SIGTERM drains. SIGHUP validates the file, starts new workers on the same sockets and drains the old
ones; a file with problems changes nothing. Workers get the resolved
configuration through a private socket, never by way of arguments or the environment.
"""

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from gateway.admin import Report, build_admin
from gateway.config.loader import ConfigInvalid, load
from gateway.config.schema import Config
from gateway.sessions.embedded import EmbeddedValkey

_log = logging.getLogger("doorward.workers")
_READY_SECONDS: Final = 20.0
_DRAIN_SECONDS: Final = 30.0
_REPORT_SECONDS: Final = 1.0
_NEEDS_RESTART: Final = ("listen", "admin_listen", "workers")


class WorkerFailed(Exception):
    """A worker did not come up; the text says why."""


class WorkerProcess:
    """One child: its process, and the private socket to it (JSON lines)."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.ready = asyncio.Event()
        self.draining = False
        self.failure = ""
        self._reports: list[asyncio.Future[Report]] = []

    async def start(self, data: Mapping[str, Any], redis_url: str | None, listening: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.worker", str(theirs.fileno()), str(listening.fileno()),
                pass_fds=(theirs.fileno(), listening.fileno()), stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=16 * 1024 * 1024)
        self._send({"config": data, "redis_url": redis_url, "slot": self.slot})
        self._listener = asyncio.create_task(self._listen())

    async def wait_ready(self) -> None:
        """Raises WorkerFailed."""
        died = asyncio.create_task(self.process.wait())
        ready = asyncio.create_task(self.ready.wait())
        _, waiting = await asyncio.wait((died, ready), timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not self.ready.is_set():
            raise WorkerFailed(self.failure or f"worker {self.slot} did not become ready")

    async def report(self) -> Report | None:
        """The worker's numbers now; None when it does not answer in time."""
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._reports.append(future)
        self._send({"do": "report"})
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(future, _REPORT_SECONDS)
        return None

    def drain(self) -> None:
        self.draining = True
        self._send({"do": "drain", "seconds": _DRAIN_SECONDS})

    async def end(self) -> None:
        """Wait for a draining worker, then insist."""
        try:
            await asyncio.wait_for(self.process.wait(), _DRAIN_SECONDS + 5)
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def _send(self, message: Mapping[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "ready" in message:
                    self.ready.set()
                elif "failed" in message:
                    self.failure = message["failed"]
                elif "report" in message:
                    for future in self._reports:
                        if not future.done():
                            future.set_result(message["report"])
                    self._reports.clear()
        self._writer.close()


class Supervisor:
    """The parent of all workers."""

    def __init__(self, path: Path, environ: Mapping[str, str], said: Callable[[str], None]) -> None:
        self._path = path
        self._environ = environ
        self._said = said
        self._workers: dict[int, WorkerProcess] = {}
        self._sockets: list[socket.socket] = []
        self._valkey: EmbeddedValkey | None = None
        self._keepers: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit status. Raises ConfigInvalid."""
        loaded = load(self._path, self._environ)
        self._data, self._config = loaded.data, loaded.config
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        try:
            self._open(self._config)
            self._redis_url = self._start_valkey(self._config)
            for slot in range(len(self._slots)):
                self._workers[slot] = await self._spawn(slot)
            for worker in self._workers.values():
                await worker.wait_ready()
            runner = await self._start_admin(self._config)
        except (WorkerFailed, OSError) as error:
            self._said(f"doorward: {error}")
            await self._end_all(kill=True)
            return 1
        for slot in self._workers:
            self._keep(slot)
        self._said(
            f"doorward: ready on {self._config.listen}, {len(self._workers)} workers, admin on {self._config.admin_listen}"
        )
        await self._stopping.wait()
        _log.info("stopping: no new connections, open requests may end")
        await self._end_all(kill=False)
        await runner.cleanup()
        return 0

    # --- what the parent owns ---

    def _open(self, config: Config) -> None:
        count = os.cpu_count() or 1 if config.workers == "auto" else config.workers
        if config.listen.startswith("unix:"):
            self._sockets = [_unix_socket(config.listen.removeprefix("unix:"))]
            self._slots = self._sockets * count
        else:
            host, _, port = config.listen.rpartition(":")
            # A socket that does not share finds out whether somebody else listens; those that share would not.
            _tcp_socket(host.strip("[]"), int(port), shared=False).close()
            self._sockets = [_tcp_socket(host.strip("[]"), int(port), shared=True) for _ in range(count)]
            self._slots = self._sockets

    def _start_valkey(self, config: Config) -> str | None:
        if config.redis.url.get_secret_value() != "embedded":
            return None
        self._valkey = EmbeddedValkey(config.redis.data_dir)
        self._valkey.start()
        return self._valkey.url

    async def _start_admin(self, config: Config) -> web.AppRunner:
        runner = web.AppRunner(build_admin(self._reports, lambda: len(self._slots)), access_log=None)
        await runner.setup()
        if config.admin_listen.startswith("unix:"):
            await web.UnixSite(runner, config.admin_listen.removeprefix("unix:")).start()
        else:
            host, _, port = config.admin_listen.rpartition(":")
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        return runner

    async def _reports(self) -> Sequence[Report]:
        asked = await asyncio.gather(*(worker.report() for worker in self._workers.values() if worker.ready.is_set()))
        return [report for report in asked if report is not None]

    # --- workers ---

    async def _spawn(self, slot: int) -> WorkerProcess:
        worker = WorkerProcess(slot)
        await worker.start(self._data, self._redis_url, self._slots[slot])
        return worker

    def _keep(self, slot: int) -> None:
        task = asyncio.create_task(self._keep_alive(slot))
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)

    async def _keep_alive(self, slot: int) -> None:
        """Start a worker again when it died; more slowly when it keeps dying."""
        pause = 0.1
        while not self._stopping.is_set():
            worker = self._workers[slot]
            await worker.process.wait()
            if worker is not self._workers[slot] or worker.draining or self._stopping.is_set():
                if self._workers[slot] is worker:
                    return
                continue
            _log.error(
                "worker %d (pid %d) died with status %s: starting another",
                slot,
                worker.process.pid,
                worker.process.returncode,
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)
            self._workers[slot] = await self._spawn(slot)
            with contextlib.suppress(WorkerFailed):
                await self._workers[slot].wait_ready()
                pause = 0.1

    def _reload_soon(self) -> None:
        task = asyncio.create_task(self._reload())
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)

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
            changed = [name for name in _NEEDS_RESTART if getattr(loaded.config, name) != getattr(self._config, name)]
            if changed:
                _log.error("reload refused, the old configuration stays: %s needs a restart", ", ".join(changed))
                return
            await self._replace(loaded.data, loaded.config)

    async def _replace(self, data: dict[str, Any], config: Config) -> None:
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
            return
        self._config = config
        old = list(self._workers.values())
        for worker in fresh:
            self._workers[worker.slot] = worker
        for worker in old:
            worker.drain()
        _log.info("reloaded: %d new workers, the old ones are draining", len(fresh))
        await asyncio.gather(*(worker.end() for worker in old))

    async def _end_all(self, *, kill: bool) -> None:
        for worker in self._workers.values():
            if kill:
                worker.kill()
            else:
                worker.drain()
        await asyncio.gather(*(worker.end() for worker in self._workers.values()))
        for keeper in list(self._keepers):
            keeper.cancel()
        for sock in self._sockets:
            sock.close()
        if self._config.listen.startswith("unix:"):
            _remove(self._config.listen.removeprefix("unix:"))
        if self._valkey is not None:
            self._valkey.stop()


def _tcp_socket(host: str, port: int, *, shared: bool) -> socket.socket:
    """A listening socket. Raises OSError that names the address. `shared`: several such sockets, one a worker, on one port."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
        if shared:
            sock.listen(4096)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sock


def _unix_socket(path: str) -> socket.socket:
    """A listening unix socket; a stale one is replaced, a live one is not."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(path) == 0:
            sock.close()
            raise OSError(errno.EADDRINUSE, f"cannot listen on unix:{path}: another process does")
    Path(path).unlink(missing_ok=True)
    sock.bind(path)
    sock.listen(4096)
    return sock


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def run(path: Path, environ: Mapping[str, str], said: Callable[[str], None]) -> int:
    """Run the door until it is told to stop. Returns the exit status. Raises ConfigInvalid."""
    return asyncio.run(Supervisor(path, environ, said).run())
