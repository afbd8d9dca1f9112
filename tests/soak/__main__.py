"""`python -m tests.soak [CASE...]`: the cases of the data plane at their full sizes, through one real worker.

The suite has them smaller. Prints what was found beside what is allowed; ends with 1 when something was missed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import uvloop

from tests.bench import idle_connections
from tests.bench.children import BenchFailed
from tests.soak import bodies, crowds, reloads, streams
from tests.soak.place import Place, SoakFailed, placed
from tests.soak.told import Told

Case = Callable[[Place, float], Awaitable[Sequence[Told]]]


async def _bodies(place: Place, size: float) -> Sequence[Told]:
    told = []
    for chunked in (False, True):
        told.append(await bodies.download(place, 5 * size, chunked=chunked))
        told.append(await bodies.upload(place, 5 * size, chunked=chunked))
    return told


async def _bombs(place: Place, size: float) -> Sequence[Told]:
    return await bodies.bombs(place, 10 * size)


async def _stranger(place: Place, size: float) -> Sequence[Told]:
    return [await bodies.stranger(place, size)]


async def _slow(place: Place, size: float) -> Sequence[Told]:
    return [await crowds.slow_clients(place, 60 * size)]


async def _leavers(place: Place, size: float) -> Sequence[Told]:
    return [await crowds.leavers(place, max(50, int(1000 * size)))]


async def _sockets(place: Place, size: float) -> Sequence[Told]:
    return await streams.sockets(place)


async def _events(place: Place, size: float) -> Sequence[Told]:
    return [await streams.events(place, 20 * size), await streams.silence(place, 130 * size)]


async def _steady(place: Place, size: float) -> Sequence[Told]:
    return [await crowds.steady(place, 60 * size)]


async def _reload(place: Place, size: float) -> Sequence[Told]:
    return await reloads.reloads(place, max(3, int(20 * size)))


#: What a case changes in the configuration.
SECTIONS: Final[Mapping[str, Mapping[str, object]]] = {"reload": {"shutdown": {"drain": reloads.DRAIN}}}

MENU: Final[Mapping[str, tuple[str, Case]]] = {
    "bodies": ("5 GiB both ways, with a length and in chunks; each side stands still first (B-51)", _bodies),
    "bombs": ("bodies that unpack to 10 GiB (B-03)", _bombs),
    "stranger": ("1 GiB from somebody without a session (B-19)", _stranger),
    "leavers": ("a thousand clients leave inside their answers (B-54)", _leavers),
    "sockets": (
        "WebSocket messages: a million small ones, a large one, fragments, pings, byte by byte (B-53)",
        _sockets,
    ),
    "events": ("an event stream, and a silent one (B-52)", _events),
    "slow": ("five hundred each of slow heads, bodies, readers, and long Range fields, for a minute (D-20)", _slow),
    "reload": ("twenty reloads under load, with and without nginx in front: no request is lost (D-07)", _reload),
    "steady": ("a minute of requests: memory and descriptors stay (D-08); --size 60 for an hour", _steady),
}
_IDLE: Final = "idle"


def arguments() -> argparse.Namespace:
    rows = "\n".join(f"  {name:9} {title}" for name, (title, _) in MENU.items())
    rows += f"\n  {_IDLE:9} ten thousand idle keep-alive connections"
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="cases:\n" + rows, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all of them when none is named")
    parser.add_argument("--size", type=float, default=1.0, help="of bodies, crowds and times, as a multiple (1)")
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in (*MENU, _IDLE)]
    if unknown:
        parser.error(f"no such case: {' '.join(unknown)}; there are {' '.join(MENU)} {_IDLE}")
    return given


async def run(cases: Sequence[str], size: float) -> int:
    """How many were missed."""
    missed = 0
    for name in cases:
        title, case = MENU[name]
        print(f"\n{name}: {title}", flush=True)
        began = time.monotonic()
        try:
            async with placed(**SECTIONS.get(name, {})) as place:
                told = await case(place, size)
        except (BenchFailed, SoakFailed, OSError, EOFError) as error:
            print(f"MISSED  {type(error).__name__}: {error}")
            missed += 1
            continue
        print(*told, f"        [{time.monotonic() - began:.0f} s]", sep="\n", flush=True)
        missed += sum(not one.reached for one in told)
    return missed


def main() -> int:
    given = arguments()
    cases = given.cases or [*MENU, _IDLE]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        missed = runner.run(run([name for name in cases if name != _IDLE], given.size))
    if _IDLE in cases:
        print(f"\n{_IDLE}: ten thousand idle keep-alive connections", flush=True)
        count = max(100, int(10_000 * min(given.size, 1.0)))
        try:
            idle_connections.raise_limit(count)
            asyncio.run(idle_connections.measure(count))
        except BenchFailed as error:
            print(f"MISSED  {error}")
            missed += 1
    print(f"\n{missed} missed" if missed else "\nall reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
