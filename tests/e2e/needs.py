"""What the end-to-end tests need from the operating system: a browser, two web servers, PHP, and the Redis of the distribution.

Installs what is missing where it can (Debian or Ubuntu, as root) and otherwise says what to install. Run by `make e2e`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "chromium": "chromium",
    "nginx": "nginx-light",  # has the WebDAV module
    "apache2": "apache2-bin",
    "redis-server": "redis-server",
    "php": "php-cli",
}
_ALSO = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/sbin"))


def program(name: str) -> Path | None:
    """Where `name` is; system folders are searched too, because a person's PATH often leaves them out."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + _ALSO)
    return None if found is None else Path(found)


def missing() -> list[str]:
    """The Debian packages of the programs that are not here."""
    return [package for name, package in PACKAGES.items() if program(name) is None]


def install(packages: list[str]) -> None:
    # RUNLEVEL=1: the packages' start scripts start no service.
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "--quiet", "--quiet", "--yes"]
    subprocess.run([*apt, "update"], check=True, env=environ)
    subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=environ)


def main() -> int:
    packages = missing()
    if packages and shutil.which("apt-get") is not None and os.geteuid() == 0:
        print("Installing", *packages)
        install(packages)
        packages = missing()
    if packages:
        print("make e2e needs these Debian packages (as root: apt-get install ...):", *packages, file=sys.stderr)
    return 1 if packages else 0


if __name__ == "__main__":
    sys.exit(main())
