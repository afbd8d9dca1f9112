"""A soak in small (D-08, scaled): half of the capacity for a while, with WebSockets and sessions that come and go; then what is left of it.

An hour says more than a minute; `--soak SECONDS` makes it longer. What must hold at any length: descriptors, requests in flight and keys in
Redis come back to where they were. The slope of the memory is printed and not judged: in a minute, noise is as large.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.sessions.shared_headers import shared_prefix
from tests.bench.cores import memory
from tests.chaos.judging import Figures, Meaning, slope
from tests.chaos.load import Load
from tests.chaos.people import Person
from tests.chaos.stage import Stage
from tests.chaos.standing import Standing, always
from tests.chaos.trial import PUSH_BOUND
from tests.chaos.wire import Client

_PEOPLE: Final = 60
_CLIENTS: Final = 16
_SOCKETS: Final = 24
_BURST_SECONDS: Final = 3.0
_SPARE_KEYS: Final = 40  # marks of used sign-ins, leases and notes live for minutes
_SPARE_DESCRIPTORS: Final = 24  # for each worker: the pools to Redis and to the application keep what they opened
now = time.monotonic


@dataclass(frozen=True, slots=True)
class Sample:
    """Of all workers together. `at`: seconds; `rss`: bytes."""

    at: float
    rss: int
    descriptors: int
    threads: int
    keys: int


async def measure(stage: Stage, *, seconds: float) -> Figures:
    people = await stage.seat_many("soak", _PEOPLE)
    ports = [one.port for one in stage.replicas]
    rate = await _capacity(stage, people, ports)
    load = Load(stage, people, ports, bound=PUSH_BOUND, clients=_CLIENTS, pause=2 * _CLIENTS / rate, sign_ins=0)
    counts: Counter[str] = Counter()
    churn = [asyncio.create_task(_sockets_come_and_go(stage, load, people, counts)) for _ in range(_SOCKETS)]
    churn += [asyncio.create_task(_people_come_and_go(stage, load, number, counts)) for number in range(4)]
    before = await _sample(stage)
    load.start()
    samples = []
    end = now() + seconds
    while now() < end:
        await asyncio.sleep(min(2.0, seconds / 10))
        samples.append(await _sample(stage))
    await load.stop()
    for task in churn:
        task.cancel()
    await asyncio.gather(*churn, return_exceptions=True)
    return await _told(stage, load, before, samples, counts, rate, seconds)


async def _capacity(stage: Stage, people: Sequence[Person], ports: Sequence[int]) -> float:
    """Requests a second without a pause, as this load makes them on this machine now; everything is warm afterwards."""
    burst = Load(stage, people, ports, bound=PUSH_BOUND, clients=_CLIENTS, pause=0.0)
    burst.start()
    await asyncio.sleep(_BURST_SECONDS)
    await burst.stop()
    return max(burst.tally.sent / _BURST_SECONDS, 1.0)


async def _sockets_come_and_go(stage: Stage, load: Load, people: Sequence[Person], counts: Counter[str]) -> None:
    while True:
        kind, port = random.choice(("socket", "stream")), random.choice(load.ports)
        one = Standing(kind, random.choice(people), always(port), load.tally, counts)
        with suppress(TimeoutError):
            await asyncio.wait_for(one.keep(again=False), random.uniform(0.3, 2.0))


async def _people_come_and_go(stage: Stage, load: Load, number: int, counts: Counter[str]) -> None:
    """Somebody gets a session, asks for a few pages, and signs out."""
    while True:
        person = await stage.seat(f"guest-{number}")
        client = Client(random.choice(load.ports))
        for _ in range(5):
            await load.ask(client, person)
            await asyncio.sleep(0.05)
        client.drop()
        await load.sign_out(person)
        load.forget(person)
        counts["sessions came and went"] += 1


async def _sample(stage: Stage) -> Sample:
    workers = [pid for one in stage.replicas for pid in one.workers()]
    threads = sum(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[17]) for pid in workers)
    return Sample(
        at=now(),
        rss=sum(memory(pid)[1] for pid in workers),
        descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers),
        threads=threads,
        keys=await stage.redis.dbsize() - await _signed_lately(stage),
    )


async def _signed_lately(stage: Stage) -> int:
    """Keys that workers leave for each other and that are gone after four minutes: as many as sessions were in use since."""
    prefix = shared_prefix(stage.store.record_prefix.removesuffix("s:"))
    return len({key async for key in stage.redis.scan_iter(match=f"{prefix}*", count=1000)})


async def _told(
    stage: Stage,
    load: Load,
    before: Sample,
    samples: Sequence[Sample],
    counts: Counter[str],
    rate: float,
    seconds: float,
) -> Figures:
    async def quiet() -> bool:
        return sum([await one.metric("doorward_requests_in_flight") for one in stage.replicas]) == 0

    unmet = []
    try:
        await stage.until(quiet, "", 15)
    except Exception:
        unmet.append("requests are in flight although nobody asks")
    after, workers = await _sample(stage), sum(len(one.workers()) for one in stage.replicas)
    settled = samples[len(samples) // 3 :]
    growth = slope([(one.at, one.rss) for one in settled]) * 3600 / 1024**2 / workers
    peak = max(one.descriptors for one in samples)
    if after.descriptors > before.descriptors + _SPARE_DESCRIPTORS * workers:
        unmet.append(f"descriptors: {before.descriptors} before, {after.descriptors} after")
    if after.keys > before.keys + _SPARE_KEYS:
        unmet.append(f"lasting keys in Redis: {before.keys} before, {after.keys} after")
    if after.threads > before.threads + 4 * workers:
        unmet.append(f"threads: {before.threads} before, {after.threads} after")
    tally = load.tally
    wrong = (
        tally.meanings[Meaning.WRONG_USER]
        + tally.meanings[Meaning.SIGNED_OUT]
        + tally.meanings[Meaning.AFTER_REVOCATION]
    )
    if wrong or tally.errors:
        unmet.append(f"{wrong} wrong answers, errors: {dict(tally.errors)} {tally.examples}")
    churned = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    lines = [
        f"scaled: {seconds:.0f} s at half of {rate:.0f} requests a second; {tally.sent} requests; {churned}",
        f"memory of {workers} workers: {before.rss / 1024**2:.0f} MiB before, {after.rss / 1024**2:.0f} MiB after;"
        f" slope after a third of the time {growth:+.1f} MiB an hour and worker (an hour's soak should stay below 1)",
        f"descriptors: {before.descriptors} before, {peak} at most, {after.descriptors} after; threads {before.threads} and {after.threads}",
        f"lasting keys in Redis: {before.keys} before, {max(one.keys for one in samples)} at most, {after.keys} after;"
        " no request in flight at the end (tasks cannot be seen from outside)",
    ]
    return Figures(name="soak", lines=lines, unmet=unmet)
