"""When a refresh is due."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.config.schema import ProviderKeys
from gateway.token_refresh.schedule import DEFAULT_LIFETIME, access_times, pause_after, time_left
from tests.unit.sessions.made import a_session

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def left(now: datetime, *, expires_in: int | None, refresh_token: str | None = "rt", **settings: Any) -> Any:
    session = a_session(refresh_token=refresh_token, **access_times(expires_in, refresh_token, NOON))
    return time_left(session, ProviderKeys(**settings), now)


def test_a_token_is_due_a_minute_before_it_ends() -> None:
    assert left(NOON, expires_in=3600) == (59 * MINUTE, 60 * MINUTE)
    assert left(NOON + 70 * MINUTE, expires_in=3600) == (-11 * MINUTE, -10 * MINUTE)


def test_the_configuration_says_how_early() -> None:
    assert left(NOON, expires_in=3600, refresh_before="10m") == (50 * MINUTE, 60 * MINUTE)


def test_a_short_token_is_used_for_half_of_its_life() -> None:
    """Or every request would ask the provider."""
    assert left(NOON, expires_in=60) == (MINUTE / 2, MINUTE)
    assert left(NOON, expires_in=1) == (timedelta(seconds=0.5), timedelta(seconds=1))


def test_a_provider_that_does_not_say_is_taken_to_mean_an_hour() -> None:
    assert left(NOON, expires_in=None) == (DEFAULT_LIFETIME - MINUTE, DEFAULT_LIFETIME)
    assert left(NOON, expires_in=0) == (DEFAULT_LIFETIME - MINUTE, DEFAULT_LIFETIME)


def test_an_absurd_lifetime_is_bounded() -> None:
    assert left(NOON, expires_in=10**10 - 1)[1] == timedelta(days=400)


@pytest.mark.parametrize("options", [{"refresh_token": None}, {"refresh": "never"}])
def test_nothing_is_ever_due_without_a_refresh_token_or_with_refresh_never(options: dict[str, Any]) -> None:
    assert left(NOON + 90 * MINUTE, expires_in=3600, **options) is None


def test_a_session_of_an_earlier_release_is_left_as_it_is() -> None:
    assert time_left(a_session(), ProviderKeys(), NOON) is None


def test_a_clock_that_is_set_back_puts_a_refresh_off_by_no_more_than_a_tokens_life() -> None:
    """C-46."""
    assert left(NOON - timedelta(days=3), expires_in=3600) == (59 * MINUTE, 60 * MINUTE)


def test_pauses_double_up_to_five_minutes() -> None:
    """A-73."""
    assert [pause_after(n).total_seconds() for n in (1, 2, 3, 4, 7, 1000)] == [5, 10, 20, 40, 300, 300]
