"""A `systemctl` for a machine without systemd: it starts `doorward.service` and `doorward.socket` as their files say.

Known of a service: `Type=notify`, `LoadCredential`, `StateDirectory`, `User`, `UMask`, `ExecStartPre`, `ExecStart`, `ExecReload`; of a socket: one
`ListenStream` of TCP. What confines the process is left out.

    python3 service_manager.py enable --now UNIT | start UNIT | stop UNIT | restart UNIT | reload UNIT | status UNIT | daemon-reload
"""

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run")
_STOP_SECONDS = 45.0
_START_SECONDS = 90.0


class UnitFile:
    """One unit file; `values` has all values of each key, in their order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, list[str]] = {}
        for line in (UNITS / name).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                self.values.setdefault(key.strip(), []).append(value.strip())
        self._pid_file = RUN / f"{name}.pid"

    def one(self, key: str) -> str:
        return self.values[key][-1]

    @property
    def pid(self) -> int | None:
        """The main process, if it runs."""
        try:
            pid = int(self._pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return None if state == "Z" else pid

    def record(self, pid: int) -> None:
        self._pid_file.write_text(str(pid))

    def stop(self) -> None:
        """SIGTERM to the main process, as KillMode=mixed says, and wait."""
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while self.pid is not None:
            if time.monotonic() > end:
                raise SystemExit(f"{self.name} does not stop")
            time.sleep(0.05)


class SocketUnit(UnitFile):
    """A process of its own holds the listening socket, and gives it to each start of the service."""

    @property
    def _way(self) -> str:
        return str(RUN / f"{self.name}.way")

    def start(self) -> None:
        host, _, port = self.one("ListenStream").rpartition(":")
        listening = socket.create_server((host, int(port)), backlog=int(self.one("Backlog")))
        way = socket.socket(socket.AF_UNIX)
        way.bind(self._way)
        way.listen()
        pid = os.fork()
        if pid:
            self.record(pid)
            return
        os.setsid()
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        while True:
            asking, _ = way.accept()
            socket.send_fds(asking, [b"socket"], [listening.fileno()])
            asking.close()

    def descriptor(self) -> int | None:
        """The listening socket; None while this unit does not run."""
        if self.pid is None:
            return None
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self._way)
            return socket.recv_fds(link, 16, 1)[1][0]


class Service(UnitFile):
    """A service."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.user = pwd.getpwnam(self.one("User"))

    def start(self) -> None:
        """Returns when the process says that it is ready."""
        self._give_credentials()
        state = Path("/var/lib") / self.one("StateDirectory")
        state.mkdir(mode=int(self.one("StateDirectoryMode"), 8), exist_ok=True)
        os.chown(state, self.user.pw_uid, self.user.pw_gid)
        for command in self.values.get("ExecStartPre", []):
            self._run(command)
        notify = RUN / f"{self.name}.notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (RUN / "doorward.log").open("ab") as log:
            told.bind(str(notify))
            notify.chmod(0o777)
            listening = self._listening()
            handed = "" if listening is None else f"export LISTEN_FDS=1 LISTEN_PID=$$; exec 3<&{listening}; "
            process = subprocess.Popen(
                self._as_user(self.one("ExecStart"), handed), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**self._environment(), "NOTIFY_SOCKET": str(notify)}, cwd="/", start_new_session=True,
                pass_fds=() if listening is None else (listening,),
            )  # fmt: skip
            self.record(process.pid)
            told.settimeout(_START_SECONDS)
            while b"READY=1" not in told.recv(4096).split(b"\n"):
                pass

    def reload(self) -> None:
        self._run(self.one("ExecReload").replace("$MAINPID", str(self.pid)))

    def _listening(self) -> int | None:
        name = self.name.replace(".service", ".socket")
        return SocketUnit(name).descriptor() if (UNITS / name).exists() else None

    def _give_credentials(self) -> None:
        """Copies that the user alone can read. Raises SystemExit for one that is missing, as systemd does not start such a unit."""
        folder = RUN / "credentials" / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for value in self.values.get("LoadCredential", []):
            name, _, source = value.partition(":")
            if not Path(source).is_file():
                raise SystemExit(f"{self.name}: the credential {source} does not exist")
            shutil.copyfile(source, folder / name)
            (folder / name).chmod(0o400)
            os.chown(folder / name, self.user.pw_uid, self.user.pw_gid)
        folder.chmod(0o500)
        os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def _run(self, command: str) -> None:
        subprocess.run(self._as_user(command), check=True, env=self._environment(), cwd="/")

    def _as_user(self, command: str, before: str = "") -> list[str]:
        user = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--init-groups"]
        shell = f"{before}umask {self.one('UMask')}; exec {shlex.join(shlex.split(command))}"
        return [*user, "/bin/sh", "-c", shell]

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}


def main(words: list[str]) -> int:
    verb, names = words[0], [word for word in words[1:] if not word.startswith("--")]
    if verb == "daemon-reload":
        return 0
    name = names[0] if "." in names[0] else f"{names[0]}.service"
    unit = SocketUnit(name) if name.endswith(".socket") else Service(name)
    if verb == "status":
        print(f"{unit.name}: {'active (running)' if unit.pid is not None else 'failed'}")
        return 0 if unit.pid is not None else 3
    if verb in ("stop", "restart"):
        unit.stop()
    if verb in ("start", "restart", "enable"):
        unit.start()
    if verb == "reload" and isinstance(unit, Service):
        unit.reload()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
