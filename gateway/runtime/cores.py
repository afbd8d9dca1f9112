"""How many workers `workers: auto` means: the cores that this process may use, by its affinity mask and by the CPU quota of its cgroup."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def usable_cores(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> int:
    """At least 1. A quota of one and a half cores is worth two workers. `root`: the mounted cgroups, `membership`: as /proc/self/cgroup."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(root, membership))]))


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """The quotas in cores: of the process's cgroup and of all above it, each of which limits it."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        parts = [part for part in path.split("/") if part not in ("", "..")]
        if not controllers:  # version 2
            mounted, read = root, _quota_of_version_2
        elif "cpu" in controllers.split(","):
            mounted, read = root / "cpu", _quota_of_version_1
        else:
            continue
        for depth in range(len(parts) + 1):
            yield from read(mounted.joinpath(*parts[:depth]))


def _quota_of_version_2(folder: Path) -> Iterator[float]:
    for line in _lines(folder / "cpu.max"):
        quota, period = line.split()
        if quota != "max":
            yield int(quota) / int(period)


def _quota_of_version_1(folder: Path) -> Iterator[float]:
    for quota, period in zip(_lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us"), strict=False):
        if int(quota) > 0:
            yield int(quota) / int(period)


def _lines(file: Path) -> list[str]:
    """None where there is no such file: no cgroups, or a container that sees its own as the root."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
