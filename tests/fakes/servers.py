"""Real application servers on loopback: gunicorn, uvicorn, werkzeug, each serving `echo_apps`."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.fakes.house import free_port

KINDS = ("gunicorn", "uvicorn", "werkzeug")


@contextlib.contextmanager
def serving(kind: str) -> Iterator[str]:
    """Start a server of this kind; its URL. Ends it afterwards."""
    port = free_port()
    commands = {
        "gunicorn": [
            "gunicorn",
            "--bind",
            f"127.0.0.1:{port}",
            "--worker-class",
            "gthread",
            "--threads",
            "4",
            "tests.fakes.echo_apps:wsgi",
        ],
        "uvicorn": ["uvicorn", "--port", str(port), "--log-level", "error", "tests.fakes.echo_apps:asgi"],
        "werkzeug": ["tests.fakes.echo_apps", str(port)],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *commands[kind]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with status {process.returncode}"
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the server did not listen in time")
