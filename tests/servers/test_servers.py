"""All servers, those of e2e and those of Debian, each with a hundred thousand requests and every spelling. Run by `make servers`."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.servers import debian, small
from tests.servers.cases import ServerCases
from tests.servers.crowd import crowd
from tests.servers.door import Place, standing
from tests.servers.odd import LATE_BODIES

KINDS = (*debian.KINDS, *small.KINDS)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with standing(request.param) as place:
        yield place


class TestServers(ServerCases):
    every = 1
    asked = 100_000


def test_bytes_that_nobody_announced_are_nobodys_answer() -> None:
    """B-02, B-44, B-60: they come 50 ms after the head of a HEAD, a 204 or a 304, and no length or coding speaks of them."""
    with standing(LATE_BODIES) as place:
        judged = asyncio.run(crowd(place.port, place.closed, 100_000))
    assert judged.asked >= 100_000
    assert (judged.wrong[:3], len(judged.wrong)) == ([], 0)
    assert judged.failed == []
