"""The provider knows us by a TLS client certificate (RFC 8705), and binds access tokens to it."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.operations.check import check_all
from tests.fakes.authority import Authority, Pair
from tests.fakes.house import House
from tests.fakes.mutual_tls import MutualTlsProvider, thumbprint
from tests.fakes.provider import earlier_sign_in
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def client(authority: Authority) -> Pair:
    return authority.issue("doorward", file="client")


@pytest.fixture
async def secure(authority: Authority, client: Pair) -> AsyncIterator[MutualTlsProvider]:
    provider = MutualTlsProvider(authority)
    await provider.start()
    provider.known = thumbprint(client)
    yield provider
    await provider.close()


async def open_at(
    open_house: OpenHouse, secure: MutualTlsProvider, authority: Authority, client: Pair, **more: Any
) -> House:
    openid = {
        "client_secret": None,
        "client_authentication": "tls_client_auth",
        "client_tls": {"certificate": str(client.certificate), "key": str(client.key)},
        "tls_client_certificate_bound_access_tokens": True,
        "ca": str(authority.ca),
        "scopes": ["openid", "email", "profile", "offline_access"],
    }
    house = await open_house(provider=secure, openid=openid | more)
    registered = secure.clients.get("doorward")
    assert registered is not None
    secure.register(replace(registered, authentication="none"))  # beside the certificate there is nothing to check
    return house


async def test_every_call_that_authenticates_us_presents_the_certificate(
    open_house: OpenHouse, secure: MutualTlsProvider, authority: Authority, client: Pair
) -> None:
    """A-96: sign-in, refresh, userinfo and revocation, each at its alias of `mtls_endpoint_aliases`."""
    house = await open_at(open_house, secure, authority, client)
    browser = house.browser()
    assert (await house.sign_in(browser)).status == 200
    known = secure.known
    assert secure.presented == [("token", known), ("userinfo", known)]
    (asked,) = [request for request in secure.seen if request.endpoint == "token"]
    assert asked.form["client_id"] == "doorward"
    assert "client_secret" not in asked.form
    assert "Authorization" not in asked.headers
    cookie = await house.session(**earlier_sign_in(secure))
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert secure.presented[2:] == [("token", known), ("userinfo", known)]
    origin = f"Origin: {house.origin()}\r\n"
    assert (await house.ask("/oauth2/sign_out", method="POST", cookie=cookie, fields=origin, body=b"")).status == 303
    await eventually(lambda: ("revoke", known) in secure.presented)


async def test_a_renewed_certificate_is_presented_at_the_next_call(
    open_house: OpenHouse, secure: MutualTlsProvider, authority: Authority, client: Pair
) -> None:
    """A pair that cannot be used, half of it written, changes nothing."""
    house = await open_at(open_house, secure, authority, client)
    assert (await house.sign_in(house.browser())).status == 200
    renewed = authority.issue("doorward", file="renewed")
    shutil.copy(renewed.certificate, client.certificate)  # and the key is still the old one
    assert (await house.sign_in(house.browser())).status == 200
    shutil.copy(renewed.key, client.key)
    secure.known = thumbprint(renewed)
    secure.presented.clear()
    assert (await house.sign_in(house.browser())).status == 200
    assert secure.presented == [("token", secure.known), ("userinfo", secure.known)]


async def test_check_finds_a_certificate_that_the_provider_does_not_know(
    open_house: OpenHouse, secure: MutualTlsProvider, authority: Authority, client: Pair
) -> None:
    house = await open_at(open_house, secure, authority, client)

    async def found() -> tuple[str | None, bool]:
        results = await check_all(house.worker.config)
        (result,) = [one for one in results if one.name == "provider client authentication"]
        return result.problem, result.unknown

    assert await found() == (None, False)
    secure.known = "another"
    problem, unknown = await found()
    assert not unknown
    assert "status 401, invalid_client" in (problem or "")
