"""Tokens are renewed before they end; who may no longer be here is sent to sign in again, and nobody else is."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from gateway.runtime.composition import utc_now
from gateway.sessions.session import Session
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import (
    MIA,
    MISSING,
    MisbehavingProvider,
    broken_off,
    earlier_sign_in,
    says,
)
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket

OFFLINE = {"scopes": ["openid", "email", "profile", "offline_access"]}


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    """A portal, with a provider that gives refresh tokens, replaces them at each use and ends a family that is used twice."""
    return await open_house(provider=provider, openid=OFFLINE, apps={"portal": {"rules": [STAFF]}})


STAFF = {"match": ["* /staff/**"], "require": {"groups": ["staff"]}}


async def arrived(house: House, provider: MisbehavingProvider, **changes: Any) -> str:
    """The cookie of somebody whose access token is over, unless `changes` say otherwise."""
    return await house.session(**{**earlier_sign_in(provider), **changes})


def nearly_over() -> dict[str, Any]:
    """Due, and good for half a minute."""
    return {"access_expires_at": utc_now() + timedelta(seconds=30)}


async def stored(house: House, cookie: str) -> Session | None:
    key = house.worker.store.key_of(cookie.partition("=")[2])
    found = await house.worker.store.fetch(key, house.host(), "portal")
    return None if found is None else found.session


def events(house: House, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in house.lines if b'"event":"%b"' % name.encode() in line]


def refreshes(provider: MisbehavingProvider) -> int:
    return sum(request.form.get("grant_type") == "refresh_token" for request in provider.seen)


def groups(house: House) -> list[bytes]:
    return house.upstream.requests[-1].values("X-Forwarded-Groups")


# --- renewed ----------------------------------------------------------------------------------------------------------


async def test_tokens_that_are_over_are_renewed_before_the_request_goes_on(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-35, A-74: and what changed at the provider decides and is told from this very request on."""
    cookie = await arrived(house, provider)
    provider.people[str(MIA["sub"])]["groups"] = ["members", "staff"]
    provider.told.id_token = {"auth_time": int(utc_now().timestamp()) - 1}  # as some providers write it
    before = await stored(house, cookie)
    assert (await house.ask("/staff/", cookie=cookie)).status == 200
    assert groups(house) == [b"members,staff"]
    after = await stored(house, cookie)
    assert before is not None
    assert after is not None
    assert after.refresh_token not in (None, before.refresh_token)
    assert after.access_token != before.access_token
    assert after.id_token != before.id_token
    assert after.auth_time == before.auth_time, "a refresh is no sign-in"
    assert after.access_expires_at is not None
    assert after.access_expires_at > utc_now() + timedelta(minutes=50)
    (told,) = events(house, "token.refreshed")
    assert (told["session"], told["rotated"], told["claims_changed"]) == (after.sid, True, True)
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert refreshes(provider) == 1


async def test_a_group_that_was_taken_away_counts_no_more(house: House, provider: MisbehavingProvider) -> None:
    """A-74."""
    person = provider.people[str(MIA["sub"])]
    person["groups"] = ["members", "staff"]
    cookie = await arrived(house, provider, access_expires_at=utc_now() + timedelta(hours=1))
    assert (await house.ask("/staff/", cookie=cookie)).status == 200
    person["groups"] = ["members"]
    assert (await house.ask("/staff/", cookie=cookie)).status == 200, "nobody asked the provider yet"
    cookie = await arrived(house, provider)
    assert (await house.ask("/staff/", cookie=cookie)).status == 403
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert groups(house) == [b"members"]


async def test_forward_auth_tells_of_renewed_claims_too(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """A-74."""
    house = await open_house(provider=provider, openid=OFFLINE, trusted_proxies=["127.0.0.1/32"])
    cookie = await arrived(house, provider)
    provider.people[str(MIA["sub"])]["groups"] = ["staff"]
    said = "X-Forwarded-Uri: /x\r\nX-Forwarded-Method: GET\r\n"
    answer = await house.ask("/oauth2/auth", cookie=cookie, fields=said)
    assert (answer.status, answer.values("X-Forwarded-Groups")) == (202, ["staff"])
    provider.faults["token"] = says('{"error": "invalid_grant"}', status=400)
    gone = await house.ask("/oauth2/auth", cookie=await arrived(house, provider), fields=said)
    assert gone.status == 401


async def test_while_the_access_token_is_good_nobody_waits_for_its_successor(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-35, A-74: the provider takes its time, the requests do not."""
    cookie = await arrived(house, provider, **nearly_over())
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        asked.set()
        await go_on.wait()

    provider.before_tokens = slow
    provider.people[str(MIA["sub"])]["groups"] = ["staff"]
    for _ in range(3):
        assert (await house.ask("/", cookie=cookie)).status == 200
        assert groups(house) == [b"members"]
    await asyncio.wait_for(asked.wait(), 60)
    go_on.set()
    await eventually(lambda: events(house, "token.refreshed"))

    async def told() -> bool:
        assert (await house.ask("/", cookie=cookie)).status == 200
        return groups(house) == [b"staff"]

    await eventually(told)
    assert refreshes(provider) == 1


async def test_fifty_requests_at_once_cost_one_refresh(house: House, provider: MisbehavingProvider) -> None:
    """A-71: the provider would end the family of a token that comes twice."""
    cookie = await arrived(house, provider)
    answers = await asyncio.gather(*(house.ask("/", cookie=cookie) for _ in range(50)))
    assert [answer.status for answer in answers] == [200] * 50
    assert refreshes(provider) == 1


async def test_a_provider_that_keeps_its_refresh_token_and_says_no_id_token_is_understood(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-35: both may be left out (RFC 6749 section 6, OpenID Connect Core 1.0 section 12.2); userinfo then knows better than the old ID Token."""
    provider.told.token = {"refresh_token": MISSING, "id_token": MISSING}
    provider.people[str(MIA["sub"])]["groups"] = ["staff"]
    cookie = await arrived(house, provider)
    before = await stored(house, cookie)
    assert (await house.ask("/staff/", cookie=cookie)).status == 200
    after = await stored(house, cookie)
    assert before is not None
    assert after is not None
    assert (after.refresh_token, after.id_token) == (before.refresh_token, before.id_token)
    assert after.access_token != before.access_token


async def test_a_refresh_keeps_the_claims_of_the_id_token_where_userinfo_is_never_fetched(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    openid = {**OFFLINE, "userinfo": "never"}
    house = await open_house(provider=provider, openid=openid, apps={"portal": {"rules": [STAFF]}})
    provider.told.token, provider.told.id_token = {"id_token": MISSING}, {"groups": ["members"]}
    cookie = await arrived(house, provider)
    provider.people[str(MIA["sub"])]["groups"] = ["staff"]
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert groups(house) == [b"members"]
    assert refreshes(provider) == 1
    assert provider.count("userinfo") == 0


async def test_a_filter_that_came_after_a_sign_in_leaves_a_session_the_groups_that_it_keeps(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """At a refresh without an ID Token, of which userinfo says no groups either; of a session that says no more of its userinfo."""
    provider.people[str(MIA["sub"])]["groups"] = ["members", "staff"]
    provider.told.id_token = {"groups": ["members", "staff"]}
    house = await open_house(provider=provider, openid={**OFFLINE, "groups_filter": ["members"]})
    cookie = await arrived(house, provider)
    provider.told.token, provider.told.userinfo = {"id_token": MISSING}, {"groups": MISSING}
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert refreshes(provider) == 1
    assert groups(house) == [b"members"]


async def test_nothing_is_asked_without_a_refresh_token_or_where_the_configuration_says_never(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, openid={**OFFLINE, "refresh": "never"})
    assert (await house.ask("/", cookie=await arrived(house, provider))).status == 200
    other = await open_house(provider=provider, openid=OFFLINE)
    assert (await other.ask("/", cookie=await arrived(other, provider, refresh_token=None))).status == 200
    assert refreshes(provider) == 0


async def test_a_real_sign_in_leaves_what_a_refresh_needs(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    """A-35: `refresh_before` says how early; of a shorter token half of its life is used."""
    house = await open_house(provider=provider, openid={**OFFLINE, "refresh_before": "10m"})
    provider.told.token = {"expires_in": 1}
    browser = house.browser()
    assert (await house.sign_in(browser)).status == 200
    provider.told.token = {}

    async def renewed() -> list[Any]:
        assert (await browser.open(house.origin())).status == 200
        return events(house, "token.refreshed")

    await eventually(renewed)
    assert refreshes(provider) == 1


# --- refused ----------------------------------------------------------------------------------------------------------


def sent_to_sign_in(answer: WireResponse, provider: MisbehavingProvider) -> bool:
    return answer.status == 302 and (answer.value("Location") or "").startswith(provider.issuer + "/authorize?")


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_client", "interaction_required"])
async def test_a_refresh_that_is_refused_ends_the_session_and_leads_to_a_sign_in(
    house: House, provider: MisbehavingProvider, error: str
) -> None:
    """A-72: no error page, no loop."""
    cookie = await arrived(house, provider)
    socket_cookie = await arrived(house, provider, **nearly_over())
    assert (await house.ask("/", cookie=socket_cookie)).status == 200
    await eventually(lambda: events(house, "token.refreshed"))
    provider.faults["token"] = says(json.dumps({"error": error}), status=400)
    assert sent_to_sign_in(await house.ask("/", cookie=cookie, fields=BROWSER), provider)
    assert (await house.ask("/", cookie=cookie)).status == 401
    assert await stored(house, cookie) is None
    (told,) = events(house, "token.refresh_failed")
    assert (told["reason"], told["ended"]) == (error, True)
    assert [event["by"] for event in events(house, "session.revoked")] == ["refresh"]
    assert refreshes(provider) == 2, "one for each of them, and none for the dead one"
    assert (await house.ask("/", cookie=socket_cookie)).status == 200, "the other session is nobody's business"
    del provider.faults["token"]
    assert (await house.sign_in(house.browser())).status == 200


async def test_what_is_open_under_a_session_that_is_refused_is_closed(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-72, C-44: nobody asks anything on a quiet WebSocket; its session is looked after all the same."""
    cookie = await arrived(house, provider, access_expires_at=utc_now() + timedelta(seconds=61))
    wire = await open_socket(house, cookie)
    provider.faults["token"] = says('{"error": "invalid_grant"}', status=400)
    assert await wire.ended(timeout=10)
    assert await stored(house, cookie) is None
    await wire.close()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"sub": "hd-1003"}, "subject"),
        ({"aud": "another-client"}, "audience"),
        ({"azp": "doorward"}, "authorized_party"),
        ({"nonce": "another"}, "nonce"),
        ({"at_hash": "altered"}, "at_hash"),
    ],
)
async def test_a_refreshed_id_token_that_contradicts_the_session_ends_it(
    house: House, provider: MisbehavingProvider, told: dict[str, Any], reason: str
) -> None:
    """A-36 (issuer), A-37 (subject), and the rest of OpenID Connect Core 1.0 section 12.2."""
    cookie = await arrived(house, provider)
    provider.told.id_token = told
    assert (await house.ask("/", cookie=cookie)).status == 401
    assert house.upstream.requests == []
    assert await stored(house, cookie) is None
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == [reason]
    assert provider.count("revoke") == 2, "its tokens are nobody's"


async def test_userinfo_about_somebody_else_ends_the_session(house: House, provider: MisbehavingProvider) -> None:
    """A-37, A-11."""
    cookie = await arrived(house, provider)
    provider.told.userinfo = {"sub": "hd-1003"}
    assert (await house.ask("/", cookie=cookie)).status == 401
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["userinfo_subject"]


async def test_claims_that_would_not_let_anybody_in_end_the_session(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-74, A-58: the address is not verified any more."""
    cookie = await arrived(house, provider)
    provider.people[str(MIA["sub"])]["email_verified"] = False
    assert (await house.ask("/", cookie=cookie)).status == 401
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["email_not_verified"]


# --- failed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (says("busy", status=503), "provider_fault"),
        (says('{"error": "temporarily_unavailable"}', status=400), "provider_fault"),
        (says("<html>", content_type="text/html"), "provider_fault"),
        (broken_off, "provider_fault"),
    ],
)
async def test_a_provider_that_fails_costs_nobody_the_session_and_is_left_alone_for_a_while(
    house: House, provider: MisbehavingProvider, fault: Callable[..., Any], reason: str
) -> None:
    """A-73: though the access token is over: the session's own clocks say how long it lives."""
    cookie = await arrived(house, provider)
    provider.faults["token"] = fault
    answers = await asyncio.gather(*(house.ask("/", cookie=cookie) for _ in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert refreshes(provider) == 1
    (told,) = events(house, "token.refresh_failed")
    assert (told["reason"], told["failures"], told["ended"]) == (reason, 1, False)


async def test_a_provider_that_hangs_holds_nobody_for_long(house: House, provider: MisbehavingProvider) -> None:
    """A-73: the request goes on with what there is, while the provider still has not answered."""
    cookie = await arrived(house, provider)
    go_on = asyncio.Event()

    async def hanging(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.Response(status=503)

    provider.faults["token"] = hanging
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert not go_on.is_set()
    assert events(house, "token.refresh_failed") == []
    assert refreshes(provider) == 1
    go_on.set()
    await eventually(lambda: events(house, "token.refresh_failed"))


async def test_a_provider_that_is_down_costs_nobody_the_session(house: House, provider: MisbehavingProvider) -> None:
    """A-73."""
    cookie = await arrived(house, provider)
    await provider.close()
    assert (await house.ask("/", cookie=cookie)).status == 200
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["provider_unavailable"]


async def test_tokens_that_came_are_kept_when_userinfo_fails_afterwards(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-71, A-73: the old refresh token is spent by then, so the new one must not be lost."""
    cookie = await arrived(house, provider)
    before = await stored(house, cookie)
    provider.faults["userinfo"] = says("busy", status=503)
    assert (await house.ask("/", cookie=cookie)).status == 200
    between = await stored(house, cookie)
    assert before is not None
    assert between is not None
    assert between.refresh_token != before.refresh_token
    assert between.identity == before.identity
    assert between.access_expires_at == before.access_expires_at, "still due"
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["provider_fault"]


async def test_an_attempt_whose_answer_was_lost_is_repeated_once_and_ends_in_a_sign_in(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-71, A-72: the provider ends the family, the session ends with it; the event says why."""
    cookie = await arrived(house, provider)
    session = await stored(house, cookie)
    assert session is not None
    provider.tokens.refresh(session.refresh_token or "", "doorward")  # somebody did, and died with the answer
    key = house.worker.store.key_of(cookie.partition("=")[2])
    await house.worker.redis.set(f"{house.worker.config.redis.key_prefix}refresh:{key}", "begun 0", ex=60)
    assert sent_to_sign_in(await house.ask("/", cookie=cookie, fields=BROWSER), provider)
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["answer_lost"]
    assert refreshes(provider) == 1


async def test_while_people_are_served_from_memory_nobody_waits_for_a_refresh_that_cannot_be_stored(
    open_house: OpenHouse, provider: MisbehavingProvider, valkey: str, prefix: str
) -> None:
    """A-71, C-43: `redis.outage: serve_cached`, and an access token that ends meanwhile."""
    async with FlakyLink(valkey) as link:
        redis = {"url": link.url, "key_prefix": prefix, "outage": "serve_cached for 5m"}
        house = await open_house(provider=provider, openid={**OFFLINE, "refresh_before": "1ms"}, redis=redis)
        ends = utc_now() + timedelta(seconds=2)
        cookie = await arrived(house, provider, access_expires_at=ends)
        assert (await house.ask("/", cookie=cookie)).status == 200
        link.refuse()
        await eventually(lambda: house.worker.cache.outlasting and utc_now() > ends)
        assert (await house.ask("/", cookie=cookie)).status == 200
        assert refreshes(provider) == 0, "a token that was spent now could not be replaced"
        link.restore()
        await eventually(lambda: house.worker.cache.trusted)

        async def renewed() -> bool:
            assert (await house.ask("/", cookie=cookie)).status == 200
            return refreshes(provider) == 1

        await eventually(renewed)
