"""Which process holds one end of a connection on loopback."""

import os
from collections.abc import Iterable
from pathlib import Path


def holder_of(pids: Iterable[int], port: int, peer_port: int) -> int | None:
    """The process whose end has `port`, and the other end `peer_port`. None too where the system's tables changed as they were read."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # One port alone may belong to several connections, of several processes.
        if [_port(end) for end in fields[1:3]] == [port, peer_port]:
            inode = f"socket:[{fields[9]}]"
            return next((pid for pid in pids if inode in _open_files(pid)), None)
    return None


def _port(end: str) -> int:
    return int(end.partition(":")[2], 16)


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                continue  # closed meanwhile
    except OSError:
        pass  # the process has ended
    return found
