"""The figures of the overview, from the numbers of the fleet."""

import pytest
from redis.asyncio import Redis

from gateway.operations.figures import Span, as_json, figures
from gateway.telemetry.numbers import DURATIONS, EVENTS, REQUESTS, NumberStore

NOON = 1_800_000_000.0


@pytest.fixture
async def numbers(redis: Redis, prefix: str) -> NumberStore:
    store = NumberStore(redis, prefix)
    await store.add(
        NOON - 90,
        {
            (REQUESTS, "portal", "2xx"): 90, (REQUESTS, "portal", "5xx"): 10, (REQUESTS, "dashboard", "2xx"): 200,
            (DURATIONS, "portal", "0"): 100, (DURATIONS, "dashboard", "6"): 200,
            (EVENTS, "login.succeeded", "portal", ""): 4, (EVENTS, "login.refused", "portal", "not_registered"): 3,
            (EVENTS, "route.blocked", "portal", "login"): 2, (EVENTS, "logout", "portal", ""): 9,
        },
    )  # fmt: skip
    await store.add(NOON, {(REQUESTS, "portal", "2xx"): 1, (EVENTS, "login.refused", "portal", "provider_error"): 5})
    return store


async def test_the_figures_of_an_hour_are_by_app_and_by_outcome(numbers: NumberStore) -> None:
    found = await figures(numbers, Span.HOUR, NOON)
    assert [(each.app, each.requests, each.errors) for each in found.apps] == [
        ("dashboard", 200, 0),
        ("portal", 101, 10),
    ]
    assert [each.p50_ms for each in found.apps] == [75.0, 0.5]  # between 50 and 100 ms; up to 1 ms
    assert [(each.event, each.outcome, each.count) for each in found.sign_ins] == [
        ("login.refused", "provider_error", 5),
        ("login.succeeded", "", 4),
        ("login.refused", "not_registered", 3),
    ]
    assert [(each.app, each.outcome, each.count) for each in found.blocked] == [("portal", "login", 2)]


@pytest.mark.parametrize(("span", "points"), [(Span.HOUR, 61), (Span.DAY, 145), (Span.MONTH, 121)])
async def test_every_span_has_all_its_points_and_loses_no_number(numbers: NumberStore, span: Span, points: int) -> None:
    found = await figures(numbers, span, NOON)
    assert len(found.points) == points
    assert [point.at for point in found.points] == sorted(point.at for point in found.points)
    assert sum(point.requests for point in found.points) == 301
    assert sum(point.errors for point in found.points) == 10
    assert sum(point.signed_in for point in found.points) == 4
    assert sum(point.refused for point in found.points) == 8
    assert sum(point.blocked for point in found.points) == 2
    assert as_json(found)["points"][-1]["requests"] == 1


async def test_a_span_without_numbers_has_no_durations(redis: Redis, prefix: str) -> None:
    found = await figures(NumberStore(redis, prefix), Span.HOUR, NOON)
    assert not found.apps
    assert {(point.p50_ms, point.p99_ms) for point in found.points} == {(None, None)}
