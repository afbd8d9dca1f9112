"""Keys are changed in a running fleet: two gateways, one Redis, SIGHUP after SIGHUP; nobody is signed out, no upstream is surprised."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from redis.asyncio import Redis
from typer.testing import CliRunner

from gateway.cli import main as cli
from gateway.identity.claims import Identity
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.fakes.house import NOBODY
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse, exchange

HOST = "portal.localhost"
OLD, NEW = new_key(), new_key()
ENVIRON = {"DOORWARD_TEST_SECRET": "very-secret"}


@dataclass
class Verifier:
    """An upstream that checks every assertion with keys that it fetched some time ago, and never asks for unknown ones."""

    remembered: KeySet = field(default_factory=lambda: KeySet([]))
    checked: int = 0

    async def learn(self, door: Running) -> None:
        answer = await ask(door, "/.well-known/doorward/jwks.json")
        self.remembered = KeySet.import_key_set(json.loads(answer.body))

    def check(self, upstream: RecordingUpstream) -> None:
        for request in upstream.requests[self.checked :]:
            (assertion,) = request.values("x-doorward-jwt-assertion")
            jwt.decode(assertion.decode(), self.remembered, algorithms=["ES256"])
        self.checked = len(upstream.requests)


@dataclass
class Fleet:
    doors: list[Running]
    upstream: RecordingUpstream
    redis: Redis
    prefix: str

    def store(self, *keys: str) -> SessionStore:
        return SessionStore(self.redis, KeyRing(keys), self.prefix)

    async def session(self, *keys: str) -> str:
        """As a gateway with these keys would issue it."""
        session = Session(
            key_host=HOST, app="portal", sid=SessionStore.new_sid(), provider_sid=None, acr=None,
            identity=Identity(issuer=NOBODY, subject="bob"), auth_time=None,
            created_at=datetime.now(UTC), idle=timedelta(minutes=30), lifetime=timedelta(hours=1),
        )  # fmt: skip
        return await self.store(*keys).issue(session)

    async def change(self, door: Running, *keys: str) -> None:
        """Write the keys and hang up; back when all workers are new."""
        before = door.workers()
        door.rewrite(keys=list(keys))
        door.hang_up()
        await eventually(lambda: door.workers() and not door.workers() & before, within=60)
        published = {
            key["kid"] for key in json.loads((await ask(door, "/.well-known/doorward/jwks.json")).body)["keys"]
        }
        assert len(published) == len(keys)

    async def all_let_in(self, *tokens: str) -> None:
        for door in self.doors:
            for token in tokens:
                assert (await ask(door, "/x", token)).status == 200


async def ask(door: Running, target: str, token: str | None = None) -> WireResponse:
    cookie = f"Cookie: doorward_session={token}\r\n" if token else ""
    return await exchange(door.port, f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n".encode())


async def key_status(door: Running) -> dict[str, Any]:
    words = ["keys", "status", str(door.config), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, cli.app, words, env=ENVIRON)
    assert done.exit_code == 0, done.output
    counted: dict[str, Any] = json.loads(done.stdout)
    return counted


OpenFleet = Callable[[int], Awaitable[Fleet]]


@pytest.fixture
async def open_fleet(tmp_path: Path, valkey: str, redis: Redis, prefix: str) -> AsyncIterator[OpenFleet]:
    """So many gateways of one worker, with the old key."""
    upstream = RecordingUpstream()
    await upstream.start()
    sections: dict[str, Any] = {
        "workers": 1,
        "keys": [OLD],
        "redis": {"url": valkey, "key_prefix": prefix},
        "apps": {"portal": {"hosts": [HOST], "upstream": upstream.url}},
    }
    async with AsyncExitStack() as stack:

        async def start(number: int) -> Running:
            folder = tmp_path / str(number)
            folder.mkdir()
            return await stack.enter_async_context(running(folder, upstream.url, environ=ENVIRON, **sections))

        async def opening(count: int) -> Fleet:
            return Fleet([await start(number) for number in range(count)], upstream, redis, prefix)

        yield opening
    await upstream.close()


async def test_the_documented_steps_sign_nobody_out_and_no_upstream_meets_an_unknown_key(open_fleet: OpenFleet) -> None:
    """C-44: rings of two processes differ in the middle. A record that nobody used goes with its key: no session, never 500."""
    fleet = await open_fleet(2)
    one, two = fleet.doors
    verifier = Verifier()
    old, sleeping = await fleet.session(OLD), await fleet.session(OLD)
    await fleet.all_let_in(old)
    await verifier.learn(one)
    verifier.check(fleet.upstream)

    await asyncio.gather(*(fleet.change(door, OLD, NEW) for door in fleet.doors))  # 1: the new key last
    await fleet.all_let_in(old)
    verifier.check(fleet.upstream)  # with the keys fetched before the step
    await verifier.learn(two)

    young = await fleet.session(NEW, OLD)
    for door in fleet.doors:  # 2: the new key first, one gateway after the other
        await fleet.change(door, NEW, OLD)
        await fleet.all_let_in(old, young)
        verifier.check(fleet.upstream)
    assert "keys[0] is new" not in one.errors + two.errors

    # Redis is told of uses at most once a minute, or when a worker goes: then the records move.
    await fleet.change(one, NEW, OLD)
    assert [row["sessions"] for row in (await key_status(one))["keys"]] == [2, 1]
    verifier.check(fleet.upstream)

    await asyncio.gather(*(fleet.change(door, NEW) for door in fleet.doors))  # 3: without the old one
    await fleet.all_let_in(old, young)
    verifier.check(fleet.upstream)
    for door in fleet.doors:
        assert (await ask(door, "/x", sleeping)).status == 401
    assert "is gone from keys" not in one.errors + two.errors
    assert verifier.checked >= 9


async def test_a_key_that_is_taken_away_at_once_ends_its_sessions_and_the_log_says_so(open_fleet: OpenFleet) -> None:
    """C-43: no session, never 500; no key is in the log (C-48)."""
    fleet = await open_fleet(1)
    (one,) = fleet.doors
    token = await fleet.session(OLD)
    await fleet.all_let_in(token)
    await fleet.change(one, NEW)
    assert (await ask(one, "/x", token)).status == 401
    assert "keys[0] is new" in one.errors
    assert "is gone from keys" in one.errors
    assert OLD not in one.errors
    assert NEW not in one.errors
    await fleet.change(one, OLD)
    assert (await ask(one, "/x", token)).status == 200
