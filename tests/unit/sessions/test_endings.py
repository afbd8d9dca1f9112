"""Which sign-ins a logout token ends: those that began before it was received, and whose ID Token is not younger (C-74)."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.routed_client import RoutedClient
from gateway.sessions.fleet_time import FleetTime
from gateway.sessions.keyring import KeyRing
from gateway.sessions.logout_markers import LogoutMarkers
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import ISSUER, KEY, a_client, a_session

SECOND = 1_800_000_000
SESSION = a_session("ana", provider_sid=None)


def moment(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


@pytest.fixture
def endings(redis: Redis, prefix: str) -> LogoutMarkers:
    return LogoutMarkers(redis, KeyRing([KEY]), prefix)


async def test_within_one_second_what_began_before_is_over_and_what_began_afterwards_is_not(
    endings: LogoutMarkers,
) -> None:
    """C-74, C-44."""
    await endings.write(ISSUER, sid=None, sub="ana", issued_at=moment(SECOND), received=SECOND + 0.5)
    for begun, issued, over in (
        (SECOND + 0.499999, SECOND, True),
        (SECOND + 0.500001, SECOND, False),
        (SECOND - 30, SECOND - 20, True),
        (SECOND - 30, SECOND + 1, False),  # begun before, and signed in afterwards at the provider
        (SECOND + 0.6, SECOND + 1, False),
        (None, SECOND, True),  # nobody knows
        (None, SECOND + 1, False),
    ):
        assert await endings.covers(SESSION, issued, begun) == over, (begun, issued)


async def test_each_logout_token_counts_by_itself(endings: LogoutMarkers) -> None:
    """C-74: one that was slow on its way takes nothing back, and blocks nobody who began between the two."""
    await endings.write(ISSUER, sid=None, sub="ana", issued_at=moment(SECOND), received=SECOND + 1)
    await endings.write(ISSUER, sid=None, sub="ana", issued_at=moment(SECOND - 60), received=SECOND + 20)
    assert await endings.covers(SESSION, SECOND - 5, SECOND - 6)
    assert await endings.covers(SESSION, SECOND - 90, SECOND + 5)
    assert not await endings.covers(SESSION, SECOND, SECOND + 5)


async def test_of_two_logout_tokens_of_one_second_the_later_one_counts_too(endings: LogoutMarkers) -> None:
    """C-74: who began after the first, and before the second, is ended by the second."""
    for received in (SECOND + 0.2, SECOND + 0.7):
        await endings.write(ISSUER, sid=None, sub="ana", issued_at=moment(SECOND), received=received)
    assert await endings.covers(SESSION, SECOND, SECOND + 0.5)
    assert not await endings.covers(SESSION, SECOND, SECOND + 0.8)


async def test_a_note_of_an_earlier_release_counts_beside_our_own(
    endings: LogoutMarkers, redis: Redis, prefix: str
) -> None:
    """C-70, C-74: it says nothing of the moment; whoever is not younger is over."""
    await endings.write(ISSUER, sid=None, sub="ana", issued_at=moment(SECOND), received=SECOND + 1)
    (name,) = await redis.keys(f"{prefix}ended:*")
    await redis.set(name, str(SECOND + 9), px=60_000)
    assert await endings.covers(SESSION, SECOND + 9, SECOND + 10)
    assert not await endings.covers(SESSION, SECOND + 10, SECOND + 10)


async def test_notes_go_after_a_while(endings: LogoutMarkers, redis: Redis, prefix: str) -> None:
    await endings.write(ISSUER, sid="s", sub="ana", issued_at=moment(SECOND))
    names = await redis.keys(f"{prefix}ended*")
    assert len(names) == 4
    assert all([0 < await redis.ttl(name) <= 900 for name in names])


# --- the clock --------------------------------------------------------------------------------------------------------


async def test_workers_whose_clocks_differ_agree_what_time_it_is(redis: Redis, prefix: str) -> None:
    """C-74: or a sign-in that began after a logout token at one would have begun before it at the other."""
    late = FleetTime(redis, prefix, time.monotonic, lambda: time.time() - 3600)
    early = FleetTime(redis, prefix, lambda: time.monotonic() + 50, lambda: time.time() + 3600)
    for each in (late, early):
        await each.read()
    seconds, _ = await redis.time()
    assert abs(late.now() - early.now()) < 60
    assert abs(late.now() - seconds) < 60


async def test_in_a_cluster_all_ask_the_same_server(fleet: RoutedClient, prefix: str) -> None:
    one, other = (FleetTime(fleet, prefix, time.monotonic, lambda: 0.0) for _ in range(2))
    await one.read()
    await other.read()
    assert one.now() > SECOND / 2
    assert abs(one.now() - other.now()) < 60


async def test_without_redis_it_is_the_wall_clock_until_redis_is_back(own_valkey: EmbeddedValkey) -> None:
    async with a_client(own_valkey.url) as client:
        own_valkey.stop()
        there = FleetTime(client, "doorward:", time.monotonic, lambda: 7.0)
        with pytest.raises(StoreUnavailable):
            await there.read()
        assert there.now() == 7.0
        running = asyncio.create_task(there.run())
        own_valkey.start()
        await eventually(lambda: there.now() > 7.0)
        running.cancel()
