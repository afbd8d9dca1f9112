"""What the whole fleet may ask of an API, and when one worker stops asking."""

import asyncio
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.config import schema
from gateway.demo.nexudus_stub import Fault
from gateway.directory.api.breaker import Breaker, BreakerOpen
from gateway.directory.api.budget import CallBudget
from gateway.directory.api.calls import ApiTransport
from gateway.directory.factory import backend
from gateway.errors.dependencies import StoreUnavailable
from gateway.errors.signing_in import DirectoryUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from tests.fakes.clock import SettableClock
from tests.fakes.directories import NexudusApi
from tests.fakes.scim import ScimServer
from tests.unit.directory.api import EMAIL
from tests.unit.directory.every import settings_of


def budget(redis: Redis, prefix: str, realm: str = "here", **limits: int) -> CallBudget:
    return CallBudget(redis, prefix, realm, schema.Budget(**limits))


async def test_no_more_calls_than_a_window_allows_are_made_by_all_workers_together(redis: Redis, prefix: str) -> None:
    workers = [budget(redis, prefix, per_day=30) for _ in range(4)]
    waits = await asyncio.gather(*(worker.take(write=False) for worker in workers for _ in range(20)))
    assert waits.count(0) == 30
    assert all(0 < wait <= 86_400 for wait in waits if wait)


async def test_a_call_that_is_not_made_is_not_counted(redis: Redis, prefix: str) -> None:
    """Or those who ask again and again would use up what the others may do."""
    strict, lenient = budget(redis, prefix, writes_per_day=1), budget(redis, prefix, per_day=3)
    both = budget(redis, prefix, per_day=3, writes_per_day=1)
    assert await both.take(write=True) == 0
    for _ in range(5):
        assert await both.take(write=True) > 0
    assert await strict.take(write=False) == 0
    assert [await lenient.take(write=False) > 0 for _ in range(3)] == [False, False, True]


async def test_writes_have_limits_of_their_own_and_reading_goes_on(redis: Redis, prefix: str) -> None:
    here = budget(redis, prefix, per_day=100, writes_per_day=2)
    assert [await here.take(write=True) > 0 for _ in range(3)] == [False, False, True]
    assert await here.take(write=False) == 0


async def test_a_window_that_is_over_counts_no_more(redis: Redis, prefix: str) -> None:
    here = budget(redis, prefix, per_second=1)
    assert await here.take(write=False) == 0
    wait = await here.take(write=False)
    assert 0 < wait <= 1
    async with asyncio.timeout(60):
        while await here.take(write=False):
            await asyncio.sleep(0.05)


async def test_who_is_told_to_wait_tells_everybody_and_other_apis_are_not_meant(redis: Redis, prefix: str) -> None:
    here, elsewhere = budget(redis, prefix, per_day=100), budget(redis, prefix, "elsewhere", per_day=100)
    await here.pause(60)
    await here.pause(1)
    assert await budget(redis, prefix, per_day=100).take(write=False) > 50
    assert await elsewhere.take(write=False) == 0


async def test_the_counts_end_by_themselves(redis: Redis, prefix: str) -> None:
    await budget(redis, prefix, per_day=5).take(write=True)
    (key,) = [key async for key in redis.scan_iter(match=f"{prefix}budget:*")]
    assert 0 < await redis.pttl(key) <= 2 * 86_400_000


async def test_without_redis_nobody_is_asked_rather_than_too_often(own_valkey: EmbeddedValkey) -> None:
    client = Redis.from_url(own_valkey.url)
    own_valkey.stop()
    with pytest.raises(StoreUnavailable):
        await budget(client, "x:", per_day=5).take(write=False)
    await client.aclose()


async def test_a_throttled_worker_keeps_the_others_from_asking(redis: Redis, prefix: str) -> None:
    async with NexudusApi() as api, aiohttp.ClientSession() as http:
        settings = settings_of(api.section(timeout="1s", budget={"per_day": 1000}))
        workers = [
            backend(settings, ApiTransport(http=http, budget=budget(redis, prefix, per_day=1000), breaker=None))
            for _ in range(2)
        ]
        api.faults.add(Fault(kind="throttle", match=NexudusApi.FIND, retry_after="30"))
        with pytest.raises(DirectoryUnavailable):
            await workers[0].find(EMAIL)
        asked = len(api.seen)
        with pytest.raises(DirectoryUnavailable) as caught:
            await workers[1].find(EMAIL)
        assert caught.value.reason == "throttled"
        assert 20 < (caught.value.retry_after or 0) <= 31
        assert len(api.seen) == asked


async def test_a_call_waits_for_its_place_when_that_comes_soon_enough(redis: Redis, prefix: str) -> None:
    async with ScimServer() as api, aiohttp.ClientSession() as http:
        settings = settings_of(api.section(timeout="20s"))
        here = backend(settings, ApiTransport(http=http, budget=budget(redis, prefix, per_second=2)))
        assert await asyncio.gather(*(here.find(EMAIL) for _ in range(4))) == [None] * 4


# --- the breaker ------------------------------------------------------------------------------------------------------


def test_after_failures_in_a_row_nobody_is_asked_and_then_one_tries() -> None:
    clock = SettableClock()
    breaker = Breaker(clock.monotonic, failures=3, pause=10)
    for _ in range(2):
        breaker.enter()
        breaker.failed()
    breaker.worked()
    for _ in range(3):
        breaker.enter()
        breaker.failed()
    with pytest.raises(BreakerOpen) as caught:
        breaker.enter()
    assert caught.value.retry_after == 11
    clock.advance(10.5)
    breaker.enter()
    with pytest.raises(BreakerOpen):
        breaker.enter()
    breaker.worked()
    breaker.enter()
    breaker.enter()


@pytest.mark.parametrize("kind", ["cut", "error"])
async def test_an_api_that_is_down_is_left_alone(kind: Any) -> None:
    async with ScimServer() as api, aiohttp.ClientSession() as http:
        clock = SettableClock()

        async def sleep(seconds: float) -> None:
            clock.advance(seconds)

        means = ApiTransport(http=http, clock=clock.monotonic, sleep=sleep, breaker=Breaker(clock.monotonic))
        directory = backend(settings_of(api.section()), means)
        api.faults.add(Fault(kind=kind, times=None))
        for _ in range(20):
            with pytest.raises(DirectoryUnavailable):
                await directory.find(EMAIL)
        assert len(api.seen) == 5
        api.faults.clear()
        clock.advance(11)
        assert await directory.find(EMAIL) is None


async def test_what_an_api_refuses_is_no_sign_that_it_is_down() -> None:
    async with ScimServer() as api, aiohttp.ClientSession() as http:
        directory = backend(
            settings_of(api.section()), ApiTransport(http=http, breaker=Breaker(SettableClock().monotonic))
        )
        api.faults.add(Fault(kind="answer", status=403, body="{}", times=None))
        for _ in range(20):
            with pytest.raises(DirectoryUnavailable):
                await directory.find(EMAIL)
        assert len(api.seen) == 20
