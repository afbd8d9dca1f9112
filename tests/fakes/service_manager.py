"""What systemd does for a unit with a socket: it holds the listening socket, starts the program with it, and receives its states."""

import asyncio
import os
import socket
import sys
from pathlib import Path


class ServiceManager:
    """`port` is the one of the socket. `states` are the datagrams that the programs sent, in their order."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listening.getsockname()[1]
        self.states: list[str] = []
        self._folder = folder
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self._environ = {**os.environ, **environ, "NOTIFY_SOCKET": str(folder / "notify"), "LISTEN_FDS": "1"}

    async def start(self, config: Path) -> asyncio.subprocess.Process:
        """The program's third descriptor is the socket; LISTEN_PID names the program."""
        descriptor = self.listening.fileno()
        script = f'exec 3<&{descriptor}; LISTEN_PID=$$ exec "$@"'
        with (self._folder / "errors").open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                "bash", "-c", script, "bash", sys.executable, "-m", "gateway.cli.main", "run", str(config),
                pass_fds=(descriptor,), stdout=asyncio.subprocess.DEVNULL, stderr=errors, env=self._environ,
            )  # fmt: skip

    @property
    def errors(self) -> str:
        return (self._folder / "errors").read_text()

    def received(self, state: str) -> int:
        """How many datagrams had this line."""
        try:
            while True:
                self.states.append(self._notify.recv(4096).decode())
        except BlockingIOError:
            return sum(state in each.split("\n") for each in self.states)

    def close(self) -> None:
        self.listening.close()
        self._notify.close()
