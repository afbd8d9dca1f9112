"""The whole product on a cluster and under sentinels: signing in, staying, signing out, and a primary that dies in between."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors.dependencies import StoreUnavailable
from gateway.observability.events import Audit
from gateway.redis_client.client import push_sources
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.follower import FollowerParts, SettingsFollower
from gateway.saved_settings.record import NO_RECORD, SettingsRecord, SettingsVersion
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing
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


async def test_saved_settings_are_followed_over_a_failover(
    servers: ValkeyCluster | SentinelSet, open_house: OpenHouse, tmp_path: Path
) -> None:
    """C-96: pushed by whichever server holds the record; a primary that dies takes no settings with it."""
    house = await open_house(redis={"url": servers.url})
    config, redis = house.worker.config, house.worker.redis
    store = SettingsStore(redis, KeyRing(config.keys), config.redis.key_prefix)
    lines: list[bytes] = []
    follower = SettingsFollower(
        FollowerParts(
            store=store, copy=SettingsCopy(tmp_path), sources=push_sources(redis, config.redis), audit=Audit(lines.append),
            clock=time.monotonic, now=time.time, tick=0.3,
        ),
        lambda: None,
    )  # fmt: skip
    await follower.begin()
    follower.start()

    def saved(before: SettingsRecord, closed: bool) -> SettingsRecord:
        values = {"openid.prevent_password_login": closed}
        return before.with_version(
            SettingsVersion(number=0, kind="saved", at=time.time(), by="ana", reason="a drill", values=values)
        )

    first = saved(NO_RECORD, True)
    assert await store.swap(b"", store.seal(first))
    await eventually(lambda: follower.in_force.values == first.versions[-1].values)
    victims = servers.running if isinstance(servers, ValkeyCluster) else [servers.primary]
    next(server for server in victims if server.command("ROLE")[0] == "master").kill()
    second = saved(first, False)

    async def swapped() -> bool:
        try:
            there = await store.read()
            return there != b"" and await store.swap(there, store.seal(second))
        except StoreUnavailable:
            return False

    await eventually(swapped, within=30)
    await eventually(lambda: follower.in_force.values == second.versions[-1].values, within=30)
    await follower.close()
