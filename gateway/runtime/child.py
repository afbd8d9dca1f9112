"""One worker process as the parent sees it: the process, and a private socket with JSON lines."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.observability.counters import WorkerReport

_READY_SECONDS: Final = 60.0  # a cold machine compiles everything first
_KILL_SECONDS: Final = 5.0
_REPORT_SECONDS: Final = 1.0
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


class WorkerFailed(Exception):
    """A worker did not become ready; the text gives the reason."""


class WorkerChild:
    """One worker process. `on_opening_ended(id)` is called for each break-glass opening that the worker saw end."""

    def __init__(self, slot: int, on_opening_ended: Callable[[str], None]) -> None:
        self.slot = slot
        self._on_opening_ended = on_opening_ended
        self.ready = asyncio.Event()
        self.draining = False
        self._drain_seconds = 0.0
        self.failure = ""
        self.last: WorkerReport | None = None  # the newest report
        self._reports: list[asyncio.Future[WorkerReport]] = []

    async def start(
        self, data: Mapping[str, Any], redis_url: str | None, listening: socket.socket, openings: Mapping[str, Any]
    ) -> None:
        """Start the process. `data` is the configuration; `openings` are the gateway's name and the IDs of openings that ended before."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.runtime.worker", str(theirs.fileno()), str(listening.fileno()),
                pass_fds=(theirs.fileno(), listening.fileno()), stdin=asyncio.subprocess.DEVNULL, start_new_session=True, env=_environment(),
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=16 * 1024 * 1024)
        self._send({"config": data, "redis_url": redis_url, "slot": self.slot, "openings": openings})
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
        self.draining = True
        self._send({"do": "give_notice"})

    def mark_opening_ended(self, opening_id: str) -> None:
        """Another worker saw this opening end."""
        self._send({"do": "mark_opening_ended", "id": opening_id})

    def drain(self, seconds: float) -> None:
        """Have it stop accepting connections, and end when its requests have ended, or after `seconds`."""
        self.draining = True
        self._drain_seconds = seconds
        self._send({"do": "drain", "seconds": seconds})

    async def end(self) -> None:
        """Wait for a draining worker; kill it five seconds after its time."""
        try:
            await asyncio.wait_for(self.process.wait(), self._drain_seconds + _KILL_SECONDS)
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        """SIGKILL; nothing when the process has ended."""
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
                elif "opening_ended" in message:
                    self._on_opening_ended(message["opening_ended"])
                elif "report" in message:
                    self._on_report(WorkerReport.from_json(message["report"]))
        self._writer.close()

    def _on_report(self, report: WorkerReport) -> None:
        self.last = report
        for future in self._reports:
            if not future.done():
                future.set_result(report)
        self._reports.clear()


def _environment() -> dict[str, str]:
    """The variables that a worker inherits. Secrets of the configuration reach it by the private socket only (C-48)."""
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
