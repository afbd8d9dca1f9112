"""Programs that the benchmark starts on a core, waits for, and ends by their own process id."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench import cores

_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


class BenchFailed(Exception):
    """Something did not come up, or answers what it should not: no figure is worth printing."""


def _settle(on: set[int]) -> None:
    """In the child: go to its cores, and end with the benchmark even if that is killed."""
    os.sched_setaffinity(0, on)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """One program; what it writes to standard error is in `errors`, standard output in `output`."""

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, on: set[int], pass_fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.errors, self.output = folder / f"{name}.err", folder / f"{name}.out"
        with self.errors.open("wb") as errors, self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                preexec_fn=partial(_settle, on),
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def family(self) -> list[int]:
        return cores.family(self.pid)

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> "Child":
        """Raises BenchFailed with what the program said."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self.errors.read_text(errors="replace")[-2000:]
                raise BenchFailed(f"{self.name} {'ended' if ended else 'does not get ready'}:\n{said}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """SIGTERM, and after ten seconds SIGKILL, to this process and to whatever of its family is left."""
        if self._process.poll() is not None:
            return
        family = self.family()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in family:
                if pid in self.family():
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
