"""The two cores of a run: the measured server has one to itself, everything else shares the other. And what /proc says of processes."""

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))
MEASURED: Final = {_CORES[0]}
OTHERS: Final = {_CORES[1 % len(_CORES)]}
BOTH: Final = MEASURED | OTHERS
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU time."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        return self.user + self.system

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system)


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from the third field on; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """The process and all that it started."""
    parents = {int(entry.name): _fields(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = [pid]
    for member in found:
        found += [child for child, fields in parents.items() if fields and int(fields[1]) == member]
    return found


def cpu(pids: Iterable[int]) -> Cpu:
    """What these processes used so far, all their threads together."""
    used = Cpu()
    for pid in pids:
        fields = _fields(pid)
        if fields:
            used += Cpu(int(fields[11]) / _TICKS, int(fields[12]) / _TICKS)
    return used


def machine() -> float:
    """Seconds of CPU time that anybody used so far, on all cores; what a hypervisor took away counts too."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(word) / _TICKS for word in words[:8])
    return user + nice + system + irq + softirq + steal


def ours() -> float:
    """Seconds of CPU time that this process and all that it started used so far."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu(family(os.getpid())).total + gone.ru_utime + gone.ru_stime


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def memory(pid: int) -> tuple[int, int]:
    """(PSS, RSS) in bytes. PSS counts a page that n processes share as 1/n of it."""
    wanted = {"Pss:": 0, "Rss:": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name in wanted:
            wanted[name] = int(rest[0]) * 1024
    return wanted["Pss:"], wanted["Rss:"]
