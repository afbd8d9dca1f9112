"""Access tokens that are bound to a key of the sign-in (DPoP, RFC 9449), at a provider that checks every proof."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from gateway.demo.provider.pages import oauth_error
from gateway.operations.check import check_all
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import new_key
from gateway.sessions.session import Session
from tests.fakes.dpop import DpopProvider
from tests.fakes.house import House
from tests.fakes.provider import earlier_sign_in
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_sign_out import COOKIE, cookie_of

OPENID = {"dpop_bound_access_tokens": True, "scopes": ["openid", "email", "profile", "offline_access"]}


@pytest.fixture
async def binding() -> AsyncIterator[DpopProvider]:
    """It asks for nonces."""
    provider = DpopProvider(nonces=True)
    await provider.start()
    yield provider
    await provider.close()


async def stored(house: House, cookie: str) -> tuple[str, Any]:
    """The key of the session's record, and the record."""
    key = house.worker.store.key_of(cookie.partition("=")[2])
    found = await house.worker.store.fetch(key, house.host(), "portal")
    assert found is not None
    return key, found


async def make_due(house: House, cookie: str) -> Session:
    """The access token ends now; the session as it was."""
    key, found = await stored(house, cookie)
    session: Session = found.session
    assert await house.worker.store.rewrite(key, found, replace(session, access_expires_at=utc_now()))
    house.worker.cache.forget(key)
    return session


async def test_every_token_of_a_sign_in_is_bound_to_its_own_key_in_every_process(
    open_house: OpenHouse, binding: DpopProvider
) -> None:
    """A-98: authorization request, token, userinfo and refresh; another gateway, which has never seen the key, refreshes."""
    shared: dict[str, Any] = {"provider": binding, "openid": OPENID, "keys": [new_key()]}
    one = await open_house(**shared)
    two = await open_house(**shared, apps={"portal": {"hosts": [one.host()]}})
    browser = one.browser()
    assert (await one.sign_in(browser)).status == 200
    cookie = cookie_of(browser)
    assert [(proof["htm"], "ath" in proof) for proof in binding.proofs] == [("POST", False), ("GET", True)]
    assert binding.refused == ["nonce"], "the nonce is asked for once, and serves the whole origin"
    assert binding.asked_for == {binding.proofs[0]["jkt"]}, "the code is bound to the key"

    before = await make_due(one, cookie)
    assert (await two.ask("/", cookie=cookie)).status == 200
    assert [proof["htm"] for proof in binding.proofs[2:]] == ["POST", "GET"]
    assert binding.refused == ["nonce", "nonce"], "this process has learnt the nonce for itself"
    assert len({proof["jkt"] for proof in binding.proofs}) == 1
    _, after = await stored(one, cookie)
    assert after.session.refresh_token != before.refresh_token
    assert after.session.dpop_key == before.dpop_key

    other = one.browser()
    assert (await one.sign_in(other)).status == 200
    assert len({proof["jkt"] for proof in binding.proofs}) == 2, "another sign-in has another key"
    private = json.loads(before.dpop_key or "")["d"]
    assert not [line for line in one.lines + two.lines if private.encode() in line]
    assert not [seen for seen in binding.seen if private in json.dumps([dict(seen.headers), dict(seen.form)])]


async def test_a_bearer_token_in_answer_to_a_proof_is_refused(open_house: OpenHouse, binding: DpopProvider) -> None:
    """A-98: at the sign-in it gives no session, and at a refresh no new token."""
    house = await open_house(provider=binding, openid=OPENID)
    browser = house.browser()
    assert (await house.sign_in(browser)).status == 200
    cookie = cookie_of(browser)
    before = await make_due(house, cookie)
    for downgraded in ("Bearer", "bearer", None, ["DPoP"]):
        binding.told.token = {"token_type": downgraded}
        stranger = house.browser()
        assert (await house.sign_in(stranger)).status >= 400
        assert stranger.jar.named(COOKIE, "portal.localhost") is None
    asked = binding.count("userinfo")
    await house.ask("/", cookie=cookie)
    await eventually(lambda: any(b"token.refresh_failed" in line for line in house.lines))
    _, after = await stored(house, cookie)
    assert (after.session.access_token, after.session.refresh_token) == (before.access_token, before.refresh_token)
    assert binding.count("userinfo") == asked, "such a token is not used"


async def test_a_provider_that_asks_for_nonce_after_nonce_gets_two_requests(
    open_house: OpenHouse, binding: DpopProvider
) -> None:
    """A-98."""
    house = await open_house(provider=binding, openid=OPENID)
    binding.before_proof = binding.new_nonce  # no nonce is ever the right one
    before = binding.count("token")
    assert (await house.sign_in(house.browser())).status == 502
    assert binding.count("token") - before == 2


async def test_nonces_that_change_with_each_response_are_followed(open_house: OpenHouse, binding: DpopProvider) -> None:
    binding.rotating = True
    house = await open_house(provider=binding, openid=OPENID)
    for _ in range(2):
        assert (await house.sign_in(house.browser())).status == 200
    assert binding.refused == ["nonce"]
    assert [proof["nonce"] for proof in binding.proofs] == ["nonce-0", "nonce-1", "nonce-2", "nonce-3"]


async def test_a_refused_code_is_not_sent_again_because_a_nonce_came_with_the_refusal(
    open_house: OpenHouse, binding: DpopProvider
) -> None:
    """A-98: a code that comes twice ends everything of its grant (RFC 6749 section 4.1.2)."""
    house = await open_house(provider=binding, openid=OPENID)

    async def refuse(request: web.Request) -> web.StreamResponse:
        return oauth_error("invalid_grant", "no", 400, {"DPoP-Nonce": "a-new-one"})

    binding.faults["token"] = refuse
    assert (await house.sign_in(house.browser())).status >= 400
    assert binding.count("token") == 1


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # said of the name; many providers know no other
async def test_the_algorithm_is_one_that_the_provider_lists(open_house: OpenHouse, binding: DpopProvider) -> None:
    binding.algorithms = ["RS256", "EdDSA"]
    house = await open_house(provider=binding, openid=OPENID)
    assert (await house.sign_in(house.browser())).status == 200
    assert {proof["alg"] for proof in binding.proofs} == {"EdDSA"}


async def test_a_session_from_before_the_setting_gets_a_key_at_its_refresh(
    open_house: OpenHouse, binding: DpopProvider
) -> None:
    house = await open_house(provider=binding, openid=OPENID)
    cookie = await house.session(**earlier_sign_in(binding))
    assert (await house.ask("/", cookie=cookie)).status == 200
    _, after = await stored(house, cookie)
    assert after.session.dpop_key is not None
    assert {proof["jkt"] for proof in binding.proofs} != set()


async def test_check_tries_the_client_authentication_with_a_proof(open_house: OpenHouse, binding: DpopProvider) -> None:
    house = await open_house(provider=binding, openid=OPENID)
    results = await check_all(house.worker.config)
    (found,) = [one for one in results if one.name == "provider client authentication"]
    assert (found.problem, found.unknown) == (None, False)
    assert binding.proofs


async def test_without_the_setting_no_proof_is_sent_and_a_bound_token_is_refused(
    open_house: OpenHouse, binding: DpopProvider
) -> None:
    house = await open_house(provider=binding, openid={"scopes": OPENID["scopes"]})
    assert (await house.sign_in(house.browser())).status >= 400
    assert not [seen for seen in binding.seen if "DPoP" in seen.headers]
