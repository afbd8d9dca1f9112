"""What a run needs of the machine: Linux with /proc and two cores, and a few programs.

Debian's packages are installed where that can be done (as root); otherwise it is said which are missing. Envoy and py-spy come with
`requirements/bench.lock`.
"""

import os
import shutil
import subprocess
import sys

from tests.bench.children import BenchFailed
from tests.bench.peers import program

_ALWAYS = {"nginx": "nginx-light", "wrk": "wrk", "haproxy": "haproxy"}
_PROFILE = {"strace": "strace", "perf": "linux-perf", "valgrind": "valgrind"}


def missing(*, profile: bool) -> list[str]:
    """The Debian packages of the programs that are not here."""
    return [package for name, package in (_ALWAYS | (_PROFILE if profile else {})).items() if not _here(name)]


def _here(name: str) -> bool:
    try:
        program(name)
    except BenchFailed:
        return False
    return True


def provide(*, profile: bool) -> None:
    """Install what is missing. Raises BenchFailed."""
    if not sys.platform.startswith("linux"):
        raise BenchFailed("the benchmark reads /proc and pins processes to cores: it needs Linux")
    packages = missing(profile=profile)
    if packages and shutil.which("apt-get") is not None and os.geteuid() == 0:
        print("Installing", *packages, flush=True)
        # RUNLEVEL=1: the packages' start scripts start no service.
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        apt = ["apt-get", "--quiet", "--quiet", "--yes"]
        subprocess.run([*apt, "update"], check=True, env=environ)
        subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=environ)
        packages = missing(profile=profile)
    if packages:
        raise BenchFailed(
            f"make bench needs these Debian packages (as root: apt-get install ...): {' '.join(packages)}"
        )
    if not _here("envoy"):
        raise BenchFailed("Envoy is not here: pip install --require-hashes --requirement requirements/bench.lock")
