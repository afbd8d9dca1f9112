"""Fifty first logins of one person at the same moment, in four processes: one account, whichever API knows the people."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import Fault
from gateway.observability import events as events
from tests.fakes.directories import KINDS, asked_to_create, created
from tests.unit.directory.every import every_kind

ROOT = Path(__file__).resolve().parents[3]
THROTTLED = {"nexudus": 409, "rowing club": 420}


class LoginProcesses:
    """Real worker processes; `first_logins` is how often each outcome came about over all of them."""

    def __init__(self, number: int) -> None:
        command = [sys.executable, "-m", "tests.unit.directory.login_process"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._workers: list[subprocess.Popen[str]] = [
            subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(number)
        ]

    async def first_logins(self, logins: int, **arguments: Any) -> Counter[str]:
        """`logins` of one person at the same moment."""
        number = len(self._workers)
        for rank, worker in enumerate(self._workers):
            self._tell(worker, json.dumps(arguments | {"logins": logins // number + (rank < logins % number)}))
        assert await self._answers() == ["ready\n"] * number
        for worker in self._workers:
            self._tell(worker, "go")
        return sum((Counter(json.loads(line)) for line in await self._answers()), Counter())

    def end(self) -> None:
        for worker in self._workers:
            with worker:
                worker.kill()

    def _tell(self, worker: "subprocess.Popen[str]", line: str) -> None:
        assert worker.stdin is not None
        worker.stdin.write(line + "\n")

    async def _answers(self) -> list[str]:
        outputs = [worker.stdout for worker in self._workers if worker.stdout is not None]
        return await asyncio.gather(*(asyncio.to_thread(output.readline) for output in outputs))


@pytest.fixture(scope="module")
def processes() -> Iterator[LoginProcesses]:
    running = LoginProcesses(4)
    yield running
    running.end()


async def fifty(
    processes: LoginProcesses, api: Any, valkey: str, prefix: str, timeout: str, *, logins: int = 50
) -> Counter[str]:
    return await processes.first_logins(logins, section=api.section(timeout=timeout), redis_url=valkey, prefix=prefix)


def misbehaviour(how: str, kind: str, api: Any) -> list[Fault]:
    status = THROTTLED.get(kind, 429)
    if how == "throttling":
        some = Fault(kind="throttle", match=api.FIND, status=status, retry_after="0", times=10)
        return [some, Fault(kind="throttle", match=api.CREATE, status=status, retry_after="1", times=2)]
    if how == "slow":
        return [Fault(kind="slow", seconds=0.3, times=None)]
    if how == "failing after creating":
        return [Fault(kind="error", match=api.CREATE, after=True)]
    return []


@every_kind
@pytest.mark.parametrize("how", ["well", "throttling", "slow", "failing after creating"])
async def test_fifty_first_logins_at_once_in_four_processes_make_one_account(
    processes: LoginProcesses, valkey: str, prefix: str, redis: Redis, kind: str, how: str
) -> None:
    async with KINDS[kind]() as api:
        api.faults.add(*misbehaviour(how, kind, api))
        outcome = await fifty(processes, api, valkey, prefix, "60s")
        assert len(api.addresses) == 1
        assert created(api) == 1
        # What was throttled never reached the API's books; everything else was asked for once.
        assert asked_to_create(api) == 1
        assert outcome[api.ids[0]] == 50
        assert (outcome[events.ACCOUNT_CREATED], outcome[events.ACCOUNT_FOUND]) == (1, 49)


async def test_a_list_that_lags_does_not_make_a_second_account(
    processes: LoginProcesses, valkey: str, prefix: str, redis: Redis
) -> None:
    async with KINDS["nexudus"]() as api:
        api.world.list_lag = 1000.0
        api.faults.add(
            Fault(kind="throttle", times=10), Fault(kind="throttle", match=api.CREATE, retry_after="1", times=2)
        )
        outcome = await fifty(processes, api, valkey, prefix, "60s")
        assert created(api) == asked_to_create(api) == 1
        assert outcome[api.ids[0]] == 50


@every_kind
async def test_an_answer_that_is_lost_and_a_look_up_that_shows_nothing_lead_to_no_second_account(
    processes: LoginProcesses, valkey: str, prefix: str, redis: Redis, kind: str
) -> None:
    """Nobody comes in rather than two accounts coming about."""
    async with KINDS[kind]() as api:
        api.faults.add(Fault(kind="cut", match=api.CREATE, after=True), Fault(kind="cut", match=api.CREATE, times=None))
        nothing = {
            "nexudus": '{"Records":[],"CurrentPage":1,"TotalItems":0,"HasNextPage":false}',
            "scim": '{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0}',
            "rowing club": '{"result":{"hits":[]}}',
            "gitlab": "[]",
        }[kind]
        api.faults.add(Fault(kind="answer", match=api.FIND, status=200, body=nothing, times=None))
        api.faults.add(Fault(kind="answer", match="GET /v7/badges/*", status=410, body="{}", times=None))
        outcome = await fifty(processes, api, valkey, prefix, "2s", logins=8)
        assert asked_to_create(api) == created(api) == 1
        assert outcome[events.DIRECTORY_FAILED] == 8
