"""The console's process beside the workers: started, started again, reloaded, ended."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.identity.assertion import AssertionSigner
from gateway.identity.claims import Identity
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing, new_key
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse, unix_exchange

KEY = new_key()
STAFF = Identity(issuer="https://login.example.com/", subject="ada", name="Ada", groups=("staff",))


@pytest.fixture
async def door(tmp_path: Path, upstream: RecordingUpstream) -> AsyncIterator[Running]:
    environ = {"DOORWARD_TEST_KEY": KEY, "DOORWARD_TEST_SECRET": "s", "RUNTIME_DIRECTORY": str(tmp_path)}
    console = {"hosts": ["console.localhost"], "require": {"groups": ["staff"]}}
    async with running(tmp_path, upstream.url, environ=environ, console=console) as started:
        yield started


def consoles(door: Running) -> set[int]:
    return {pid for pid, command in door.children().items() if "gateway.runtime.console" in command}


async def shown(door: Running, who: Identity = STAFF) -> WireResponse:
    """The overview, for a request that the door signed."""
    (path,) = door.folder.glob("doorward-*/console.sock")
    assertion = (
        AssertionSigner(KeyRing([KEY]).raw)
        .sign(who, issuer="http://console.localhost", audience="console", sid="s", now=utc_now())
        .token
    )
    head = f"GET /console/ HTTP/1.1\r\nHost: console.localhost\r\nConnection: close\r\nX-Doorward-Jwt-Assertion: {assertion.decode()}\r\n\r\n"
    return await unix_exchange(str(path), head.encode())


async def test_a_console_that_dies_is_started_again_and_requests_wait_for_it(door: Running) -> None:
    (before,) = consoles(door)
    assert (await shown(door)).status == 200
    os.kill(before, signal.SIGKILL)
    assert (await asyncio.wait_for(shown(door), 30)).status == 200
    await eventually(lambda: len(consoles(door) - {before}) == 1)
    assert "the console (pid" in door.errors
    assert (await door.ready())["dependencies"]["upstream:console"]["state"] == "ok"


async def test_a_reload_changes_who_may_see_the_console(door: Running) -> None:
    before = consoles(door)
    door.rewrite(console={"hosts": ["console.localhost"], "require": {"groups": ["ops"]}})
    door.hang_up()
    await eventually(lambda: "reloaded: 2 new workers" in door.errors, within=60)
    assert (await shown(door)).status == 403
    ops = Identity(issuer="https://login.example.com/", subject="o", groups=("ops",))
    assert (await shown(door, ops)).status == 200
    await eventually(lambda: not consoles(door) & before)
    assert (
        'doorward_events_total{app="console",event="console.denied"} 1.0'
        in (await door.admin("/metrics")).body.decode()
    )


async def test_nothing_is_left_of_a_console_whose_gateway_ended(door: Running) -> None:
    (console,) = consoles(door)
    door.process.terminate()
    await asyncio.wait_for(door.process.wait(), 60)
    assert list(door.folder.glob("doorward-*")) == []
    assert not Path(f"/proc/{console}").exists()
