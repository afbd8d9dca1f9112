"""`python -m tests.chaos [ROW...]`: break things under load, print a table; ends with 1 where something that must hold did not."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import uvloop

from tests.bench.children import BenchFailed
from tests.chaos import crowd, latency, link_faults, party_faults, process_faults, redis_faults, refresh, soak
from tests.chaos.judging import Figures, Row
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.table import HEAD, lines
from tests.chaos.trial import Fault, run

FAULTS: tuple[Fault, ...] = (
    *redis_faults.FAULTS,
    *party_faults.FAULTS,
    *link_faults.FAULTS,
    *process_faults.FAULTS,
)

Measure = Callable[..., Awaitable[Row | Figures]]

MENU: Mapping[str, Measure] = {
    **{fault.name: partial(run, fault=fault) for fault in FAULTS},
    "rolling restart": process_faults.rolling_restart,
    "revoke everywhere": latency.measure,
    "refresh once": refresh.measure,
    "crowd": crowd.measure,
    "soak": soak.measure,
}


def chosen(words: Sequence[str]) -> list[str]:
    """The rows whose names hold one of the words; all without words."""
    return [name for name in MENU if not words or any(word in name for word in words)]


async def shown(stage: Stage, name: str, sizes: Mapping[str, Any]) -> int:
    """Run a row and print it; how many musts it does not meet."""
    try:
        result = await MENU[name](stage, **sizes)
    except ChaosFailed as error:
        print(f"{name:34}not done: {error}", flush=True)
        return 1
    if isinstance(result, Row):
        print(*lines(result), sep="\n", flush=True)
    else:
        unmet = [f"NOT MET: {must}" for must in result.unmet]
        print(f"\n{result.name}", *(f"    {line}" for line in (*result.lines, *unmet)), sep="\n", flush=True)
    return len(result.unmet)


async def show(names: Sequence[str], sizes: Mapping[str, Mapping[str, Any]]) -> int:
    began, unmet = time.monotonic(), 0
    async with Stage() as stage:
        print(f"two replicas with four workers each, up after {time.monotonic() - began:.0f} s\n\n{HEAD}", flush=True)
        for name in names:
            unmet += await shown(stage, name, sizes.get(name, {}))
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
    given = parser.parse_args()
    names = chosen(given.rows)
    if not names:
        parser.error(f"no such row; there are: {', '.join(MENU)}")
    if given.list:
        print(*names, sep="\n")
        return 0
    sizes = {"crowd": {"count": given.sessions}, "soak": {"seconds": given.soak}}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(show(names, sizes))
    except (ChaosFailed, BenchFailed) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
