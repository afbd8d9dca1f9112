"""The bounds that the HTTP guide names are those of the code."""

from pathlib import Path

import pytest

from gateway.http import framing
from gateway.policy import bodies
from gateway.proxy import downstream, pool, tunnel, upstream

GUIDE = (Path(__file__).resolve().parents[3] / "deploy" / "guides" / "http.md").read_text()


@pytest.mark.parametrize(
    ("said", "value", "bound"),
    [
        ("more than 32 interim answers", 32, upstream._INTERIM_LIMIT),
        ("a head over 256 KiB", 256 * 1024, upstream._HEAD_LIMIT),
        ("held to 16 KiB", 16 * 1024, framing._TRAILER_LIMIT),
        ("64 KiB of them wait", 64 * 1024, downstream._PIPELINE_LIMIT),
        ("for ten seconds", 10.0, tunnel._CLOSE_SECONDS),
        ("more than 1000 parameters", 1000, bodies._MOST_PARAMETERS),
        ("idle for 55 seconds", 55.0, pool._IDLE_SECONDS),
    ],
)
def test_a_bound_in_the_guide_is_the_one_in_force(said: str, value: float, bound: float) -> None:
    assert said in GUIDE
    assert value == bound
