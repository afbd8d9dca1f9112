"""How many instructions a worker executes for a request, in user space: a figure without noise, whatever else the machine does.

One worker runs under valgrind's callgrind and is asked the same thing on one connection, one request after the other. What the
kernel does is not seen; `--profile` counts the system calls. Equal code gives equal figures to about one in a hundred.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import yaml

from gateway import __version__
from gateway.config.loader import load
from tests.bench import cores
from tests.bench.children import BenchFailed, Child, free_port
from tests.bench.doors import settings
from tests.bench.load import COOKIE, NAVIGATION, Load, ask_once, request_bytes
from tests.bench.peers import program
from tests.bench.stage import SECTIONS, Stage

_WARM: Final = 300
_BLOCK: Final = 200
_BLOCKS: Final = 5
_SHOWN: Final = 25
_LINE = re.compile(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S+?):(\S.*?)(?: \[.*\])?$", re.M)


class Watched:
    """One worker under callgrind, started as the parent of workers starts it, but on a socket of the benchmark's."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="callgrind-", dir=stage.folder))
        file = self._folder / "doorward.yaml"
        file.write_text(yaml.safe_dump(settings(stage.house, self.port, free_port(), **SECTIONS[name])))
        control, theirs = socket.socketpair()
        with theirs, socket.create_server(("127.0.0.1", self.port), backlog=512) as listening:
            descriptors = (theirs.fileno(), listening.fileno())
            command: list[str | Path] = [
                program("valgrind"), "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._folder}/out",
                sys.executable, "-m", "gateway.runtime.worker", *map(str, descriptors),
            ]  # fmt: skip
            self.child = Child("callgrind", command, self._folder, cores.MEASURED, pass_fds=descriptors)
        self._control = control
        openings = {"gateway": "bench", "ended": []}
        self._say(
            {
                "version": __version__,
                "config": load(file, {}).data,
                "redis_url": None,
                "console": None,
                "name": "worker 0",
                "slot": 0,
                "openings": openings,
            }
        )
        control.settimeout(120)
        if not control.recv(65536).startswith(b'{"ready"'):
            raise BenchFailed(f"the worker under callgrind does not get ready: {self.child.errors.read_text()[-2000:]}")
        self._say({"do": "listen", "sockets": [0]})

    def wait_provider(self) -> None:
        view = Load(signed_in=False, fields=NAVIGATION)
        self.child.wait_until(lambda: ask_once(view, self.port, "")[0] == 302)

    def watch(self) -> None:
        """From now on instructions are counted."""
        self._callgrind("--instr=on")

    def count(self, work: Iterator[None]) -> tuple[int, Path]:
        """Instructions executed meanwhile, and the file that says where."""
        self._callgrind("--zero")
        known = set(self._folder.glob("out*"))
        for _ in work:
            pass
        self._callgrind("--dump")
        (file,) = set(self._folder.glob("out*")) - known
        found = re.search(r"^totals: (\d+)", file.read_text(), re.M)
        if found is None:
            raise BenchFailed(f"callgrind wrote no total to {file}")
        return int(found[1]), file

    def stop(self) -> None:
        self._control.close()
        self.child.stop()

    def _say(self, message: Any) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")

    def _callgrind(self, word: str) -> None:
        done = subprocess.run(
            [program("callgrind_control"), word, str(self.child.pid)], capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        if done.returncode or "OK" not in done.stdout:
            raise BenchFailed(f"callgrind_control {word}: {done.stdout[-300:]}{done.stderr[-300:]}")


def measure(stage: Stage, door: str, load: Load, title: str, *, reading: str) -> list[str]:
    """The lines to print for one row; `reading`: miss or first, where each request has a session of its own. Raises BenchFailed."""
    total = _WARM + _BLOCKS * _BLOCK
    tokens = None
    if reading:
        file = stage.tokens(total)
        tokens = iter(file.read_text().split())
        if reading == "miss":
            stage.serve_before(file)
        else:
            stage.forget_signatures()
    cookie = stage.signed_in()
    watched = Watched(stage, door)
    try:
        watched.wait_provider()
        asked = _ask(watched.port, load, cookie, tokens)
        for _ in range(_WARM):
            next(asked)
        watched.watch()
        next(asked)
        blocks = [watched.count(next(asked) for _ in range(_BLOCK)) for _ in range(_BLOCKS - 1)]
        each = sorted(count / _BLOCK for count, _ in blocks)
        lines = [f"{title}: {median(each):,.0f} instructions a request ({each[0]:,.0f} to {each[-1]:,.0f})"]
        return lines + _where(blocks[-1][1])
    finally:
        watched.stop()


def _ask(port: int, load: Load, cookie: str, tokens: Iterator[str] | None) -> Iterator[None]:
    """One request and its whole answer at each step."""
    sock: socket.socket | None = None
    while True:
        if sock is None:
            sock = socket.create_connection(("127.0.0.1", port), 60)
        sock.sendall(request_bytes(load, COOKIE + next(tokens) if tokens is not None else cookie))
        if not _answered(sock, load.status):
            sock.close()
            sock = None
        yield


def _answered(sock: socket.socket, status: int) -> bool:
    """Read one answer; whether the connection goes on. Raises BenchFailed."""
    head, mark, body = b"", b"", b""
    while not mark:
        data = sock.recv(65536)
        if not data:
            raise BenchFailed(f"no answer: {head[:300]!r}")
        head, mark, body = (head + data).partition(b"\r\n\r\n")
    if int(head.split(b" ", 2)[1]) != status:
        raise BenchFailed(f"not {status}: {head[:300]!r}")
    found = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
    missing = int(found[1]) - len(body) if found else 0
    while missing > 0:
        data = sock.recv(262144)
        if not data:
            raise BenchFailed("an answer is cut short")
        missing -= len(data)
    return b"\r\nconnection: close" not in head.lower()


def _where(file: Path) -> list[str]:
    """The C functions with the most instructions of their own, a request."""
    told = subprocess.run(
        [program("callgrind_annotate"), "--auto=no", "--threshold=95", str(file)], capture_output=True, text=True, timeout=60, check=True
    ).stdout  # fmt: skip
    own: dict[str, int] = {}
    for count, _, function in _LINE.findall(told):
        function = function.partition("'")[0]
        own[function] = own.get(function, 0) + int(count.replace(",", ""))
    most = sorted(own.items(), key=lambda one: -one[1])[:_SHOWN]
    return [f"  {count / _BLOCK:9,.0f}  {function}" for function, count in most]
