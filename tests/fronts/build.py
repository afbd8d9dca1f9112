"""Builds Traefik from the Go module proxy into build/fronts: `python -m tests.fronts.build`.

The proxy lacks modules that only Traefik's ACME client and its passwords need: some of the DNS providers of lego, and a fork of
go-http-auth. So lego is copied without its DNS providers, and `traefik/passwords` stands in for the fork. Nothing that is tried here uses them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
BUILT: Final = HERE.parents[1] / "build" / "fronts"
MODULE: Final = HERE / "traefik"
LEGO: Final = "github.com/go-acme/lego/v5"
_NO_PROVIDER: Final = """// Package dns knows no provider.
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName returns an error.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("no DNS provider is built in: %s", name)
}
"""


def build() -> Path:
    """The program. Raises CalledProcessError."""
    program = BUILT / "traefik"
    BUILT.mkdir(parents=True, exist_ok=True)
    print("Building Traefik, which takes a while")
    _copy_lego()
    _go(
        "build",
        "-trimpath",
        "-ldflags=-s -w",
        "-o",
        str(program),
        "github.com/traefik/traefik/v3/cmd/traefik",
        cwd=MODULE,
    )
    return program


def _copy_lego() -> None:
    """lego at the version of Traefik's go.mod, where this go.mod expects it."""
    traefik = _downloaded("github.com/traefik/traefik/v3", (MODULE / "go.mod").read_text())
    source = _downloaded(LEGO, (traefik / "go.mod").read_text())
    copy = BUILT / "lego"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(
        source, copy, ignore=lambda folder, names: names if Path(folder) == source / "providers" / "dns" else []
    )
    for folder, _, files in os.walk(copy):  # the module cache is read-only
        Path(folder).chmod(0o755)
        for name in files:
            (Path(folder) / name).chmod(0o644)
    (copy / "providers" / "dns" / "none.go").write_text(_NO_PROVIDER)


def _downloaded(module: str, required_in: str) -> Path:
    """The folder of a module, at the version that a go.mod requires."""
    version = next(
        line.split()[-1 if "//" not in line else 1]
        for line in required_in.splitlines()
        if module in line and " v" in line
    )
    # Outside of any module: this one's go.mod names folders that are not there yet.
    found = _go("mod", "download", "-json", f"{module}@{version}", cwd=BUILT)
    return Path(json.loads(found)["Dir"])


def _go(*words: str, cwd: Path) -> str:
    """Go of the virtual environment, with one package at a time and after everybody else. Raises CalledProcessError."""
    go = str(Path(sys.executable).parent / "go")
    environ = {**os.environ, "GOFLAGS": "-p=1", "GOTOOLCHAIN": "local"}
    return subprocess.run(
        ["nice", go, *words], cwd=cwd, check=True, env=environ, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    build()
