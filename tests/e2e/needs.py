"""What the end-to-end tests need from the operating system: a browser, web servers and proxies, PHP, and the Redis of the distribution.

Installs what is missing where it can (Debian or Ubuntu, as root) and otherwise says what to install. Run by `make e2e`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "chromium": "chromium",
    "nginx": "nginx-light",  # has the WebDAV module
    "haproxy": "haproxy",
    "caddy": "caddy",
    "apache2": "apache2-bin",
    "redis-server": "redis-server",
    "php": "php-cli",
}
_POLICY = Path("/usr/sbin/policy-rc.d")
_ALSO = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/sbin"))


def program(name: str) -> Path | None:
    """Where `name` is; system folders are searched too, because a person's PATH often leaves them out."""
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + _ALSO)
    return None if found is None else Path(found)


def required(name: str) -> Path:
    """Where `name` is. Raises AssertionError when it is not installed."""
    found = program(name)
    assert found is not None, f"`make e2e` and `make servers` install {name}, or say what to install"
    return found


def missing(packages: Mapping[str, str]) -> list[str]:
    """The Debian packages of what is not here: programs by their name, files by their path."""
    return [
        package
        for name, package in packages.items()
        if not (Path(name).exists() if name.startswith("/") else program(name) is not None)
    ]


@contextmanager
def no_services() -> Iterator[None]:
    """Packages' scripts start no service meanwhile: RUNLEVEL=1 says so to some, this file to the others. One that is there is left alone."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def install(packages: list[str]) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "--quiet", "--quiet", "--yes"]
    with no_services():
        subprocess.run([*apt, "update"], check=True, env=environ)
        subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=environ)


def main(target: str = "make e2e", wanted: Mapping[str, str] = PACKAGES) -> int:
    packages = missing(wanted)
    if packages and shutil.which("apt-get") is not None and os.geteuid() == 0:
        print("Installing", *packages)
        install(packages)
        packages = missing(wanted)
    if packages:
        print(f"{target} needs these Debian packages (as root: apt-get install ...):", *packages, file=sys.stderr)
    return 1 if packages else 0


if __name__ == "__main__":
    sys.exit(main())
