"""Numbers over time: what is added is read, for as long as it is kept, and labels cannot fill Redis."""

import json

import pytest
from redis.asyncio import Redis

from gateway.observability.counters import BUCKETS, Histogram, WorkerCounts
from gateway.telemetry.numbers import DURATIONS, EVENTS, LABELS, REQUESTS, Growth, NumberStore, Step, quantile

NOON = 1_800_000_000.0  # the beginning of an hour


@pytest.fixture
def numbers(redis: Redis, prefix: str) -> NumberStore:
    return NumberStore(redis, prefix)


async def test_what_replicas_add_is_summed_by_the_minute_and_by_the_hour(numbers: NumberStore) -> None:
    ours = (REQUESTS, "portal", "2xx")
    await numbers.add(NOON, {ours: 5})
    await numbers.add(NOON + 59, {ours: 2, (REQUESTS, "portal", "5xx"): 1})
    await numbers.add(NOON + 60, {ours: 1})
    minutes = await numbers.read(Step.MINUTE, NOON - 60, NOON + 60)
    assert [(slot.at, slot.counts.get(ours, 0)) for slot in minutes] == [(NOON - 60, 0), (NOON, 7), (NOON + 60, 1)]
    [hour] = await numbers.read(Step.HOUR, NOON, NOON + 60)
    assert hour.counts == {ours: 8, (REQUESTS, "portal", "5xx"): 1}


async def test_no_more_is_read_than_is_kept(numbers: NumberStore) -> None:
    assert len(await numbers.read(Step.HOUR, 0, NOON)) == 32 * 24 + 1


async def test_numbers_end_after_a_day_and_after_a_month(numbers: NumberStore, redis: Redis, prefix: str) -> None:
    await numbers.add(NOON, {(EVENTS, "logout", "portal", ""): 1})
    for step, hours in ((Step.MINUTE, 25), (Step.HOUR, 32 * 24)):
        left = await redis.ttl(f"{prefix}numbers:{step.label}:{step.number(NOON)}")
        assert hours * 3600 - 60 < left <= hours * 3600
    assert await redis.ttl(f"{prefix}numbers:last") > 0


async def test_the_last_moment_of_an_event_is_known(numbers: NumberStore) -> None:
    blocked = (EVENTS, "route.blocked", "portal", "login")
    await numbers.add(NOON, {blocked: 3, (REQUESTS, "portal", "2xx"): 9})
    await numbers.add(NOON + 600, {blocked: 1})
    assert await numbers.last_seen() == {blocked: NOON + 600}


async def test_labels_without_end_do_not_fill_redis(numbers: NumberStore) -> None:
    """C-83."""
    await numbers.add(NOON, {(REQUESTS, "portal", "2xx"): 1})
    await numbers.add(NOON, {(EVENTS, "route.blocked", "portal", str(number)): 1 for number in range(LABELS + 50)})
    await numbers.add(NOON, {(REQUESTS, "portal", "2xx"): 1})
    [minute] = await numbers.read(Step.MINUTE, NOON, NOON)
    assert len(minute.counts) == LABELS
    assert minute.counts[REQUESTS, "portal", "2xx"] == 2


async def test_what_is_no_number_of_ours_is_left_out(numbers: NumberStore, redis: Redis, prefix: str) -> None:
    key = f"{prefix}numbers:minute:{Step.MINUTE.number(NOON)}"
    await numbers.add(NOON, {(REQUESTS, "portal", "2xx"): 1})
    await redis.hset(key, mapping={"x": "1", "[1]": "1", '["a"]': "many", "{}": "2", "[]": "1"})
    for labels in (REQUESTS,), (EVENTS, "logout"), ("other", "portal", "2xx"), (DURATIONS, "portal", "x"):
        await redis.hset(key, json.dumps(labels), "1")
    await redis.hset(key, json.dumps((DURATIONS, "portal", str(len(BUCKETS) + 1))), "1")
    await redis.hset(key, json.dumps((REQUESTS, "portal", "3xx")), "9" * 400)
    [minute] = await numbers.read(Step.MINUTE, NOON, NOON)
    assert minute.counts == {(REQUESTS, "portal", "2xx"): 1}


def test_growth_is_what_was_counted_since_the_last_time() -> None:
    counts = WorkerCounts()
    growth = Growth()
    counts.requests["portal", 200] = 3
    counts.requests["portal", 204] = 1
    counts.requests["portal", 502] = 1
    counts.outcomes["login.refused", "portal", "not_registered"] = 2
    counts.durations["response", "portal"] = Histogram()
    counts.durations["response", "portal"].observe(0.002)
    first = growth.of(counts)
    assert first == {
        (REQUESTS, "portal", "2xx"): 4,
        (REQUESTS, "portal", "5xx"): 1,
        (EVENTS, "login.refused", "portal", "not_registered"): 2,
        (DURATIONS, "portal", "1"): 1,
    }
    assert growth.of(counts) == {}
    counts.requests["portal", 200] += 1
    growth.take_back(first)
    assert growth.of(counts) == {**first, (REQUESTS, "portal", "2xx"): 5}


def test_a_quantile_is_read_from_buckets() -> None:
    counts = [0] * (len(BUCKETS) + 1)
    assert quantile(counts, 0.5) is None
    counts[1] = 50  # between 1 and 2.5 ms
    counts[3] = 50  # between 5 and 10 ms
    assert quantile(counts, 0.5) == pytest.approx(0.0025)
    assert quantile(counts, 0.99) == pytest.approx(0.0099)
    counts[-1] = 10_000
    assert quantile(counts, 0.99) == BUCKETS[-1]
