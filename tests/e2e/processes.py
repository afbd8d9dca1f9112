"""Programs that a test starts, waits for and ends."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

Command = list[str | Path]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether anybody may listen there: not where a connection has its own end, or had it a minute ago."""
    with closing(socket.socket()) as taken:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """One child process; what it prints goes to `log`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        given: str = "",
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
            )
        assert self._child.stdin is not None
        self._child.stdin.write(given.encode())
        self._child.stdin.close()

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Raises AssertionError with the log when the program ends or is not `ready` in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = self._child.poll() is not None
            assert not ended, f"ended with {self._child.returncode}:\n{self.log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, f"not ready after {seconds} s:\n{self.log.read_text(errors='replace')}"
            time.sleep(0.05)

    def stop(self) -> int:
        """Asks it to end, insists after ten seconds; the exit status."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                return self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()
