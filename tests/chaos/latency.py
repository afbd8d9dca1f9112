"""From a revoke in one process to the refusal in all eight workers of two replicas; and how soon what is open is closed.

A connection to each worker asks as fast as it is answered. Every other session is ended by a sign-out at one of the workers, the others by this
process with the product's store, as a command does it. Refusals count from the moment at which the revoke was acknowledged.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.chaos.judging import Figures, Meaning, Tally, percentile
from tests.chaos.load import Load
from tests.chaos.people import Person
from tests.chaos.stage import WORKERS, ChaosFailed, Stage
from tests.chaos.standing import Standing, always
from tests.chaos.trial import PUSH_BOUND
from tests.chaos.wire import Client

REVOCATIONS: Final = 240
_WITH_SOCKETS: Final = 60
_TRIES: Final = 400
now = time.monotonic


async def one_client_each(stage: Stage) -> list[Client]:
    """A connection to each worker. The kernel spreads new connections over the workers; it is asked until each has one."""
    found: dict[int, Client] = {}
    for replica in stage.replicas:
        for _ in range(_TRIES):
            client = Client(replica.port)
            await client.connect()
            await asyncio.sleep(0.005)
            worker = replica.worker_of(client.local_port())
            if worker is None or worker in found:
                client.drop()
            else:
                found[worker] = client
            if sum(1 for pid in found if pid in replica.workers()) == WORKERS:
                break
    if len(found) != WORKERS * len(stage.replicas):
        raise ChaosFailed(f"only {len(found)} workers could be reached")
    return list(found.values())


class Measured:
    """`gaps`: until the last request that was accepted was sent, after the acknowledgement. `refusals`: from the revoke's call to the last first refusal."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.refusals: list[float] = []
        self.closed: list[float] = []
        self.never = 0


async def measure(stage: Stage) -> Figures:
    people = await stage.seat_many("revoked", REVOCATIONS)
    clients = await one_client_each(stage)
    load = Load(stage, people, [one.port for one in stage.replicas], bound=PUSH_BOUND)
    found, counts = Measured(), Counter[str]()
    for number, person in enumerate(people):
        for client in clients:
            await load.ask(client, person)
        sockets = (
            await _sockets(stage, person, load.tally, counts) if number % (REVOCATIONS // _WITH_SOCKETS) == 0 else []
        )
        await _revoke(stage, load, clients, person, found, by_sign_out=number % 2 == 0)
        await _until_closed(sockets, person, found)
    for client in clients:
        client.drop()
    return _told(load.tally, found)


async def _revoke(
    stage: Stage, load: Load, clients: Sequence[Client], person: Person, found: Measured, *, by_sign_out: bool
) -> None:
    polls = [asyncio.create_task(_poll(load, client, person)) for client in clients]
    called = now()
    if by_sign_out:
        await load.sign_out(person)
    else:
        person.doubtful_from = called
        await stage.store.revoke(person.key)
        person.over_from = now()
    ends = await asyncio.gather(*polls)
    assert person.over_from is not None
    found.gaps.append(max(max(sent - person.over_from, 0.0) for sent, _ in ends))
    found.refusals.append(max(refused for _, refused in ends) - called)


async def _poll(load: Load, client: Client, person: Person) -> tuple[float, float]:
    """When the last accepted request was sent, and when the first refusal came."""
    last, end = 0.0, now() + 10
    while now() < end:
        sent = now()
        judgement = await load.ask(client, person)
        if judgement is not None and judgement.meaning is Meaning.REFUSED:
            return last, now()
        last = sent
        await asyncio.sleep(0.001)
    return last, end


async def _sockets(
    stage: Stage, person: Person, tally: Tally, counts: Counter[str]
) -> list[tuple[Standing, asyncio.Task[None]]]:
    """A WebSocket and an event stream at each replica."""
    made = []
    for replica in stage.replicas:
        for kind in ("socket", "stream"):
            one = Standing(kind, person, always(replica.port), tally, counts)
            made.append((one, asyncio.create_task(one.keep(again=False))))

    async def all_open() -> bool:
        return all(one.open for one, _ in made)

    await stage.until(all_open, "the WebSockets do not open", 20)
    return made


async def _until_closed(
    sockets: Sequence[tuple[Standing, asyncio.Task[None]]], person: Person, found: Measured
) -> None:
    if not sockets:
        return
    tasks = [task for _, task in sockets]
    _, late = await asyncio.wait(tasks, timeout=10)
    found.never += len(late)
    for task in late:
        task.cancel()
    assert person.over_from is not None
    found.closed += [one.ended_at - person.over_from for one, task in sockets if task not in late]


def _told(tally: Tally, found: Measured) -> Figures:
    lines = [
        f"{len(found.gaps)} sessions ended, half by a sign-out at a worker, half by another process; {tally.sent} requests"
    ]
    lines.append(f"{'':58}{'p50':>9}{'p99':>9}{'max':>9}  ms")
    for what, values in (
        ("from the call until all eight workers have refused", found.refusals),
        ("after the acknowledgement, last accepted request sent", found.gaps),
        ("after the acknowledgement, WebSocket or stream closed", found.closed),
    ):
        figures = "".join(f"{percentile(values, share) * 1000:9.1f}" for share in (0.5, 0.99, 1.0))
        lines.append(f"{what:58}{figures}")
    unmet = [f"{tally.meanings[Meaning.AFTER_REVOCATION]} requests accepted more than a second later"]
    unmet = unmet if tally.meanings[Meaning.AFTER_REVOCATION] else []
    if tally.meanings[Meaning.WRONG_USER]:
        unmet.append(f"{tally.meanings[Meaning.WRONG_USER]} answers meant for somebody else")
    slow = sum(1 for value in found.closed if value > 1.0)
    if slow or found.never:
        unmet.append(f"{slow} WebSockets or streams closed later than a second, {found.never} not at all")
    if len(found.closed) < _WITH_SOCKETS:
        unmet.append("too few WebSockets were open to say anything")
    if tally.errors:
        unmet.append(f"errors: {dict(tally.errors)}")
    return Figures(name="revoke everywhere", lines=lines, unmet=unmet)
