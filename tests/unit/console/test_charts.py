"""Plots drawn on the server."""

import pytest

from gateway.console.charts import chart, round_up

POINTS = [
    {"at": "2026-11-29T12:00:00+00:00", "all": 10, "bad": None},
    {"at": "2026-11-29T12:01:00+00:00", "all": 0, "bad": 5},
    {"at": "2026-11-29T12:02:00+00:00", "all": 5, "bad": None},
]


@pytest.mark.parametrize(
    ("value", "least"),
    [(0, 1), (0.3, 0.5), (1, 1), (1.2, 2), (3, 5), (7, 10), (10, 10), (11, 20), (101, 200), (2500, 5000)],
)
def test_the_scale_ends_at_a_round_number(value: float, least: float) -> None:
    assert round_up(value) == pytest.approx(least)


def test_a_line_goes_from_the_ground_to_the_top_and_has_gaps() -> None:
    drawn = chart(POINTS, "Requests", {"all": "requests", "bad": "errors"})
    assert '<path class="line all" d="M0.0 6.0h0.1L300.0 120.0L600.0 63.0"/>' in drawn
    assert '<path class="line bad" d="M300.0 63.0h0.1"/>' in drawn
    assert "the greatest values are: requests 10, errors 5" in drawn
    assert '<time datetime="2026-11-29T12:02:00+00:00">2026-11-29 12:02 UTC</time>' in drawn


def test_texts_are_escaped_and_nothing_is_a_style() -> None:
    drawn = chart([], "<script>", {"all": '"><b>'}, "<i>")
    assert "<script>" not in drawn
    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert "style=" not in drawn
