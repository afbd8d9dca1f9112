"""Servers of our own, for what no server that can be installed here does as plainly."""

import sys
from pathlib import Path

from tests.e2e.processes import Program, listens
from tests.servers.door import Kind


def _fake(name: str, module: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        running = Program([sys.executable, "-m", module, str(port)], folder / "server.log")
        running.wait_until(lambda: listens(port))
        return [running]

    return Kind(name, start, methods=False)


LATE_BODIES = _fake("late bodies", "tests.fakes.late_bodies")
NTLM = _fake("NTLM", "tests.fakes.ntlm_server")
