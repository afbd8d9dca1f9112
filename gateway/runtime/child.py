"""One child process as the parent sees it, a worker or the console: the process, and a private socket with JSON lines."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from gateway.observability.background import report_error
from gateway.observability.counters import WorkerReport

_READY_SECONDS: Final = 60.0  # a cold machine compiles everything first
_KILL_SECONDS: Final = 5.0
_REPORT_SECONDS: Final = 1.0
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


class WorkerFailed(Exception):
    """A worker did not become ready; the text gives the reason."""


class WorkerChild:
    """One child process. `on_opening_ended(id)` is called for each break-glass opening that it saw end; `module` is what it runs."""

    def __init__(
        self,
        slot: int,
        on_opening_ended: Callable[[str], None],
        *,
        name: str = "",
        module: str = "gateway.runtime.worker",
    ) -> None:
        self.slot = slot
        self.name = name or f"worker {slot}"
        self._module = module
        self._on_opening_ended = on_opening_ended
        self.started_at = 0.0  # in seconds since 1970
        self.ready = asyncio.Event()
        self._draining = asyncio.Event()
        self._drain_seconds = 0.0
        self.failure = ""
        self.last: WorkerReport | None = None  # the newest report
        self._reports: list[asyncio.Future[WorkerReport]] = []

    async def start(self, first: Mapping[str, Any], sockets: Sequence[socket.socket]) -> None:
        """Start the process, which inherits `sockets`. `first` is its first message: see `runtime.worker`. Raises WorkerFailed."""
        try:
            await self._start({**first, "name": self.name}, [sock.fileno() for sock in sockets])
        # RuntimeError: Python 3.11 waits for each child in a thread, and no thread can be started either when the machine is full.
        except (OSError, RuntimeError) as error:
            raise WorkerFailed(f"{self.name} cannot be started: {error}") from error

    async def _start(self, first: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        self.started_at = time.time()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", self._module, str(theirs.fileno()), *map(str, descriptors),
                    pass_fds=(theirs.fileno(), *descriptors), stdin=asyncio.subprocess.DEVNULL, start_new_session=True, env=_environment(),
                )  # fmt: skip
            self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=16 * 1024 * 1024)
        except BaseException:
            ours.close()  # a worker that runs already ends by that
            raise
        self._send(first)
        self._listener = asyncio.create_task(self._listen())

    @property
    def alive(self) -> bool:
        """Whether it became ready and has not ended."""
        return self.ready.is_set() and self.process.returncode is None

    def listen(self, indexes: Iterable[int]) -> None:
        """Have it accept connections from the sockets with these indexes, and from no others."""
        self._send({"do": "listen", "sockets": sorted(indexes)})

    async def wait_ready(self) -> None:
        """Raises WorkerFailed."""
        await self._first_of(self.ready, _READY_SECONDS)
        if not self.ready.is_set():
            raise WorkerFailed(self.failure or f"{self.name} did not become ready")

    async def report(self) -> WorkerReport | None:
        """The worker's numbers now; None when it does not answer within a second."""
        future: asyncio.Future[WorkerReport] = asyncio.get_running_loop().create_future()
        self._reports.append(future)
        self._send({"do": "report"})
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(future, _REPORT_SECONDS)
        return None

    def give_notice(self) -> None:
        """Order the worker to close each connection after its next response; it goes on serving."""
        self._send({"do": "give_notice"})

    def mark_opening_ended(self, opening_id: str) -> None:
        """Another worker saw this opening end."""
        self._send({"do": "mark_opening_ended", "id": opening_id})

    def drain(self, seconds: float) -> None:
        """Have it stop accepting connections, and end when its requests have ended, or after `seconds`."""
        self._drain_seconds = seconds
        self._send({"do": "drain", "seconds": seconds})

    async def wait_draining(self) -> None:
        """After `drain`: until it accepts nothing more, or has ended."""
        await self._first_of(self._draining, None)

    async def wait_ended(self) -> None:
        """Wait for a draining worker; kill it five seconds after its time."""
        try:
            await asyncio.wait_for(self.process.wait(), self._drain_seconds + _KILL_SECONDS)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def wait(self) -> None:
        """Until the process has ended and its last words are read."""
        await self.process.wait()
        await asyncio.wait((self._listener,), timeout=_REPORT_SECONDS)

    async def _first_of(self, event: asyncio.Event, seconds: float | None) -> None:
        """Until `event`, the end of the process, or the end of `seconds`."""
        waiting = {asyncio.create_task(self.wait()), asyncio.create_task(event.wait())}
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _send(self, message: Mapping[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                try:
                    self._on_message(json.loads(line))
                except Exception as error:
                    report_error("message of a worker", error)
        self._writer.close()

    def _on_message(self, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            self.ready.set()
        elif "draining" in message:
            self._draining.set()
        elif "failed" in message:
            self.failure = message["failed"]
        elif "opening_ended" in message:
            self._on_opening_ended(message["opening_ended"])
        elif "report" in message:
            self._on_report(WorkerReport.from_json(message["report"]))

    def _on_report(self, report: WorkerReport) -> None:
        self.last = report
        for future in self._reports:
            if not future.done():
                future.set_result(report)
        self._reports.clear()


def _environment() -> dict[str, str]:
    """The variables that a worker inherits. Secrets of the configuration reach it by the private socket only (C-48)."""
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
