"""One child of the parent process: a worker, and the private socket to it (JSON lines)."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.runtime.readiness import Report

_READY_SECONDS: Final = 60.0  # a cold machine compiles everything first
_INSIST_SECONDS: Final = 5.0
_REPORT_SECONDS: Final = 1.0
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")


class WorkerFailed(Exception):
    """A worker did not come up; the text says why."""


class WorkerChild:
    """One child: its process, and the private socket to it (JSON lines)."""

    def __init__(self, slot: int, glass_over: Callable[[str], None]) -> None:
        """`glass_over(id)` is told of each opening that the worker saw end."""
        self.slot = slot
        self._glass_over = glass_over
        self.ready = asyncio.Event()
        self.draining = False
        self._drain_seconds = 0.0
        self.failure = ""
        self.last: Report | None = None  # what it said last of its numbers
        self._reports: list[asyncio.Future[Report]] = []

    async def start(
        self, data: Mapping[str, Any], redis_url: str | None, listening: socket.socket, glass: Mapping[str, Any]
    ) -> None:
        """`glass` is what break-glass has to know of before this worker's time."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway.runtime.worker", str(theirs.fileno()), str(listening.fileno()),
                pass_fds=(theirs.fileno(), listening.fileno()), stdin=asyncio.subprocess.DEVNULL, start_new_session=True, env=_environment(),
            )  # fmt: skip
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=16 * 1024 * 1024)
        self._send({"config": data, "redis_url": redis_url, "slot": self.slot, "glass": glass})
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

    def give_notice(self) -> None:
        """It serves on, and asks each client to go elsewhere with the next request."""
        self.draining = True
        self._send({"do": "give_notice"})

    def glass_over(self, opening_id: str) -> None:
        """Another worker saw this opening end."""
        self._send({"do": "glass_over", "id": opening_id})

    def drain(self, seconds: float) -> None:
        self.draining = True
        self._drain_seconds = seconds
        self._send({"do": "drain", "seconds": seconds})

    async def end(self) -> None:
        """Wait for a draining worker, then insist."""
        try:
            await asyncio.wait_for(self.process.wait(), self._drain_seconds + _INSIST_SECONDS)
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
                elif "glass_over" in message:
                    self._glass_over(message["glass_over"])
                elif "report" in message:
                    self.last = message["report"]
                    for future in self._reports:
                        if not future.done():
                            future.set_result(message["report"])
                    self._reports.clear()
        self._writer.close()


def _environment() -> dict[str, str]:
    """What a worker needs of ours. The secrets in it came through the private socket already (C-48)."""
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
