"""A `systemctl` for a machine without systemd: it starts one unit as its file says, as far as `doorward.service` asks.

Known: `LoadCredential`, `StateDirectory`, `User`, `UMask`, `ExecStartPre`, `ExecStart`, `ExecReload`. What confines the process is left out.

    python3 service_manager.py enable --now NAME | start | stop | restart | reload | status | daemon-reload
"""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run")
_STOP_SECONDS = 45.0


class Unit:
    """One unit file; `values` has all values of each key, in their order."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        self.values: dict[str, list[str]] = {}
        for line in (UNITS / f"{self.name}.service").read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                self.values.setdefault(key.strip(), []).append(value.strip())
        self.user = pwd.getpwnam(self.one("User"))
        self._pid_file = RUN / f"{self.name}.pid"

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

    def start(self) -> None:
        self._give_credentials()
        state = Path("/var/lib") / self.one("StateDirectory")
        state.mkdir(mode=int(self.one("StateDirectoryMode"), 8), exist_ok=True)
        os.chown(state, self.user.pw_uid, self.user.pw_gid)
        for command in self.values.get("ExecStartPre", []):
            subprocess.run(self._as_user(command), check=True, env=self._environment(), cwd="/")
        log = (RUN / f"{self.name}.log").open("ab")
        process = subprocess.Popen(
            self._as_user(self.one("ExecStart")), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(), cwd="/", start_new_session=True
        )  # fmt: skip
        self._pid_file.write_text(str(process.pid))

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

    def reload(self) -> None:
        command = self.one("ExecReload").replace("$MAINPID", str(self.pid))
        subprocess.run(self._as_user(command), check=True, env=self._environment(), cwd="/")

    def _give_credentials(self) -> None:
        """Copies that the user alone can read. Raises SystemExit for one that is missing, as systemd does not start such a unit."""
        folder = RUN / "credentials" / f"{self.name}.service"
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

    def _as_user(self, command: str) -> list[str]:
        user = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--init-groups"]
        shell = f"umask {self.one('UMask')}; exec {shlex.join(shlex.split(command))}"
        return [*user, "/bin/sh", "-c", shell]

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}


def main(words: list[str]) -> int:
    verb, names = words[0], [word for word in words[1:] if not word.startswith("--")]
    if verb == "daemon-reload":
        return 0
    unit = Unit(names[0])
    if verb == "status":
        print(f"{unit.name}.service: {'active (running)' if unit.pid is not None else 'failed'}")
        return 0 if unit.pid is not None else 3
    if verb in ("stop", "restart"):
        unit.stop()
    if verb in ("start", "restart", "enable"):
        unit.start()
    if verb == "reload":
        unit.reload()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
