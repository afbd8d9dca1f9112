"""deploy/nginx.conf, deploy/haproxy.cfg and deploy/Caddyfile in front of Doorward, which believes their addresses and nothing else."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.in_front import CASES, Behind, behind


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("name", ["nginx", "haproxy", "caddy"])
async def test_a_file_of_deploy_holds(
    name: str, case: Callable[[Behind], Awaitable[None]], valkey: str, prefix: str, tmp_path: Path
) -> None:
    """C-30, C-34."""
    async with behind(name, valkey, prefix, tmp_path) as front:
        await case(front)
