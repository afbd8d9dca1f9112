"""What the provider no longer says at a refresh is gone: groups above all, whichever document had them."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.oidc.userinfo import mapped_claims, renewed_words, without_removed_claims, words_in_both
from gateway.runtime.composition import utc_now
from tests.fakes.browser import Browser
from tests.fakes.claims import claim_names
from tests.fakes.house import House
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider, earlier_sign_in
from tests.flows.conftest import OpenHouse
from tests.flows.test_token_refresh import OFFLINE, STAFF, stored

BOTH = ["members", "staff"]
NO_ID_TOKEN = {"id_token": MISSING}


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(provider=provider, openid=OFFLINE, apps={"portal": {"rules": [STAFF]}})


async def signed_in(house: House) -> str:
    """The cookie of somebody who really came through the provider."""
    browser: Browser = house.browser()
    assert (await house.sign_in(browser)).status == 200
    cookie = browser.jar.named("doorward_session")
    assert cookie is not None
    return f"doorward_session={cookie.value}"


async def due(house: House, cookie: str) -> None:
    """The session's access token is over."""
    key = house.worker.store.key_of(cookie.partition("=")[2])
    found = await house.worker.store.fetch(key, house.host(), "portal")
    assert found is not None
    assert await house.worker.store.rewrite(key, found, replace(found.session, access_expires_at=utc_now()))
    house.worker.cache.forget(key)


async def refreshed(house: House, cookie: str) -> tuple[bytes, ...]:
    """The groups that the upstream hears of after the next refresh; () for none."""
    await due(house, cookie)
    assert (await house.ask("/", cookie=cookie)).status == 200
    heard = tuple(house.upstream.requests[-1].values("X-Forwarded-Groups"))
    assert (await house.ask("/staff/", cookie=cookie)).status == (200 if heard == (b"members,staff",) else 403)
    return heard


async def test_groups_that_userinfo_brought_and_brings_no_more_are_gone(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-82: also where the ID Token of the sign-in had the same, and no new one comes."""
    provider.told.id_token = {"groups": BOTH}
    provider.told.userinfo = {"groups": BOTH}
    cookie = await signed_in(house)
    provider.told.token = NO_ID_TOKEN
    assert await refreshed(house, cookie) == (b"members,staff",)
    provider.told.userinfo = {"groups": MISSING}
    for _ in range(2):
        assert await refreshed(house, cookie) == ()
    provider.told.userinfo = {"groups": BOTH}
    assert await refreshed(house, cookie) == (b"members,staff",)


async def test_groups_that_a_later_userinfo_brought_leave_nothing_of_the_id_token_behind(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-82: staff at the sign-in, members since; then userinfo is silent: not staff again."""
    provider.told.id_token, provider.told.userinfo = {"groups": BOTH}, {"groups": MISSING}
    cookie = await signed_in(house)
    provider.told.token, provider.told.userinfo = NO_ID_TOKEN, {"groups": ["members"]}
    assert await refreshed(house, cookie) == (b"members",)
    provider.told.userinfo = {"groups": MISSING}
    assert await refreshed(house, cookie) == ()


@pytest.mark.parametrize("empty", [[], "", MISSING])
async def test_groups_that_only_userinfo_has_go_with_it(
    house: House, provider: MisbehavingProvider, empty: Any
) -> None:
    """A-82."""
    provider.told.userinfo = {"groups": BOTH}
    cookie = await signed_in(house)
    for id_token in (NO_ID_TOKEN, {}):
        provider.told.token, provider.told.userinfo = id_token, {"groups": BOTH}
        assert await refreshed(house, cookie) == (b"members,staff",)
        provider.told.userinfo = {"groups": empty}
        assert await refreshed(house, cookie) == ()


@pytest.mark.parametrize("silent", [MISSING, None])
async def test_groups_of_the_id_token_alone_go_when_a_new_one_comes_without(
    house: House, provider: MisbehavingProvider, silent: Any
) -> None:
    """A-82: a userinfo that never had them takes nothing away."""
    provider.told.id_token, provider.told.userinfo = {"groups": BOTH}, {"groups": silent}
    cookie = await signed_in(house)
    provider.told.token = NO_ID_TOKEN
    for _ in range(2):
        assert await refreshed(house, cookie) == (b"members,staff",)
    provider.told.token, provider.told.id_token = {}, {}
    assert await refreshed(house, cookie) == ()
    provider.told.token = NO_ID_TOKEN
    assert await refreshed(house, cookie) == ()


async def test_groups_that_come_back_in_a_new_id_token_are_its_own(house: House, provider: MisbehavingProvider) -> None:
    """A-82: what userinfo told before that token came says nothing against it."""
    provider.told.id_token, provider.told.userinfo = {"groups": BOTH}, {"groups": BOTH}
    cookie = await signed_in(house)
    provider.told.userinfo = {"groups": MISSING}
    for token in ({}, NO_ID_TOKEN):
        provider.told.token = token
        assert await refreshed(house, cookie) == (b"members,staff",)


async def test_a_session_of_an_earlier_release_loses_what_userinfo_had_changed(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-82: its record does not say who told what; groups that are not the ID Token's came from userinfo."""
    provider.told.id_token = {"groups": BOTH}
    earlier = earlier_sign_in(provider)
    provider.told.token, provider.told.userinfo = NO_ID_TOKEN, {"groups": MISSING}
    assert await refreshed(house, await house.session(**earlier)) == ()


async def test_an_address_or_a_name_that_userinfo_takes_back_is_gone_too(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """A-82: and who needs a verified address has none any more."""
    rule = {"match": ["* /staff/**"], "require": {"emails": [MIA["email"]]}}
    provider.told.id_token = {name: MIA[name] for name in ("email", "email_verified", "name", "preferred_username")}
    for required, after in (("when_present", 200), ("always", 401)):
        openid = {**OFFLINE, "require_verified_email": required}
        house = await open_house(provider=provider, openid=openid, apps={"portal": {"rules": [rule]}})
        provider.told.token, provider.told.userinfo = {}, {}
        cookie = await signed_in(house)
        assert (await house.ask("/staff/", cookie=cookie)).status == 200
        session = await stored(house, cookie)
        assert session is not None
        assert session.userinfo_told == "email name preferred_username"
        provider.told.token = NO_ID_TOKEN
        provider.told.userinfo = dict.fromkeys(("email", "email_verified", "name", "preferred_username"), MISSING)
        await due(house, cookie)
        assert (await house.ask("/", cookie=cookie)).status == after
        if after == 200:
            request = house.upstream.requests[-1]
            for name in ("Email", "Name", "Preferred-Username"):
                assert request.values(f"X-Forwarded-{name}") == []
            assert request.values("X-Forwarded-User") == [b"hd-1001"]
            assert (await house.ask("/staff/", cookie=cookie)).status == 403


NAMES = claim_names(groups="roles", email="upn", subject="upn")


def test_what_names_the_person_is_never_taken_away() -> None:
    assert mapped_claims(NAMES) == {"groups": "roles", "name": "name", "preferred_username": "preferred_username"}
    before = {"upn": "a", "roles": ["x"], "name": "A", "other": 1}
    assert without_removed_claims(before, {}, NAMES, "groups email unknown") == {"upn": "a", "name": "A", "other": 1}
    assert without_removed_claims(before, {"roles": []}, NAMES, "groups name") == {
        "upn": "a",
        "roles": ["x"],
        "other": 1,
    }


async def test_a_session_without_a_refresh_token_notes_nothing(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-70."""
    provider.told.id_token = {"groups": BOTH}
    provider.told.userinfo = {"groups": BOTH}
    house = await open_house(provider=provider)
    session = await stored(house, await signed_in(house))
    assert session is not None
    assert (session.refresh_token, session.userinfo_told) == (None, "")


def test_only_what_both_told_is_noted_and_words_of_later_releases_stay() -> None:
    """C-70: most sessions have nothing to note, and an earlier release reads them."""
    both = {"roles": ["x"], "name": None, "preferred_username": "a"}
    assert (
        words_in_both(both, {"roles": [], "name": "A", "preferred_username": "b"}, NAMES) == "groups preferred_username"
    )
    assert words_in_both(both, {}, NAMES) == words_in_both({}, both, NAMES) == ""
    assert renewed_words("groups tides", "name", keep=True) == "groups tides name"
    assert renewed_words("groups tides", "name", keep=False) == "tides name"
    assert renewed_words("tides", "", keep=False) == "tides"
