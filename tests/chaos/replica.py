"""`doorward run` with its workers: started, killed in part, told to end, started again on the same port."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.bench.children import Child, free_port
from tests.bench.cores import command, family
from tests.chaos.wire import Client, Failed
from tests.fakes.connections import holder_of

_EVERYWHERE = set(range(os.cpu_count() or 1))


class Replica:
    """`port` is the door, `admin` the operators' listener. `config` is rendered with both."""

    def __init__(self, name: str, folder: Path, sections: dict[str, Any], environ: Mapping[str, str]) -> None:
        self.name = name
        self.port, self.admin = free_port(), free_port()
        self._folder = folder
        self._file = folder / f"{name}.yaml"
        data = {"listen": f"127.0.0.1:{self.port}", "admin_listen": f"127.0.0.1:{self.admin}", **sections}
        self._file.write_text(yaml.safe_dump(data))
        self._file.chmod(0o600)
        self._starts = 0
        self._environ = [f"{name}={value}" for name, value in environ.items()]
        self.wanted = int(sections["workers"])

    @property
    def config(self) -> Path:
        return self._file

    def begin(self) -> None:
        """Start the process; it is not ready yet."""
        self._starts += 1
        program: list[str | Path] = ["env", *self._environ, sys.executable, "-m", "gateway.cli.main", "run", self._file]
        # Standard output goes through a reader of its own, which can be stopped.
        words = ["bash", "-c", 'exec "$@" > >(exec cat)', "bash", *program]
        self._child = Child(f"{self.name}-{self._starts}", words, self._folder, _EVERYWHERE)

    async def wait_started(self) -> "Replica":
        """Raises BenchFailed with what it said."""
        await asyncio.to_thread(self._child.wait_until, lambda: "ready on " in self.said, 90)
        return self

    @property
    def said(self) -> str:
        return self._child.errors.read_text(errors="replace")

    def all_said(self) -> str:
        """Everything that it wrote to standard error since the beginning."""
        files = sorted(self._folder.glob(f"{self.name}-*.err"))
        return "".join(file.read_text(errors="replace") for file in files)

    @property
    def pid(self) -> int:
        return self._child.pid

    def workers(self) -> list[int]:
        return [pid for pid in family(self.pid) if "gateway.runtime.worker" in command(pid)]

    @property
    def log_reader(self) -> int:
        """The process that reads standard output."""
        return next(pid for pid in family(self.pid) if command(pid).strip("\0 ") == "cat")

    @property
    def output(self) -> str:
        return self._child.output.read_text(errors="replace")

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    async def wait_ended(self) -> None:
        """After SIGTERM. Raises BenchFailed when it does not end."""
        await asyncio.to_thread(self._child.stop)

    def stop(self) -> None:
        self._child.stop()

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and document of `/ready`; 0 when nobody answers."""
        client = Client(self.admin, seconds=3)
        try:
            answer = await client.ask(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            return answer.status, json.loads(answer.body)
        except (Failed, ValueError):
            return 0, {}
        finally:
            client.drop()

    async def all_ready(self) -> bool:
        status, document = await self.ready()
        return (
            status == 200
            and document.get("workers", {}).get("alive") == self.wanted
            and document.get("status") == "ready"
        )

    async def metric(self, name: str) -> float:
        """The sum over all labels; nan when nobody answers."""
        client = Client(self.admin, seconds=5)
        try:
            answer = await client.ask(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        except Failed:
            return float("nan")
        finally:
            client.drop()
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", answer.body.decode(), re.M)
        return sum(float(value) for value in found)

    def worker_of(self, client_port: int) -> int | None:
        """Which worker serves the connection that comes from `client_port` of loopback."""
        return holder_of(self.workers(), self.port, client_port)
