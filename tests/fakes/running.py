"""The product as operators run it: `doorward run` with its workers, as real processes."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.connections import holder_of
from tests.fakes.house import NOBODY, free_port
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse, exchange


@dataclass
class Running:
    """`errors` is the file that standard error goes to, `output` that of standard output."""

    process: asyncio.subprocess.Process
    config: Path
    port: int
    admin_port: int
    folder: Path

    @property
    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    async def ask(self, target: str, app: str = "portal", fields: str = "", method: str = "GET") -> WireResponse:
        return await exchange(
            self.port, f"{method} {target} HTTP/1.1\r\nHost: {app}.localhost:{self.port}\r\n{fields}\r\n".encode()
        )

    async def admin(self, target: str) -> WireResponse:
        return await exchange(
            self.admin_port, f"GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode()
        )

    async def ready(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await self.admin("/ready")).body)
        return answer

    def children(self) -> dict[int, str]:
        """Process ids of the direct children, with their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                    if parent == self.process.pid:
                        found[int(entry.name)] = entry.joinpath("cmdline").read_text().replace("\0", " ")
        return found

    def workers(self) -> set[int]:
        return {pid for pid, command in self.children().items() if "gateway.runtime.worker" in command}

    async def worker_behind(self, port: int, peer_port: int) -> int:
        """The worker with the connection whose worker's end has `port`, and the other one `peer_port`."""
        pid: int = await eventually(lambda: holder_of(self.workers(), port, peer_port))
        return pid

    def rewrite(self, **sections: Any) -> None:
        data = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**data, **sections}))

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@contextlib.asynccontextmanager
async def running(
    folder: Path, upstream: str, *, environ: dict[str, str] | None = None, stdout: int | None = None, **sections: Any
) -> AsyncIterator[Running]:
    """Start it with one public portal and two workers; end it with SIGTERM. `stdout` is a descriptor instead of the file."""
    port, admin_port = free_port(), free_port()
    portal = {"hosts": [f"portal.localhost:{port}"], "upstream": upstream, "public": ["GET /open/**"]}
    data = {
        "listen": f"127.0.0.1:{port}",
        "admin_listen": f"127.0.0.1:{admin_port}",
        "external_url_scheme": "http",
        "workers": 2,
        "keys": ["${DOORWARD_TEST_KEY}"],
        "openid": {"authority_url": NOBODY, "client_id": "doorward", "client_secret": "${DOORWARD_TEST_SECRET}"},
        "apps": {"portal": portal},
        **sections,
    }
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump(data))
    with (folder / "errors").open("wb") as errors, (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli.main",
            "run",
            str(config),
            stdout=output if stdout is None else stdout,
            stderr=errors,
            env={**os.environ, **(environ or {})},
        )
    door = Running(process, config, port, admin_port, folder)
    try:
        await eventually(lambda: process.returncode is not None or "ready on " in door.errors, within=120)
        assert process.returncode is None, door.errors
        yield door
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)
