"""Traefik and Envoy by the recipes of deploy/guides/forward-auth.md, and Traefik by deploy/traefik.yaml. `make fronts` runs these by hand."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e import asking, in_front


@pytest.mark.parametrize("case", asking.CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("name", ["traefik", "envoy"])
async def test_a_recipe_holds(
    name: str, case: Callable[[asking.Asking], Awaitable[None]], valkey: str, prefix: str, tmp_path: Path
) -> None:
    """C-62."""
    async with asking.asking(name, valkey, prefix, tmp_path) as front:
        await case(front)


@pytest.mark.parametrize("case", in_front.CASES, ids=lambda case: case.__name__)
async def test_the_file_for_traefik_in_front_holds(
    case: Callable[[in_front.Behind], Awaitable[None]], valkey: str, prefix: str, tmp_path: Path
) -> None:
    """C-30, C-34."""
    async with in_front.behind("traefik", valkey, prefix, tmp_path) as front:
        await case(front)
