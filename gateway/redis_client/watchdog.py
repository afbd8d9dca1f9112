"""Ends the embedded server when its gateway is gone: `python -m gateway.redis_client.watchdog FD [FOLDER]`, which `embedded` starts.

It reads a pipe that the gateway holds open and never writes to; the kernel closes it however the gateway ends, by kill -9 too. Workers that
drain then still need their sessions, so the server ends after its last other client, or after ten seconds. FOLDER is deleted afterwards.
This process is as small as Python allows: it imports nothing of the gateway.
"""

import contextlib
import shutil
import socket
import sys
import time
from typing import Final

_LONGEST_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1


def wait_for_other_clients(link: socket.socket) -> None:
    """Until the server has no client but this one, or ten seconds have passed. Raises OSError."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        link.sendall(b"INFO clients\r\n")
        if b"connected_clients:1\r" in link.recv(65536):
            return
        time.sleep(_POLL_SECONDS)


def end_server(link: socket.socket) -> None:
    """Have the server write its data and end. Raises OSError."""
    link.sendall(b"SHUTDOWN\r\n")
    while link.recv(65536):
        pass


def main() -> None:
    """The process's entry."""
    descriptor, *folders = sys.argv[1:]
    # An open connection, not a path: the path may lead to the server of the next gateway by then, which must not end.
    with contextlib.suppress(OSError), socket.socket(fileno=int(descriptor)) as link:
        link.settimeout(_LONGEST_SECONDS)
        sys.stdin.buffer.read()
        wait_for_other_clients(link)
        end_server(link)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
