"""Workers that cannot be started: tried again, and meanwhile neither clients that wait for nobody nor two configurations (D-06)."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sessions.keyring import new_key
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.scarcity import no_descriptors
from tests.fakes.waiting import eventually

SECRETS = {"DOORWARD_TEST_KEY": new_key(), "DOORWARD_TEST_SECRET": "very-secret-client-secret"}
CLIENTS = 40  # enough that the kernel gives some to each worker's socket


@pytest.fixture
async def door(tmp_path: Path, upstream: RecordingUpstream) -> AsyncIterator[Running]:
    async with running(tmp_path, upstream.url, environ=SECRETS) as started:
        yield started


async def statuses(door: Running, target: str) -> set[int]:
    answers = await asyncio.gather(*(door.ask(target) for _ in range(CLIENTS)))
    return {answer.status for answer in answers}


async def test_a_worker_that_cannot_be_started_is_tried_again_and_the_others_serve_its_clients(door: Running) -> None:
    before = door.workers()
    victim = min(before)
    with no_descriptors(door.process.pid, left=1):
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: door.errors.count("cannot be started: [Errno 24]") >= 2)
        assert door.workers() == before - {victim}
        assert await statuses(door, "/open/x") == {200}
    await eventually(lambda: "is back" in door.errors, within=60)
    assert len(door.workers()) == 2
    assert await statuses(door, "/open/x") == {200}
    assert (await door.ready())["workers"] == {"alive": 2, "wanted": 2}


async def test_a_reload_whose_workers_cannot_be_started_leaves_the_old_file_in_force_everywhere(
    door: Running, upstream: RecordingUpstream
) -> None:
    before = door.workers()
    portal = {"hosts": [f"portal.localhost:{door.port}"], "upstream": upstream.url, "public": ["GET /new/**"]}
    door.rewrite(apps={"portal": portal})
    with no_descriptors(door.process.pid, left=1):
        door.hang_up()
        await eventually(
            lambda: "reload refused, the old configuration stays: worker 0 cannot be started" in door.errors
        )
    assert door.workers() == before
    os.kill(min(before), signal.SIGKILL)  # what replaces it has the old file's rules too
    await eventually(lambda: "is back" in door.errors, within=60)
    assert await statuses(door, "/open/x") == {200}
    assert await statuses(door, "/new/x") == {401}
    door.hang_up()
    await eventually(lambda: "reloaded: 2 new workers" in door.errors, within=60)
    assert await statuses(door, "/open/x") == {401}
    assert await statuses(door, "/new/x") == {200}


async def test_a_file_that_is_gone_refuses_the_reload(door: Running) -> None:
    before = door.workers()
    door.config.rename(door.config.with_suffix(".old"))
    door.hang_up()
    await eventually(lambda: "the old configuration stays: " in door.errors and "cannot be read" in door.errors)
    assert door.workers() == before


async def test_a_worker_that_died_before_a_reload_does_not_come_back_with_the_old_file(
    door: Running, upstream: RecordingUpstream
) -> None:
    portal = {"hosts": [f"portal.localhost:{door.port}"], "upstream": upstream.url, "public": ["GET /new/**"]}
    victim = min(door.workers())
    with no_descriptors(door.process.pid, left=1):
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: "cannot be started" in door.errors)
    door.rewrite(apps={"portal": portal})
    door.hang_up()
    await eventually(lambda: "reloaded: 2 new workers" in door.errors, within=60)
    assert await statuses(door, "/open/x") == {401}
    await eventually(lambda: len(door.workers()) == 2, within=60)
    assert await statuses(door, "/open/x") == {401}
