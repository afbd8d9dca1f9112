"""Who is let in, who is made, and that nobody is made twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import Fault, NexudusStub
from gateway.directory.api.calls import ApiTransport
from gateway.directory.backends.nexudus import NexudusDirectory
from gateway.directory.creation_markers import CreationMarkers
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.signing_in import AccountSuspended, DirectoryUnavailable, NotRegistered
from gateway.identity.claims import Identity
from gateway.observability import events as events
from gateway.observability.events import Audit
from gateway.redis_client.embedded import EmbeddedValkey
from tests.fakes.clock import SettableClock
from tests.unit.directory.api import ANA, CREATE, EMAIL, LIST, READ, provisioner, section

ROOT = Path(__file__).resolve().parents[3]


class Desk:
    """A provisioner over a stub and a real Redis; `lines` are the events it wrote."""

    def __init__(
        self,
        stub: NexudusStub,
        redis: Redis,
        prefix: str,
        http: aiohttp.ClientSession,
        timeout: float,
        **notes: timedelta,
    ) -> None:
        self.stub = stub
        self.lines: list[dict[str, Any]] = []
        self.audit = Audit(lambda line: self.lines.append(json.loads(line)), pii_full=True)
        self.notes = CreationMarkers(redis, prefix, **notes)
        directory = NexudusDirectory(section(stub.url, timeout), ApiTransport(http=http))
        self.provisioner = provisioner(directory, redis, prefix, self.audit, timeout, notes=self.notes)

    async def ensure(self, registration: Any = "create", identity: Identity = ANA) -> Identity:
        return await self.provisioner.ensure(identity, app="portal", registration=registration, request_id="r-1")

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [(line["event"], line.get("reason")) for line in self.lines]

    @property
    def posts(self) -> int:
        return self.stub.counters["coworkers.create"]


@asynccontextmanager
async def desk(redis: Redis, prefix: str, timeout: float = 5, **arguments: Any) -> AsyncIterator[Desk]:
    lives = {name: arguments.pop(name) for name in ("attempt_life", "created_life") if name in arguments}
    async with NexudusStub(**arguments) as stub, aiohttp.ClientSession() as http:
        yield Desk(stub, redis, prefix, http, timeout, **lives)


BEN = Identity(issuer="https://login.example.com/", subject="sub-2", email="ben@tenant.example")
REGISTERED: dict[str, Any] = {"coworkers": [{"email": EMAIL, "full_name": "Ana"}]}


async def test_with_skip_the_directory_is_not_asked(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix) as at:
        assert await at.ensure("skip") is ANA
        assert at.stub.counters["requests"] == 0
        assert at.lines == []


async def test_without_a_directory_everybody_counts_as_registered(redis: Redis, prefix: str) -> None:
    audit = Audit(lambda line: None)
    nobodys = provisioner(None, redis, prefix, audit)
    for registration in ("create", "refuse", "skip"):
        assert await nobodys.ensure(ANA, app="portal", registration=registration) is ANA


@pytest.mark.parametrize("registration", ["create", "refuse"])
async def test_a_registered_person_is_let_in_with_what_the_directory_knows(
    redis: Redis, prefix: str, registration: str
) -> None:
    async with desk(redis, prefix, **REGISTERED) as at:
        identity = await at.ensure(registration)
        assert identity.directory == {"id": str(at.stub.coworkers[0]["Id"]), "business_id": "501"}
        assert at.told == [(events.ACCOUNT_FOUND, None)]
        assert at.lines[0] | {"app": "portal", "request_id": "r-1", "email": EMAIL} == at.lines[0]
        assert at.posts == 0


async def test_an_unregistered_person_is_refused_where_nobody_is_created(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix) as at:
        with pytest.raises(NotRegistered):
            await at.ensure("refuse")
        assert at.told == [(events.ACCOUNT_REFUSED, "not_registered")]
        assert at.posts == 0


async def test_an_unregistered_person_is_created_once_and_found_from_then_on(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix) as at:
        first = await at.ensure()
        second = await at.ensure()
        assert first.directory == second.directory
        assert first.directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert [name for name, _ in at.told] == [events.ACCOUNT_CREATED, events.ACCOUNT_FOUND]
        assert at.posts == 1


@pytest.mark.parametrize("registration", ["create", "refuse"])
async def test_a_person_without_an_address_is_refused_and_nobody_is_asked(
    redis: Redis, prefix: str, registration: str
) -> None:
    async with desk(redis, prefix) as at:
        with pytest.raises(NotRegistered):
            await at.ensure(registration, Identity(issuer="https://x", subject="1"))
        assert at.told == [(events.ACCOUNT_REFUSED, "no_email")]
        assert at.stub.counters["requests"] == 0


@pytest.mark.parametrize("registration", ["create", "refuse"])
async def test_a_suspended_person_is_refused_and_not_created_again(
    redis: Redis, prefix: str, registration: str
) -> None:
    async with desk(redis, prefix, coworkers=[{"email": EMAIL, "full_name": "Ana", "Active": False}]) as at:
        with pytest.raises(AccountSuspended):
            await at.ensure(registration)
        assert (events.ACCOUNT_REFUSED, "suspended") in at.told
        assert at.posts == 0


async def test_a_deleted_record_that_lists_still_show_does_not_stop_a_creation(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, coworkers=[{"email": EMAIL, "full_name": "Ana", "ghost": True}]) as at:
        await at.ensure()
        assert at.posts == 1


async def test_a_new_account_that_lists_do_not_show_yet_is_not_made_again(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, list_lag=1000) as at:
        first = await at.ensure()
        again = await asyncio.gather(*(at.ensure() for _ in range(10)))
        assert {identity.directory["id"] for identity in again} == {first.directory["id"]}
        assert at.posts == 1


async def test_a_note_about_somebody_elses_account_is_not_believed(redis: Redis, prefix: str) -> None:
    """The note is a hint from a store: the directory says whose account it is."""
    async with desk(redis, prefix, coworkers=[{"email": "ben@tenant.example", "full_name": "Ben", "Id": 7}]) as at:
        await at.ensure()
        await redis.delete(*[key async for key in redis.scan_iter(match=f"{prefix}link:*")])
        (name,) = [key async for key in redis.scan_iter(match=f"{prefix}note:*")]
        await redis.set(name, "created 7")
        at.stub.world.coworkers = {7: at.stub.world.coworkers[7]}
        with pytest.raises(DirectoryUnavailable):
            await at.ensure()
        assert at.posts == 1


async def test_an_error_is_never_an_unknown_person(redis: Redis, prefix: str) -> None:
    for fault in (Fault(kind="html"), Fault(kind="error"), Fault(kind="unsuccessful"), Fault(kind="redirect")):
        async with desk(redis, prefix) as at:
            fault.match, fault.times = LIST, None
            at.stub.faults.add(fault)
            for registration in ("create", "refuse"):
                with pytest.raises(DirectoryUnavailable):
                    await at.ensure(registration)
            assert at.posts == 0
            assert at.told == [(events.DIRECTORY_FAILED, at.lines[0]["reason"])] * 2


@pytest.mark.parametrize("kind", ["cut", "error", "html", "unsuccessful-200"])
async def test_a_creation_whose_answer_was_lost_is_looked_for_and_found(
    redis: Redis, prefix: str, kind: Literal["cut", "error", "html", "unsuccessful-200"]
) -> None:
    fault = Fault(kind="answer", status=200, body="{}") if kind == "unsuccessful-200" else Fault(kind=kind)
    fault.match, fault.after = CREATE, True
    fault.status = 200 if kind == "html" else fault.status
    async with desk(redis, prefix) as at:
        at.stub.faults.add(fault)
        identity = await at.ensure()
        assert identity.directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert at.posts == 1
        assert [name for name, _ in at.told] == [events.ACCOUNT_CREATED]


async def test_a_creation_that_nobody_can_confirm_is_not_repeated_until_the_lists_must_show_it(
    redis: Redis, prefix: str
) -> None:
    async with desk(redis, prefix, list_lag=1000, attempt_life=timedelta(milliseconds=400)) as at:
        at.stub.faults.add(Fault(kind="cut", match=CREATE, after=True))
        for _ in range(2):
            with pytest.raises(DirectoryUnavailable):
                await at.ensure()
        assert at.posts == 1
        at.stub.world.visible_from.clear()
        assert (await at.ensure()).directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert at.posts == 1


async def test_a_creation_that_never_happened_may_be_repeated_when_its_note_has_ended(
    redis: Redis, prefix: str
) -> None:
    async with desk(redis, prefix, attempt_life=timedelta(milliseconds=300)) as at:
        at.stub.faults.add(Fault(kind="cut", match=CREATE))
        with pytest.raises(DirectoryUnavailable):
            await at.ensure()
        assert at.posts == 0
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.ensure()
        assert caught.value.reason == "incomplete"
        async with asyncio.timeout(60):
            while not at.stub.counters["coworkers.created"]:
                with suppress(DirectoryUnavailable):
                    await at.ensure()
        assert at.stub.counters["coworkers.created"] == 1


@pytest.mark.parametrize(
    "fault", [Fault(kind="unsuccessful"), Fault(kind="html"), Fault(kind="throttle", retry_after="99")]
)
async def test_a_creation_that_was_refused_may_be_tried_again_at_once(redis: Redis, prefix: str, fault: Fault) -> None:
    fault.match, fault.times = CREATE, 1
    async with desk(redis, prefix) as at:
        at.stub.faults.add(fault)
        with pytest.raises(DirectoryUnavailable):
            await at.ensure()
        assert at.told == [(events.DIRECTORY_FAILED, at.lines[0]["reason"])]
        await at.ensure()
        assert at.stub.counters["coworkers.created"] == 1


async def test_an_account_that_was_made_and_cannot_be_read_is_kept_in_mind(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, list_lag=1000) as at:
        at.stub.faults.add(Fault(kind="html", match=READ))
        with pytest.raises(DirectoryUnavailable):
            await at.ensure()
        assert (await at.ensure()).directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert at.posts == 1
        assert [name for name, _ in at.told] == [events.ACCOUNT_CREATED, events.DIRECTORY_FAILED, events.ACCOUNT_FOUND]


async def test_a_slow_directory_is_given_up_in_time_and_nothing_is_made_twice(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, timeout=0.6, list_lag=1000) as at:
        await at.provisioner.ensure(ANA, app="portal", registration="skip")
        at.stub.faults.add(Fault(kind="slow", match=CREATE, seconds=3, after=True))
        started = asyncio.get_running_loop().time()
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.ensure()
        assert caught.value.reason == "timeout"
        assert asyncio.get_running_loop().time() - started < 2.5
        with pytest.raises(DirectoryUnavailable):
            await at.ensure()
        assert at.posts == 1


async def test_whoever_waits_for_a_creation_that_comes_to_nothing_is_told_in_time(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, timeout=1.5) as at:
        at.stub.faults.add(Fault(kind="slow", match=CREATE, seconds=10, times=None))
        async with asyncio.timeout(60):
            results = await asyncio.gather(*(at.ensure() for _ in range(3)), return_exceptions=True)
        assert all(isinstance(result, DirectoryUnavailable) for result in results)
        assert len([path for method, path, _ in at.stub.seen if f"{method} {path}" == CREATE]) == 1


async def test_a_login_that_was_cancelled_leaves_the_lock_free_and_the_note_behind(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix) as at:
        at.stub.faults.add(Fault(kind="slow", match=CREATE, seconds=0.2, after=True))
        login = asyncio.create_task(at.ensure())
        async with asyncio.timeout(60):
            while not at.posts:
                await asyncio.sleep(0.005)
        login.cancel()
        with pytest.raises(asyncio.CancelledError):
            await login
        assert (await at.ensure()).directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert at.posts == 1


async def test_somebody_who_appeared_since_the_first_look_up_is_found_by_the_second(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, **REGISTERED) as at:
        nobody = {"Records": [], "CurrentPage": 1, "TotalItems": 0, "HasNextPage": False}
        at.stub.faults.add(Fault(kind="answer", match=LIST, status=200, body=json.dumps(nobody)))
        assert (await at.ensure()).directory["id"] == str(at.stub.coworkers[0]["Id"])
        assert at.posts == 0


async def test_a_lock_that_was_lost_does_not_make_two_creators(redis: Redis, prefix: str) -> None:
    async with desk(redis, prefix, list_lag=1000) as at:
        await at.ensure("create", BEN)
        at.stub.faults.add(
            Fault(kind="slow", match=LIST, seconds=0, times=1), Fault(kind="slow", match=LIST, seconds=0.3, times=2)
        )
        first = asyncio.create_task(at.ensure())
        async with asyncio.timeout(60):
            while not (locks := [key async for key in redis.scan_iter(match=f"{prefix}lock:*")]):
                await asyncio.sleep(0.005)
        await redis.delete(*locks)
        results = await asyncio.gather(first, at.ensure(), return_exceptions=True)
        assert any(isinstance(result, Identity) for result in results)
        assert [row["Email"] for row in at.stub.coworkers] == [BEN.email, EMAIL]


async def test_while_redis_is_down_nobody_comes_in_and_nobody_is_created(
    own_valkey: EmbeddedValkey, clock: SettableClock
) -> None:
    client = Redis.from_url(own_valkey.url)
    own_valkey.stop()
    async with desk(client, "x:", **REGISTERED) as at:
        for identity in (ANA, BEN):
            with pytest.raises(StoreUnavailable):
                await at.ensure(identity=identity)
        assert at.posts == 0
    await client.aclose()
