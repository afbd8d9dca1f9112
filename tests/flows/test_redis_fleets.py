"""The whole product on a cluster and under sentinels: signing in, staying, signing out, and a primary that dies in between."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes.provider import MisbehavingProvider
from tests.fakes.redis_servers import SentinelSet, ValkeyCluster, running_cluster, running_sentinels
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket


@pytest.fixture(params=["cluster", "sentinels"])
def servers(request: pytest.FixtureRequest) -> Iterator[ValkeyCluster | SentinelSet]:
    with running_cluster() if request.param == "cluster" else running_sentinels() as started:
        yield started


async def test_people_sign_in_stay_over_a_failover_and_sign_out(
    servers: ValkeyCluster | SentinelSet, open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-43, C-44, D-05: 503 at worst while nobody is primary, never a stranger's page or a sign-in; the sign-out closes a WebSocket."""
    house = await open_house(apps={"portal": {}}, provider=provider, redis={"url": servers.url})
    browser = house.browser()
    assert (await house.sign_in(browser, at="/before")).text == "you asked for /before"
    token = browser.jar.named("doorward_session")
    assert token is not None
    cookie = f"doorward_session={token.value}"
    pages = house.upstream.answer
    socket = await open_socket(house, cookie)
    house.upstream.answer = pages
    victims = servers.running if isinstance(servers, ValkeyCluster) else [servers.primary]
    victims = [server for server in victims if server.command("ROLE")[0] == "master"]
    victims[0].kill()
    seen: list[int] = []

    async def served() -> bool:
        seen.append((await house.ask("/x", cookie=cookie)).status)
        return seen[-1] == 200 and house.worker.cache.trusted

    await eventually(served)
    assert set(seen) <= {200, 503}
    await socket.send(b"still here")
    assert await socket.reader.readexactly(10) == b"still here"
    page = await browser.post_from(house.origin() + "/", house.origin() + "/oauth2/sign_out")
    assert page.status in (302, 303)
    assert await asyncio.wait_for(socket.ended(), 60)
    assert (await house.ask("/x", cookie=cookie)).status == 401
    assert (await house.sign_in(house.browser(), at="/after")).text == "you asked for /after"
