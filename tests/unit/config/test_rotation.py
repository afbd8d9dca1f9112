"""A change of keys that would hurt somebody is said, and one that would not is not."""

import pytest
from pydantic import SecretStr

from gateway.config.checks.safety import rotation_warnings

A, B, C = "a" * 43, "b" * 43, "c" * 43


def said(old: list[str], new: list[str]) -> str:
    return " ".join(rotation_warnings([SecretStr(key) for key in old], [SecretStr(key) for key in new]))


@pytest.mark.parametrize(
    ("old", "new"),
    [([A], [A]), ([A], [A, B]), ([A, B], [B, A]), ([B, A], [B]), ([A], []), ([], [A]), ([A, B], [B, A, C])],
)
def test_the_documented_steps_are_silent(old: list[str], new: list[str]) -> None:
    assert said(old, new) == ""


@pytest.mark.parametrize(("old", "new"), [([A], [B, A]), ([A], [B]), ([A, C], [B, A])])
def test_a_key_that_seals_before_everybody_has_it_is_said(old: list[str], new: list[str]) -> None:
    """C-48: without showing it."""
    text = said(old, new)
    assert "keys[0] is new" in text
    assert not any(key in text for key in (A, B, C))


@pytest.mark.parametrize(("old", "new"), [([A], [B]), ([A, B], [B]), ([A, B], [C, B])])
def test_a_key_that_goes_while_it_still_seals_is_said(old: list[str], new: list[str]) -> None:
    assert "is gone from keys" in said(old, new)
