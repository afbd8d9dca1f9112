"""Every target in turn, then broken streams, broken answers and sound requests through a real house; non-zero when anything was found.

FUZZ_SECONDS: how long each (20). FUZZ_SEED: where the streams begin.
"""

import asyncio
import logging
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from tests.attacks.test_differential import Case, Maker, run
from tests.fakes.house import House
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.strict import StrictUpstream, Unclear
from tests.fakes.valkey import running_valkey
from tests.fuzz.answers import Answers, AnswerTrial, BrokenUpstream
from tests.fuzz.streams import HOUSE, Streams, Trial, reply
from tests.fuzz.targets import TARGETS

FOLDER = Path("build/fuzz")
AT_ONCE = 6
CASES_AT_ONCE = 200
ANSWERS_AT_ONCE = 200


def guided(name: str, seconds: int) -> bool:
    """Whether a target holds, with what atheris found out on the way."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    print(f"{name:10} {runs[1] if runs else '?':>9} inputs, {covered[-1] if covered else '?':>5} places", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", file=sys.stderr, flush=True)
    return done.returncode == 0


async def broken_streams(seconds: int, seed: int, valkey: str) -> bool:
    """Whether the invariants of `streams` hold for as long."""
    upstream, provider = StrictUpstream(reply=reply), MisbehavingProvider()
    await upstream.start()
    await provider.start()
    house = await House.open(valkey, f"fuzz-{seed}:", upstreams={"portal": upstream.url}, provider=provider, **HOUSE)
    cookie = await house.session()
    key = house.worker.store.key_of(cookie.partition("=")[2])
    await house.worker.cache.load(key, house.host(), "portal")
    trial = Trial(house, upstream, key)
    trial.listen()
    streams, until = Streams(seed, house.host(), cookie), time.monotonic() + seconds
    problems: list[str] = []
    while time.monotonic() < until and not problems:
        batch = [streams.next() for _ in range(AT_ONCE)]
        await asyncio.gather(*(trial.stream(streams.cuts(stream)) for stream in batch))
        problems = await trial.verdict()
        if problems:
            print(*problems, *map(repr, batch), sep="\n", file=sys.stderr)
    print(f"{'streams':10} {trial.sent:>9} connections, seed {seed}", flush=True)
    await house.close()
    await provider.close()
    await upstream.close()
    return not problems


async def same_as_without(seconds: int, seed: int, valkey: str) -> bool:
    """Whether requests arrive and are answered as without the gateway (D-04), for as long."""
    held, number, until = True, seed, time.monotonic() + seconds
    cases: dict[int, Case] = {}
    upstream = StrictUpstream(reply=lambda seen: cases[int(seen.values("x-case")[0])].reply)
    await upstream.start()
    house = await House.open(valkey, f"fuzz-{seed}:", upstreams={"portal": upstream.url})
    while held and time.monotonic() < until:
        upstream.seen.clear()
        cases.update({case.number: case for case in Maker(number).cases(CASES_AT_ONCE)})
        try:
            await run(house, upstream, cases)
        except (AssertionError, Unclear, EOFError, TimeoutError) as error:
            held = False
            print(f"seed {number}: {type(error).__name__}: {error}", file=sys.stderr)
        number += 1
    await house.close()
    await upstream.close()
    print(f"{'same':10} {(number - seed) * CASES_AT_ONCE:>9} requests, seeds {seed} to {number - 1}", flush=True)
    return held


async def broken_answers(seconds: int, seed: int, valkey: str) -> bool:
    """Whether clients see sound answers or broken ones, and nobody another's, for as long."""
    upstream, until = BrokenUpstream(Answers(seed)), time.monotonic() + seconds
    await upstream.start()
    apps = {"portal": {"timeouts": {"idle": "1s", "response_headers": "1s"}}}
    house = await House.open(valkey, f"fuzz-{seed}:", upstreams={"portal": upstream.url}, apps=apps)
    trial = AnswerTrial(house, upstream, await house.session())
    while time.monotonic() < until and not trial.problems:
        await asyncio.gather(*(trial.one("HEAD" if number % 5 == 4 else "GET") for number in range(ANSWERS_AT_ONCE)))
    print(*trial.problems[:5], sep="\n", file=sys.stderr)
    await trial.settled()
    await house.close()
    await upstream.close()
    print(f"{'answers':10} {trial.count:>9} answers, seed {seed}", flush=True)
    return not trial.problems


def main() -> int:
    seconds = int(os.environ.get("FUZZ_SECONDS", "20"))
    logging.getLogger("doorward").setLevel(logging.ERROR)  # a broken message is no news here
    whole = {"streams": broken_streams, "answers": broken_answers, "same": same_as_without}
    chosen = sys.argv[1:] or [*TARGETS, *whole]
    unknown = set(chosen) - {*TARGETS, *whole}
    if unknown:
        there = ", ".join((*TARGETS, *whole))
        print(f"no such target: {', '.join(sorted(unknown))}; there are {there}", file=sys.stderr)
        return 2
    held = [guided(name, seconds) for name in chosen if name in TARGETS]
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
    for name, through in whole.items():
        if name in chosen:
            with running_valkey() as valkey, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                held.append(runner.run(through(seconds, seed, valkey.url)))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
