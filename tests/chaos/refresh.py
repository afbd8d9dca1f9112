"""One session whose access token is over, 500 requests at once over all eight workers: the provider must be asked once."""

import asyncio
from typing import Final

from aiohttp import web

from gateway.demo.provider.back_channel import BackChannel
from tests.chaos.judging import Figures, Meaning, percentile
from tests.chaos.load import Load, now
from tests.chaos.people import Person
from tests.chaos.stage import CLIENT_ID, Stage
from tests.chaos.trial import PUSH_BOUND
from tests.chaos.wire import Client
from tests.fakes.provider import earlier_sign_in

AT_ONCE: Final = 500
_SLOW: Final = 1.5


async def measure(stage: Stage) -> Figures:
    lines, unmet = [], []
    for name, slow in (("quick", 0.0), ("slow", _SLOW)):
        told, wrong = await _once(stage, f"refreshed-{name}", slow)
        lines.append(told)
        unmet += wrong
    return Figures(name="refresh once", lines=lines, unmet=unmet)


async def _once(stage: Stage, name: str, slow: float) -> tuple[str, list[str]]:
    person = await _somebody(stage, name)
    before = len(stage.provider.seen)
    honest = BackChannel(stage.provider)

    async def at_leisure(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(slow)
        return await honest.token(request)

    if slow:
        stage.provider.faults["token"] = at_leisure
    load = Load(stage, [person], [one.port for one in stage.replicas], bound=PUSH_BOUND, seconds=20.0)
    clients = [Client(load.ports[number % len(load.ports)], seconds=20.0) for number in range(AT_ONCE)]
    await asyncio.gather(*(client.connect() for client in clients))
    times = await asyncio.gather(*(_timed(load, client, person) for client in clients))
    stage.provider.faults.pop("token", None)
    calls = sum(seen.form.get("grant_type") == "refresh_token" for seen in stage.provider.seen[before:])
    workers = {
        worker for client in clients[:64] for one in stage.replicas if (worker := one.worker_of(client.local_port()))
    }
    for client in clients:
        client.drop()
    right = load.tally.meanings[Meaning.RIGHT]
    stored = await stage.store.fetch(person.key, "portal.localhost", "portal")
    unmet = []
    if calls != 1:
        unmet.append(f"the provider was asked {calls} times, not once")
    if right != AT_ONCE:
        unmet.append(
            f"only {right} of {AT_ONCE} requests were answered: {dict(load.tally.errors)} {load.tally.examples}"
        )
    if stored is None or stored.session.access_expires_at is None:
        unmet.append("the renewed session is not in Redis")
    took = percentile(times, 0.99) * 1000
    answering = f"answering after {slow:g} s" if slow else "answering at once"
    return (
        f"provider {answering}: {AT_ONCE} requests at once, {right} right, over at least {len(workers)} workers;"
        f" {calls} refresh at the provider; p99 {took:.0f} ms",
        unmet,
    )


async def _timed(load: Load, client: Client, person: Person) -> float:
    began = now()
    await load.ask(client, person)
    return now() - began


async def _somebody(stage: Stage, name: str) -> Person:
    people = stage.provider.people
    people[name] = {
        "sub": name, "email": f"{name}@example.com", "email_verified": True, "name": name, "preferred_username": name, "groups": ["members"],
    }  # fmt: skip
    session = stage.session(name, **earlier_sign_in(stage.provider, name, CLIENT_ID))
    token = await stage.store.issue(session)
    return Person(name=name, cookie=f"doorward_session={token}", key=stage.store.key_of(token))
