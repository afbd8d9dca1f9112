"""Tests with real programs."""

import pytest

pytest.register_assert_rewrite("tests.e2e.asking", "tests.e2e.in_front")
