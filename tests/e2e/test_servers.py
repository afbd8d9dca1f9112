"""Real servers behind the door, attacked by strangers while an honest client is served: those of pip and npm, `php -S`, nginx with WebDAV."""

from collections.abc import Iterator

import pytest

from tests.servers.cases import ServerCases
from tests.servers.door import Place, standing
from tests.servers.small import KINDS


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with standing(request.param) as place:
        yield place


class TestServers(ServerCases):
    every = 7
    asked = 5000
