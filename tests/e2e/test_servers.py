"""Real servers behind the door, attacked by strangers while an honest client is served: those of pip and npm, `php -S`, nginx with WebDAV."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.servers.cases import ServerCases
from tests.servers.crowd import crowd
from tests.servers.door import Place, standing
from tests.servers.odd import LATE_BODIES
from tests.servers.small import KINDS


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with standing(request.param) as place:
        yield place


class TestServers(ServerCases):
    every = 7
    asked = 5000


def test_bytes_that_nobody_announced_are_nobodys_answer() -> None:
    """B-02, B-44, B-54: they come 50 ms after the head of a HEAD, a 204 or a 304, and no length or coding speaks of them."""
    with standing(LATE_BODIES) as place:
        judged = asyncio.run(crowd(place.port, place.closed, 5000))
    assert judged.asked >= 5000
    assert (judged.wrong[:3], len(judged.wrong)) == ([], 0)
    assert judged.failed == []
