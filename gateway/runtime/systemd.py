"""Socket activation and sd_notify of systemd: sockets that are handed over, and the state of the process. Without its library.

Sockets: sd_listen_fds(3), the variables LISTEN_PID and LISTEN_FDS. States: sd_notify(3), datagrams to the socket in NOTIFY_SOCKET.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_FIRST_DESCRIPTOR: Final = 3


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """The listening stream sockets that were handed over to the process `pid`; none without any. Raises OSError for what is none."""
    if environ.get("LISTEN_PID") != str(pid):
        return []  # for another process: variables are inherited, this one too
    count = int(environ.get("LISTEN_FDS", "0"))
    sockets = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(f"descriptor {descriptor} of LISTEN_FDS is no listening stream socket")
        sockets.append(sock)
    return sockets


class Notifier:
    """Sends the state of the process to the service manager (sd_notify); nothing without NOTIFY_SOCKET."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self, status: str) -> None:
        """Started, or a reload has ended."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """`Type=notify-reload` requires the time of it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading")

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=open requests may end")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # A manager that is gone, or does not read, must not stop the process.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), self._address)
