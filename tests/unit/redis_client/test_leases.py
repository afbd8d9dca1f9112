"""A lease in a real Valkey: one holder at a time, over processes, and none that outlives its holder."""

import asyncio
import time
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.leases import LeaseBusy, Leases
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import a_client

AT_ONCE = timedelta(0)
PATIENT = timedelta(seconds=5)
SHORT = timedelta(milliseconds=150)


@pytest.fixture
def leases(redis: Redis, prefix: str) -> Leases:
    return Leases(redis, prefix, time.monotonic)


async def test_only_one_holds_it_at_a_time(valkey: str, prefix: str) -> None:
    """Fifty in five clients, as fifty first sign-ins of one person in several processes."""
    inside = most = done = 0

    async def work(leases: Leases) -> None:
        nonlocal inside, most, done
        async with leases.hold("person", timedelta(seconds=20)):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1
            done += 1

    clients = [a_client(valkey) for _ in range(5)]
    await asyncio.gather(*(work(Leases(client, prefix, time.monotonic)) for client in clients for _ in range(10)))
    for client in clients:
        await client.aclose()
    assert (most, done) == (1, 50)


async def test_names_do_not_hinder_each_other(leases: Leases) -> None:
    async with leases.hold("one", AT_ONCE), leases.hold("another", AT_ONCE):
        pass


async def test_who_waits_no_longer_is_told(leases: Leases) -> None:
    async with leases.hold("person", AT_ONCE):
        with pytest.raises(LeaseBusy):
            async with leases.hold("person", timedelta(milliseconds=100)):
                raise AssertionError("two holders")


async def test_it_is_renewed_while_its_holder_works(leases: Leases, redis: Redis, prefix: str) -> None:
    async with leases.hold("person", AT_ONCE, SHORT) as lease:
        until = time.monotonic() + 4 * SHORT.total_seconds()
        await eventually(lambda: time.monotonic() > until)
        assert not lease.lost.is_set()
        with pytest.raises(LeaseBusy):
            async with leases.hold("person", AT_ONCE):
                raise AssertionError("two holders")
    assert not await redis.exists(f"{prefix}lock:person")


async def test_it_is_free_after_a_failure_and_after_a_cancellation(leases: Leases) -> None:
    with pytest.raises(ZeroDivisionError):
        async with leases.hold("person", AT_ONCE):
            raise ZeroDivisionError

    holding = asyncio.Event()

    async def work() -> None:
        async with leases.hold("person", AT_ONCE):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with leases.hold("person", AT_ONCE):
        pass


async def test_a_holder_that_died_loses_it_by_itself(valkey: str, prefix: str, leases: Leases, redis: Redis) -> None:
    """D-06: nobody renews or releases it any more."""
    await redis.set(f"{prefix}lock:person", "somebody who is gone", px=SHORT)
    async with leases.hold("person", PATIENT):
        pass


async def test_a_holder_that_lost_it_learns_so_and_takes_nothing_from_the_next(
    leases: Leases, redis: Redis, prefix: str
) -> None:
    async with leases.hold("person", AT_ONCE, SHORT) as lease:
        await redis.set(f"{prefix}lock:person", "the next holder", ex=100)
        await asyncio.wait_for(lease.lost.wait(), 60)
    assert await redis.get(f"{prefix}lock:person") == b"the next holder"
    assert await redis.ttl(f"{prefix}lock:person") > 90


async def test_a_holder_that_cannot_reach_redis_counts_it_as_lost_in_time(own_valkey: EmbeddedValkey) -> None:
    """C-43: before anybody else can have it, as far as its own clock goes; also when Redis just does not answer."""
    for hinder in (FlakyLink.stall, FlakyLink.refuse):
        async with (
            FlakyLink(own_valkey.url) as link,
            a_client(link.url) as client,
            Leases(client, "doorward:", time.monotonic).hold("person", AT_ONCE, SHORT) as lease,
        ):
            hinder(link)
            await asyncio.wait_for(lease.lost.wait(), 1)  # a command's own timeout is two seconds
            link.restore()
        async with a_client(own_valkey.url) as client:
            await eventually(lambda: gone(client))


async def gone(client: Redis) -> bool:
    return not await client.exists("doorward:lock:person")


async def test_without_redis_nobody_holds_anything(own_valkey: EmbeddedValkey) -> None:
    """C-43."""
    async with a_client(own_valkey.url) as client:
        own_valkey.stop()
        with pytest.raises(StoreUnavailable):
            async with Leases(client, "doorward:", time.monotonic).hold("person", PATIENT):
                raise AssertionError("held without Redis")
        own_valkey.start()
