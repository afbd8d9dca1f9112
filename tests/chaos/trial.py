"""One fault under load: all is well, the fault, all must be well again; then everybody is asked for once more.

Some people sign out before the fault, some during it, some right after it began to end. Nobody else may lose a session, unless the store lost its data.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.judging import Meaning, Row
from tests.chaos.load import Load
from tests.chaos.people import Person
from tests.chaos.stage import Stage
from tests.chaos.wire import Client

PUSH_BOUND: Final = 1.0  # the busiest machine has told every worker by then
BLIND_BOUND: Final = (
    3.5  # a worker whose line to Redis went silent trusts its cache for three pings, and a little to notice
)
_PEOPLE: Final = 40
_CLIENTS: Final = 12
_TRIES: Final = 3
_QUIET: Final = 1.0
_CALM: Final = 40  # right answers
_GIVES_UP: Final = 30.0
now = time.monotonic


@dataclass(slots=True)
class Proof:
    """What shows that the fault took place; filled in by the fault. `broken`: further musts that it found unmet."""

    text: str = ""
    broken: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


Happening = Callable[[Stage, Proof], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`happening(stage, proof)`: inside it something is broken; at its end it is mended. `seconds`: how long.

    `keeps`: the store keeps its data. `bound`: see `judging.judge`. `sign_ins`: how many browsers sign in meanwhile. `link`: clients come by these links.
    """

    name: str
    happening: Happening
    seconds: float = 3.0
    keeps: bool = True
    bound: float = PUSH_BOUND
    sign_ins: int = 1
    through_link: bool = False
    patience: float = 10.0
    untouched: bool = False  # people who are signed in notice nothing
    serves: bool = False  # most of those who are signed in are served meanwhile
    at_once: bool = False  # it happens at its beginning: recovery counts from there
    after: Callable[[Stage, Load, Proof], Any] | None = None


async def run(stage: Stage, fault: Fault) -> Row:
    """Raises ChaosFailed when not even the beginning is well."""
    people = await stage.seat_many(fault.name.replace(" ", "-").replace(",", ""), _PEOPLE)
    ports = [one.port for one in stage.replicas]
    if fault.through_link:
        ports = [stage.links[f"client-{one.name}"].port for one in stage.replicas]
    load = Load(
        stage,
        people,
        ports,
        clients=_CLIENTS,
        bound=fault.bound,
        seconds=fault.patience,
        sign_ins=fault.sign_ins,
        known_first=fault.serves,
    )
    load.tally.forgiving = not fault.keeps
    leavers = iter(people[::4])
    load.start()
    await _well(stage, load)
    for _ in range(2):
        await load.sign_out(next(leavers), stage.replicas[0].port)
    before = load.tally.errors.copy()
    proof, began = Proof(), now()
    asked, served = load.tally.sent, load.tally.meanings[Meaning.RIGHT]
    async with fault.happening(stage, proof):
        outs = [
            asyncio.create_task(_sign_out_in(load, next(leavers), fault.seconds * part)) for part in (0.2, 0.5, 0.8)
        ]
        await asyncio.sleep(fault.seconds)
        asked, served = load.tally.sent - asked, load.tally.meanings[Meaning.RIGHT] - served
    ended = now()
    proof.remarks.append(f"during the fault {served} of {asked} answers were right")
    if fault.serves and served * 2 < asked:
        proof.broken.append("most of those who are signed in were not served")
    await asyncio.gather(*outs)
    await load.sign_out(next(leavers))
    recovery = await _recovered(load, ended, began if fault.at_once else ended)
    await load.stop()
    if fault.after is not None:
        await fault.after(stage, load, proof)
    lost = await _count_lost(stage, load, people)
    if fault.untouched:
        strange = [
            f"{count} times {kind}"
            for kind, count in (load.tally.errors - before).items()
            if not kind.startswith("sign-in")
        ]
        proof.broken += [f"people who were signed in noticed: {', '.join(strange)}"] if strange else []
    if not fault.keeps and lost < sum(person.live for person in people):
        proof.broken.append("the store lost its data, yet sessions went on")
    return _row(fault, load, proof, recovery, lost)


async def _sign_out_in(load: Load, person: Person, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await load.sign_out(person)


async def _well(stage: Stage, load: Load) -> None:
    """Everybody has been served, and nothing has failed lately."""
    began = now()

    async def well() -> bool:
        return load.tally.sent > 60 and load.ready >= _CLIENTS and load.tally.latest_error < max(now() - 0.7, began)

    await stage.until(well, f"before the fault: {dict(load.tally.errors)} {load.tally.examples}", 40)


async def _recovered(load: Load, ended: float, since: float) -> float | None:
    """Seconds from `since` to the last error, once it has been quiet after the fault. None: it does not become quiet."""
    asked = load.tally.calm
    while True:
        asked = min(asked, load.tally.calm)
        quiet_since = max(load.tally.latest_error, ended)
        if now() - quiet_since > _QUIET and load.tally.calm >= asked + _CALM:
            return max(load.tally.latest_error - since, 0.0)
        if now() - ended > _GIVES_UP:
            return None
        await asyncio.sleep(0.05)


async def _count_lost(stage: Stage, load: Load, people: Sequence[Person]) -> int:
    """How many of those who never signed out are not themselves any more; asked at each replica. Whoever signed out is asked for too.

    An error says nothing of a session: the first request on a connection that died unnoticed may have to find that out. It is asked again.
    """
    lost = {person.name for person in people if person.lost}

    async def ask(port: int, some: Sequence[Person]) -> None:
        client = Client(port)
        for person in some:
            for _ in range(_TRIES):
                judgement = await load.ask(client, person)
                if judgement is not None and judgement.meaning is not Meaning.ERROR:
                    break
            if person.live and (judgement is None or judgement.meaning is not Meaning.RIGHT):
                lost.add(person.name)
        client.drop()

    await asyncio.gather(*(ask(one.port, people[part::4]) for one in stage.replicas for part in range(4)))
    return len(lost)


def _row(fault: Fault, load: Load, proof: Proof, recovery: float | None, lost: int) -> Row:
    tally = load.tally
    outs = ", ".join(f"{count} {kind}" for kind, count in load.sign_outs.most_common())
    ins = ", ".join(f"{count} {kind}" for kind, count in load.sign_ins.most_common())
    remarks = [f"sign-outs: {outs}"] + ([f"sign-ins: {ins}"] if ins else []) + proof.remarks + list(tally.examples)
    return Row(
        name=fault.name,
        sent=tally.sent,
        wrong=tally.meanings[Meaning.WRONG_USER],
        lost=lost if fault.keeps else None,
        after_revocation=tally.meanings[Meaning.AFTER_REVOCATION],
        revoked=load.sign_outs["acknowledged"],
        late=tally.latest_late,
        errors=dict(tally.errors),
        recovery=recovery,
        proof=proof.text,
        broken=proof.broken,
        remarks=remarks,
    )
