"""`python -m tests.bench [ROW...]`: what a request through Doorward costs, beside nginx, haproxy and Envoy in the same run.

Prints tables and which targets were reached; asserts nothing. Ends with 1 only when something could not be measured at all.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import cores, instructions, needs
from tests.bench.children import BenchFailed
from tests.bench.load import Load
from tests.bench.measuring import Plan
from tests.bench.profiling import profile
from tests.bench.rows import (
    ROWS,
    measure_first_requests,
    measure_known_tokens,
    measure_misses,
    measure_new_tokens,
    measure_sockets,
    measure_workers,
)
from tests.bench.stage import Stage
from tests.bench.standing import measure_latency, measure_memory
from tests.bench.table import Result, Verdict

Measure = Callable[[Stage, Plan], Result]

_PUT = {row.name: (row.title, row.measure) for row in ROWS}

# Memory comes first: nothing else has been started then. The rows with targets come before the others, should time run out.
MENU: Mapping[str, tuple[str, Measure]] = {
    "memory": ("PSS of a worker at start, of idle connections, of further cached sessions", measure_memory),
    **{name: _PUT[name] for name in ("page", "log", "file")},
    "miss": (
        "1 KiB, a session that is not in the worker's cache, and that another worker served lately",
        measure_misses,
    ),
    "first": (
        "1 KiB, a session that no worker served within four minutes: read, and signed anew",
        measure_first_requests,
    ),
    "bearer": ("1 KiB, the same access token with each request", measure_known_tokens),
    "bearer-new": ("1 KiB, another access token with each request", measure_new_tokens),
    "latency": ("p50 and p99 at half of the maximum rate", measure_latency),
    "workers": ("two workers on two cores against one", measure_workers),
    **_PUT,
    "sockets": ("WebSocket messages: 64 bytes and back, 32 connections", measure_sockets),
}
READINGS = ("miss", "first")
NOT_QUICK = ("browser", "one", "many")  # `page` shows already whether they would work


def arguments() -> argparse.Namespace:
    rows = "\n".join(f"  {name:12} {title}" for name, (title, _) in MENU.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="rows:\n" + rows, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of them when none is named")
    parser.add_argument("--quick", action="store_true", help="one round of a second: does it work? not for quoting")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3)")
    parser.add_argument("--seconds", type=float, help="how long a load lasts (2 or 3)")
    parser.add_argument("--profile", action="store_true", help="instead of rows: where a worker's time goes")
    parser.add_argument(
        "--instructions", action="store_true", help="instead of times: instructions a request (callgrind); no noise"
    )
    given = parser.parse_args()
    unknown = [name for name in given.rows if name not in MENU]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}; there are {' '.join(MENU)}")
    return given


def about() -> str:
    described = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in described if line.startswith("model name")), "?")
    shared = "" if len(cores.BOTH) > 1 else "; ONE CORE FOR ALL: servers and load share it"
    load = os.getloadavg()[0]
    python = f"Python {platform.python_version()} ({Path(sys.executable).resolve()})"
    return f"{platform.system()} {platform.release()}, {model}, {python}, load {load:.1f}{shared}"


def run(given: argparse.Namespace) -> int:
    plan = Plan(quick=given.quick, rounds=given.rounds, seconds=given.seconds)
    print(about())
    everything = [name for name in MENU if not (given.quick and name in NOT_QUICK)]
    rows = [name for name in MENU if name in (given.rows or everything)]
    verdicts: list[Verdict] = []
    failed = 0
    with Stage() as stage:
        for name in rows:
            title, measure = MENU[name]
            print(f"\n{name}: {title}", flush=True)
            if plan.over():
                print("  not measured: the time of the run is over")
                continue
            began, all_before, ours_before = time.monotonic(), cores.machine(), cores.ours()
            try:
                result = measure(stage, plan)
            except (BenchFailed, OSError, subprocess.SubprocessError) as error:
                print(f"  not measured: {error}")
                failed += 1
                continue
            took, others = time.monotonic() - began, cores.machine() - all_before - (cores.ours() - ours_before)
            told = (
                f"[{took:.0f} s; meanwhile everybody else on this machine used {max(others, 0) / took:.0%} of a core]"
            )
            print(*(f"  {line}" for line in (*result.lines, *result.verdicts, told)), sep="\n", flush=True)
            verdicts += result.verdicts
    if verdicts:
        print("\ntargets", *(f"  {verdict}" for verdict in verdicts), sep="\n")
    if given.quick:
        print("\nOne short round each: it works or it does not; no figure here is worth quoting.")
    return 1 if failed else 0


def profiled(names: Sequence[str]) -> int:
    """One row's load on one Doorward: `page`, unless another is named."""
    name = names[0] if names else "page"
    row = next((row for row in ROWS if row.name == name), None)
    if row is None and name != "miss":
        raise BenchFailed(f"no profile is taken of {name}")
    return profile(row.load if row is not None else Load(), MENU[name][0], misses=row is None)


def counted(names: Sequence[str]) -> int:
    """Instructions of one Doorward for each named row: `page`, unless others are named."""
    chosen = {row.name: row for row in ROWS}
    for name in names or ["page"]:
        if name not in chosen and name not in READINGS:
            raise BenchFailed(f"instructions are not counted for {name}")
    with Stage() as stage:
        for name in names or ["page"]:
            load, door = (Load(), "door") if name in READINGS else chosen[name].door_load()
            lines = instructions.measure(
                stage, door, load, f"{name}: {MENU[name][0]}", reading=name if name in READINGS else ""
            )
            print(*lines, sep="\n", flush=True)
    return 0


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        needs.provide(profile=given.profile or given.instructions)
        if given.instructions:
            return counted(given.rows)
        return profiled(given.rows) if given.profile else run(given)
    except BenchFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
