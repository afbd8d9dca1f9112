"""`directory.recheck: refresh`: who was suspended loses the session at the next token refresh, and nobody loses it for a directory that is down."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.demo.nexudus_stub import Fault
from gateway.identity.claims import Identity
from tests.fakes.directories import KINDS
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider, earlier_sign_in
from tests.flows.conftest import OpenHouse
from tests.flows.test_token_refresh import OFFLINE, refreshes, stored
from tests.unit.directory.test_linking import delete_everybody, suspend

APPS = {"portal": {"headers": {"X-Portal-Customer": "{directory.id}"}}, "dashboard": {"surface": "dashboard"}}
every_kind = pytest.mark.parametrize("kind", KINDS)


async def a_member(house: House, provider: MisbehavingProvider, api: Any) -> str:
    """The cookie of somebody with an account, whose access token is over."""
    sign_in = earlier_sign_in(provider)
    identity: Identity = Identity(
        issuer=provider.issuer, subject=str(MIA["sub"]), email=str(MIA["email"]), name=str(MIA["name"])
    ).with_directory({"id": api.ids[0]})
    cookie = await house.session(**sign_in)
    found = await stored(house, cookie)
    assert found is not None
    token = await house.worker.store.issue(replace(found, identity=identity))
    return f"doorward_session={token}"


async def a_house(open_house: OpenHouse, provider: MisbehavingProvider, api: Any, recheck: str) -> House:
    api.add(str(MIA["email"]), "Mia")
    directory = api.section(recheck=recheck, timeout="2s")
    return await open_house(apps=APPS, provider=provider, directory=directory, openid={**OFFLINE, "create_users": True})


@every_kind
@pytest.mark.parametrize("what", [suspend, delete_everybody])
async def test_who_is_suspended_or_deleted_loses_the_session_at_the_next_refresh(
    open_house: OpenHouse, provider: MisbehavingProvider, kind: str, what: Any
) -> None:
    async with KINDS[kind]() as api:
        house = await a_house(open_house, provider, api, "refresh")
        cookie = await a_member(house, provider, api)
        what(api)
        answer = await house.ask("/", cookie=cookie)
        assert answer.status == 401
        assert house.upstream.requests == []
        assert refreshes(provider) == 1
        assert await stored(house, cookie) is None
        assert house.worker.audit.counts["account.refused", "portal"] == 1


@every_kind
async def test_who_is_still_registered_stays_with_what_the_directory_says_now(
    open_house: OpenHouse, provider: MisbehavingProvider, kind: str
) -> None:
    async with KINDS[kind]() as api:
        house = await a_house(open_house, provider, api, "refresh")
        cookie = await a_member(house, provider, api)
        assert (await house.ask("/", cookie=cookie)).status == 200
        assert house.upstream.requests[0].values("x-portal-customer") == [api.ids[0].encode()]
        assert refreshes(provider) == 1


@every_kind
async def test_a_directory_that_does_not_answer_ends_no_session(
    open_house: OpenHouse, provider: MisbehavingProvider, kind: str
) -> None:
    async with KINDS[kind]() as api:
        house = await a_house(open_house, provider, api, "refresh")
        cookie = await a_member(house, provider, api)
        api.faults.add(Fault(kind="html", times=None))
        assert (await house.ask("/", cookie=cookie)).status == 200
        assert house.upstream.requests[0].values("x-portal-customer") == [api.ids[0].encode()]
        assert await stored(house, cookie) is not None


async def test_with_recheck_login_a_refresh_asks_no_directory(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    async with KINDS["scim"]() as api:
        house = await a_house(open_house, provider, api, "login")
        cookie = await a_member(house, provider, api)
        suspend(api)
        assert (await house.ask("/", cookie=cookie)).status == 200
        assert refreshes(provider) == 1
        assert not [path for _, path, _ in api.seen if path.endswith(api.ids[0])]
