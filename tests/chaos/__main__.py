"""`python -m tests.chaos [ROW...]`: break things under load, print a table; ends with 1 where something that must hold did not."""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvloop

from tests.bench.children import BenchFailed
from tests.chaos import (
    clocks,
    crowd,
    fleet_faults,
    latency,
    link_faults,
    party_faults,
    process_faults,
    redis_faults,
    refresh,
    settings_faults,
    soak,
)
from tests.chaos.judging import Figures, Row
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.table import HEAD, lines
from tests.chaos.trial import Fault, run

FAULTS: tuple[Fault, ...] = (
    *redis_faults.FAULTS,
    *party_faults.FAULTS,
    *link_faults.FAULTS,
    *process_faults.FAULTS,
    *settings_faults.FAULTS,
)

Measure = Callable[..., Awaitable[Row | Figures]]


def _rows(faults: Sequence[Fault]) -> dict[str, Measure]:
    return {fault.name: partial(run, fault=fault) for fault in faults}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that share a stage."""

    title: str
    stage: Callable[[], Stage]
    rows: Mapping[str, Measure]


PARTS: Sequence[Part] = (
    Part(
        title="one Valkey",
        stage=Stage,
        rows={
            **_rows(FAULTS),
            "rolling restart": process_faults.rolling_restart,
            "revoke everywhere": latency.measure,
            "refresh once": refresh.measure,
            "crowd": crowd.measure,
            "soak": soak.measure,
        },
    ),
    Part(
        title="one Valkey, redis.outage: serve_cached for 5m",
        stage=partial(Stage, outage="serve_cached for 5m"),
        rows=_rows(redis_faults.SERVED_FAULTS),
    ),
    Part(
        title="one Valkey, a clock that jumps",
        stage=partial(Stage, environ=clocks.faked),
        rows=_rows(clocks.FAULTS),
    ),
    Part(title="a Sentinel set of three", stage=partial(Stage, "sentinel"), rows=_rows(fleet_faults.SENTINEL_FAULTS)),
    Part(
        title="a cluster of three, each with a replica",
        stage=partial(Stage, "cluster"),
        rows=_rows(fleet_faults.CLUSTER_FAULTS),
    ),
)


def chosen(words: Sequence[str]) -> list[tuple[Part, list[str]]]:
    """The rows whose names hold one of the words, part by part; all without words."""
    found = [(part, [name for name in part.rows if not words or any(word in name for word in words)]) for part in PARTS]
    return [(part, names) for part, names in found if names]


async def shown(stage: Stage, name: str, measure: Measure, sizes: Mapping[str, Any]) -> int:
    """Run a row and print it; how many musts it does not meet."""
    began = time.monotonic()
    try:
        result = await measure(stage, **sizes)
    except ChaosFailed as error:
        print(f"{name:34}not done: {error}", flush=True)
        return 1
    if isinstance(result, Row):
        print(*lines(result), f"    took {time.monotonic() - began:.0f} s", sep="\n", flush=True)
    else:
        unmet = [f"NOT MET: {must}" for must in result.unmet]
        print(f"\n{result.name}", *(f"    {line}" for line in (*result.lines, *unmet)), sep="\n", flush=True)
    return len(result.unmet)


async def show(parts: Sequence[tuple[Part, list[str]]], sizes: Mapping[str, Mapping[str, Any]], minutes: float) -> int:
    began, unmet = time.monotonic(), 0
    for part, names in parts:
        started = time.monotonic()
        try:
            async with part.stage() as stage:
                up = time.monotonic() - started
                print(f"\n{part.title}; two replicas with four workers each, up after {up:.0f} s\n\n{HEAD}", flush=True)
                for name in names:
                    if time.monotonic() - began > minutes * 60:
                        print(f"{name:34}not done: the time of the run is over", flush=True)
                        unmet += 1
                        continue
                    unmet += await shown(stage, name, part.rows[name], sizes.get(name, {}))
        except ChaosFailed as error:
            print(f"\n{part.title}: not done: {error}", flush=True)
            unmet += len(names)
    print(f"\n{time.monotonic() - began:.0f} s; {f'{unmet} musts are NOT MET' if unmet else 'every must is met'}")
    return 1 if unmet else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="words of the rows' names; all rows when none is given")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("--sessions", type=int, default=50_000, metavar="N", help="of the row `crowd` (50000)")
    parser.add_argument(
        "--soak", type=float, default=40.0, metavar="SECONDS", help="how long the row `soak` takes (40)"
    )
    parser.add_argument("--minutes", type=float, default=9.5, help="no row begins later than this (9.5)")
    given = parser.parse_args()
    parts = chosen(given.rows)
    if not parts:
        parser.error(f"no such row; there are: {', '.join(name for part in PARTS for name in part.rows)}")
    if given.list:
        print(*(name for _, names in parts for name in names), sep="\n")
        return 0
    sizes = {"crowd": {"count": given.sessions}, "soak": {"seconds": given.soak}}
    logging.basicConfig(level=logging.CRITICAL)  # the parties that are broken on purpose complain
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(show(parts, sizes, given.minutes))
    except (ChaosFailed, BenchFailed) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
