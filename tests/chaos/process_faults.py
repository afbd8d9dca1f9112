"""Workers that die at any moment, and replicas that are replaced while everybody goes on."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any, Final

from gateway.sessions.indexes import Indexes
from gateway.sessions.records import Records
from tests.bench.cores import command, family
from tests.chaos.judging import Meaning, Row
from tests.chaos.load import Load
from tests.chaos.replica import Replica
from tests.chaos.stage import ORIGIN, PREFIX, ChaosFailed, Stage
from tests.chaos.standing import Standing
from tests.chaos.trial import PUSH_BOUND, Fault, Proof
from tests.fakes.browser import Browser
from tests.fakes.scarcity import no_descriptors

_OPEN: Final = 200  # of each kind
now = time.monotonic


@asynccontextmanager
async def workers_killed(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """D-06: kill -9, one after the other, at random moments, while people sign in, ask and sign out."""
    dead: list[int] = []
    stop = asyncio.Event()

    async def kill() -> None:
        while not stop.is_set():
            workers = [pid for replica in stage.replicas for pid in replica.workers()]
            pid = random.choice(workers)
            if "gateway.runtime.worker" in command(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    dead.append(pid)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), random.uniform(0.3, 1.2))

    task = asyncio.create_task(kill())
    yield
    stop.set()
    await task
    told = sum(replica.said.count("died with status -9") for replica in stage.replicas)
    proof.text = f"kill -9 of {len(dead)} workers; the parents noticed {told} so far" if dead else ""
    await stage.until(stage.all_ready, "the workers do not come back", 90)


@asynccontextmanager
async def workers_not_started(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """D-06: one worker of each replica is killed, and its parent has no descriptor left to start another."""
    with ExitStack() as scarce:
        for replica in stage.replicas:
            scarce.enter_context(no_descriptors(replica.pid, left=1))
            os.kill(random.choice(replica.workers()), signal.SIGKILL)
        yield
    failed = [replica.said.count("cannot be started: [Errno 24]") for replica in stage.replicas]
    proof.text = f"attempts that failed: {' and '.join(map(str, failed))}" if all(failed) else ""
    await stage.until(stage.all_ready, "the workers do not come back", 90)


async def no_client_hangs(stage: Stage, load: Load, proof: Proof) -> None:
    """The kernel goes on giving connections to the socket of the worker that is missing."""
    silent = load.tally.errors["connection silent"]
    proof.broken += [f"{silent} clients were not answered"] if silent else []


@asynccontextmanager
async def gateway_killed(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """D-06: kill -9 of the parent process: of a replica that begins again, and of a gateway with an embedded store."""
    lonely = Replica("lonely", stage.folder, {**stage.settings(), "redis": {"url": "embedded"}}, {})
    lonely.begin()
    await lonely.wait_started()
    killed = stage.replicas[-1]
    left = {*killed.workers(), *family(lonely.pid)} - {lonely.pid}
    store = sum("valkey-server" in command(pid) for pid in left)
    for replica in (killed, lonely):
        os.kill(replica.pid, signal.SIGKILL)

    async def gone() -> bool:
        return not any(command(pid) for pid in left)

    yield
    await stage.until(gone, "workers or a store outlive their parent", 30)
    await killed.wait_ended()
    killed.begin()
    await killed.wait_started()
    await stage.until(stage.all_ready, "the replica does not come back", 60)
    proof.text = f"kill -9 of two parents; all their {len(left)} processes ended, {store} of them an embedded store"
    proof.broken += [] if store == 1 else ["the gateway had no embedded store"]


@asynccontextmanager
async def logs_not_read(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """The reader of standard output is stopped: the pipe fills, then the queues of the workers."""
    for replica in stage.replicas:
        os.kill(replica.log_reader, signal.SIGSTOP)
    yield
    dropped = [await replica.metric("doorward_log_lines_dropped_total") for replica in stage.replicas]
    for replica in stage.replicas:
        os.kill(replica.log_reader, signal.SIGCONT)

    async def noticed() -> bool:
        return all("lines were dropped" in replica.output for replica in stage.replicas)

    await stage.until(noticed, "no line says that lines were dropped", 30)
    proof.text = f"lines dropped: {' and '.join(f'{count:.0f}' for count in dropped)}" if all(dropped) else ""


@asynccontextmanager
async def reloaded(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """SIGHUP: other workers on the same sockets; nobody may notice."""
    before = {pid for replica in stage.replicas for pid in replica.workers()}
    for replica in stage.replicas:
        os.kill(replica.pid, signal.SIGHUP)

    async def replaced() -> bool:
        return not before & {pid for replica in stage.replicas for pid in replica.workers()}

    yield
    await stage.until(replaced, "the old workers do not leave", 60)
    proof.text = f"SIGHUP: all {len(before)} workers were replaced"


async def nobody_noticed(stage: Stage, load: Load, proof: Proof) -> None:
    proof.broken += [f"seen: {dict(load.tally.errors)}"] if load.tally.errors else []
    proof.remarks.append(f"{load.retried} requests sent again, because a kept connection had ended")


async def nothing_halfway(stage: Stage, load: Load, proof: Proof) -> None:
    """No half-sessions, nothing used twice, nobody created twice."""
    proof.broken += await half_sessions(stage)
    proof.broken += await used_twice(stage, load, proof)
    proof.broken += created_twice(stage)


async def half_sessions(stage: Stage) -> list[str]:
    """A record that its person's index does not know could not be ended by a sign-out elsewhere."""
    records, indexes = Records(stage.ring, f"{PREFIX}s:"), Indexes(stage.ring, PREFIX)
    lost = seen = 0
    async for name in stage.client.scan_iter(match=f"{PREFIX}s:*", count=1000):
        key = name.decode().removeprefix(f"{PREFIX}s:")
        session = records.open(key, await stage.client.get(name))
        if session is None:
            continue
        seen += 1
        known = indexes.of_person(session.identity.issuer, session.identity.subject)
        lost += not any([await stage.client.zscore(index, key) is not None for index in known])
    return [f"{lost} of {seen} sessions are in no index"] if lost or not seen else []


async def used_twice(stage: Stage, load: Load, proof: Proof) -> list[str]:
    """Every callback of every sign-in once more, in a browser that holds nothing: none may open a session."""
    opened = 0
    again = load.callbacks[-30:]
    for url in again:
        browser = Browser({ORIGIN: random.choice(stage.replicas).port})
        with suppress(AssertionError, OSError):
            await browser.open(url, follow=False)
        opened += any(
            "session" in cookie and not cookie.partition("=")[2].startswith(";")
            for cookie in browser.page.all("Set-Cookie")
        )
    proof.remarks.append(f"{len(again)} callbacks asked for again: {opened} opened a session")
    return [f"{opened} used callbacks opened a session again"] if opened else []


def created_twice(stage: Stage) -> list[str]:
    emails = Counter(str(record["Email"]).lower() for record in stage.directory.coworkers)
    twice = {email: count for email, count in emails.items() if count > 1}
    return [f"{len(twice)} people were created more than once"] if twice else []


# --- replacing replicas -----------------------------------------------------------------------------------------------


class Balancer:
    """What a load balancer does: it asks each replica's /ready, and sends nobody where that fails."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self.ready = dict.fromkeys((one.name for one in replicas), True)
        self.failed_first: dict[str, bool] = {}

    async def run(self) -> None:
        while True:
            for one in self._replicas:
                status, _ = await one.ready()
                self.ready[one.name] = status == 200
            await asyncio.sleep(0.1)

    def choose(self) -> int | None:
        able = [one.port for one in self._replicas if self.ready[one.name]]
        return random.choice(able) if able else None


async def rolling_restart(stage: Stage) -> Row:
    """D-07. Everybody keeps their connections until told otherwise; each replica in turn gets SIGTERM, ends, and starts again."""
    people = await stage.seat_many("rolling", 60)
    stayers = people[10:]  # whoever keeps something open does not sign out
    balancer = Balancer(stage.replicas)
    load = Load(stage, people, [0], clients=16, bound=PUSH_BOUND, sign_ins=1, choose=balancer.choose)
    counts: Counter[str] = Counter()
    standing = [
        Standing(kind, stayers[number % len(stayers)], balancer.choose, load.tally, counts)
        for kind in ("socket", "stream")
        for number in range(_OPEN)
    ]
    tasks = [asyncio.create_task(balancer.run()), *(asyncio.create_task(one.keep()) for one in standing)]
    load.start()
    proof = Proof()
    try:
        await stage.until(lambda: _all_open(standing), "the WebSockets and streams do not open", 60)
        leavers = iter(people)
        for replica in stage.replicas:
            for _ in range(3):
                await load.sign_out(next(leavers), balancer.choose())
            proof.broken += await _replaced(stage, replica, balancer, proof)
        ended = now()
        with suppress(ChaosFailed):
            await stage.until(lambda: _all_open(standing), "", 30)
        recovery = max(now() - ended, 0.0) if await _all_open(standing) else None
        await load.stop()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    still = sum(1 for one in standing if one.open) if recovery is None else len(standing)
    if recovery is None:
        proof.broken.append(f"only {still} of {len(standing)} WebSockets and streams opened again")
    proof.broken += [f"keep-alive clients saw: {', '.join(load.tally.errors)}"] if load.tally.errors else []
    proof.remarks.append(
        ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + f"; {load.retried} requests sent again"
    )
    return _row(load, proof, recovery)


async def _all_open(standing: list[Standing]) -> bool:
    return all(one.open for one in standing)


async def _replaced(stage: Stage, replica: Replica, balancer: Balancer, proof: Proof) -> list[str]:
    """Which musts were not met on the way."""
    old = replica.pid
    replica.terminate()
    told = now()
    await stage.until(lambda: _unready(balancer, replica), f"/ready of {replica.name} does not fail", 20)
    unready = now() - told
    open_still = await _accepts(replica)
    await replica.wait_ended()
    took = now() - told
    replica.begin()
    await replica.wait_started()
    await stage.until(replica.all_ready, f"{replica.name} does not come back", 60)
    await asyncio.sleep(0.5)
    proof.text += f"{'; ' if proof.text else ''}{replica.name}: /ready failed after {unready:.1f} s, process {old} ended after {took:.1f} s"
    return [] if open_still else [f"{replica.name} turned connections away when /ready began to fail"]


async def _unready(balancer: Balancer, replica: Replica) -> bool:
    return not balancer.ready[replica.name]


async def _accepts(replica: Replica) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    except OSError:
        return False
    writer.transport.abort()
    return True


def _row(load: Load, proof: Proof, recovery: float | None) -> Row:
    tally = load.tally
    facts: Mapping[str, Any] = {
        "wrong": tally.meanings[Meaning.WRONG_USER],
        "lost": tally.meanings[Meaning.SIGNED_OUT],
        "after_revocation": tally.meanings[Meaning.AFTER_REVOCATION],
    }
    return Row(
        name="rolling restart", sent=tally.sent, revoked=load.sign_outs["acknowledged"], late=tally.latest_late, errors=dict(tally.errors),
        recovery=recovery, proof=proof.text, broken=proof.broken, remarks=[*proof.remarks, *tally.examples], **facts,
    )  # fmt: skip


FAULTS = (
    Fault(name="reload (SIGHUP)", happening=reloaded, at_once=True, seconds=6.0, after=nobody_noticed),
    Fault(name="gateway killed", happening=gateway_killed, seconds=6.0),
    Fault(name="logs not read", happening=logs_not_read, seconds=8.0, untouched=True, serves=True),
    Fault(
        name="workers cannot be started",
        happening=workers_not_started,
        seconds=4.0,
        patience=3.0,
        serves=True,
        after=no_client_hangs,
    ),
    Fault(name="workers killed", happening=workers_killed, seconds=10.0, sign_ins=4, after=nothing_halfway),
)
