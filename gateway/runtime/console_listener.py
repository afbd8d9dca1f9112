"""The console's listening socket, and the one process that serves it.

The parent opens it, in a folder that no other user can enter, and keeps it: while the console is started again, requests wait in its queue.
"""

import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.config.schema import Config
from gateway.runtime.child import WorkerChild
from gateway.runtime.generation import Generation
from gateway.runtime.sockets import remove_socket, unix_socket

_MODULE: Final = "gateway.runtime.console"
_MODE: Final = 0o600


class ConsoleListener:
    """Opened with the first configuration that has a console. `environ`: `RUNTIME_DIRECTORY` is where the folder is made, if it is set."""

    workers: Final = 1
    all: Final = frozenset({0})

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._runtime_directory = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
        self._folder: Path | None = None
        self._socket: socket.socket | None = None

    def of(self, slot: int) -> frozenset[int]:
        """The index of the one socket."""
        return self.all

    @property
    def upstream(self) -> str | None:
        """`unix:PATH`; None while no configuration has a console."""
        return None if self._folder is None else f"unix:{self._path(self._folder)}"

    def generation(
        self,
        data: dict[str, Any],
        config: Config,
        redis_url: str | None,
        on_ended: Callable[[WorkerChild], None],
        source: dict[str, Any],
    ) -> Generation | None:
        """The console's part of a generation; None for a configuration without one. `source` is the file, as JSON. Raises OSError."""
        if config.console is None:
            return None
        listening = self.open()

        async def spawn(slot: int, data: dict[str, Any]) -> WorkerChild:
            child = WorkerChild(slot, lambda opening_id: None, name="the console", module=_MODULE)
            first = {"version": __version__, "config": data, "redis_url": redis_url, "source": source}
            await child.start(first, [listening])
            return child

        return Generation(data, config, self, spawn, on_ended)

    def close(self) -> None:
        """Close the socket and remove its folder."""
        if self._socket is not None and self._folder is not None:
            remove_socket(self._path(self._folder))
            self._socket.close()
            self._folder.rmdir()
            self._socket = self._folder = None

    def open(self) -> socket.socket:
        """The listening socket. Raises OSError."""
        if self._socket is None:
            # SECURITY: another user who could connect, or put a socket of their own in its place, would be or read an operator (C-91).
            folder = Path(tempfile.mkdtemp(prefix="doorward-", dir=self._runtime_directory))  # 0700
            try:
                self._socket = unix_socket(self._path(folder), _MODE)
            except OSError:
                folder.rmdir()
                raise
            self._folder = folder
        return self._socket

    @staticmethod
    def _path(folder: Path) -> str:
        return str(folder / "console.sock")
