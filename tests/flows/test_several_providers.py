"""Two providers: people choose, and nothing of one of them is ever taken for the other's."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from joserfc.jwk import RSAKey

from gateway.identity.claims import Identity
from gateway.oidc.authorization import ATTEMPT_LIFETIME, AttemptFacts
from gateway.operations.check import check_all
from gateway.sessions.keyring import KeyRing
from gateway.sessions.long_links import LongLinks
from gateway.sign_in.login_attempts import LoginAttempts
from tests.fakes.browser import Answer, Browser
from tests.fakes.forge import rsa_key, sign
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MISSING, MisbehavingProvider, earlier_sign_in, parameters_of
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse

COOKIE = "doorward_session"
MIA_ELSEWHERE = {**MIA, "email": "mia@members.example", "name": "Mia of the members"}  # the same `sub`
APPS = {
    "portal": {"providers": ["openid", "members"], "rules": [{"match": ["* /vault/**"], "max_age": "5m"}]},
    "dashboard": {"surface": "dashboard", "provider": "openid"},
}
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
async def members() -> AsyncIterator[MisbehavingProvider]:
    """The other provider, with a key of its own."""
    running = MisbehavingProvider(people=(MIA_ELSEWHERE, ADA), key=rsa_key("members"))
    await running.start()
    yield running
    await running.close()


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider, members: MisbehavingProvider) -> House:
    """A portal where people choose, and a dashboard for the people of `openid` only."""
    openid = {"title": "Staff", "scopes": ["openid", "email", "profile", "offline_access"]}
    sections = {"providers": {"members": {"title": "Members & friends"}}}
    house = await open_house(apps=APPS, provider=provider, others={"members": members}, openid=openid, **sections)
    await eventually(lambda: all(client.provider.ready for client in house.worker.providers))
    return house


async def test_the_choice_is_in_the_languages_that_began_it_and_keeps_them(house: House) -> None:
    start = house.origin() + "/oauth2/start?rd=/vault&ui_locales=de%20en"
    page = await house.browser().open(start, headers={"Accept-Language": "fr"})
    assert (page.status, page.header("Content-Language")) == (200, "de")
    assert page.document.link("Staff") == "/oauth2/start?rd=/vault&provider=openid&ui_locales=de%20en"


async def choosing(house: House, browser: Browser, title: str, at: str = "/", *, follow: bool = True) -> Answer:
    """Open a page as a stranger, and choose where to sign in."""
    page = await browser.open(house.origin() + at)
    assert page.status == 200
    return await browser.click(page.document.link(title), follow=follow)


async def signed_in(house: House, title: str = "Staff", person: object = MIA["sub"], at: str = "/") -> Browser:
    browser = house.browser()
    await choosing(house, browser, title, at)
    page = await browser.submit(person=str(person))
    assert page.status == 200, page.text
    return browser


def cookie_of(browser: Browser) -> str:
    cookie = browser.jar.named(COOKIE, "portal.localhost")
    assert cookie is not None
    return f"{COOKIE}={cookie.value}"


async def is_alive(house: House, cookie: str, app: str = "portal") -> bool:
    status = (await house.ask("/", app=app, cookie=cookie)).status
    assert status in (200, 401)
    return status == 200


def events(house: House, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in house.lines if f'"event":"{name}"'.encode() in line]


# --- choosing ---------------------------------------------------------------------------------------------------------


async def test_people_choose_and_each_provider_answers_at_an_address_of_its_own(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    browser = house.browser()
    first = await browser.open(house.origin() + "/bookings?day=1", follow=False)
    assert (first.status, urlsplit(first.location).path) == (302, "/oauth2/start")
    page = await browser.follow()
    assert page.document.title.startswith("How would you like to sign in?")
    assert page.header("Cache-Control") == "no-store"
    assert page.all("Set-Cookie") == [], "nothing is remembered, and nothing was begun"
    assert [words.strip() for _, words in page.document.links][:2] == ["Staff", "Members & friends"]
    for title, who, callback, user in (
        ("Staff", provider, "/oauth2/callback", b"mia@example.com"),
        ("Members & friends", members, "/oauth2/callback/members", b"mia@members.example"),
    ):
        browser = house.browser()
        page = await choosing(house, browser, title, "/bookings?day=1")
        assert page.url.startswith(who.issuer + "/authorize?")
        assert dict(parameters_of(page.url))["redirect_uri"] == house.origin() + callback
        landed = await browser.submit(person=str(MIA["sub"]))
        assert (landed.status, landed.url) == (200, house.origin() + "/bookings?day=1")
        assert house.upstream.requests[-1].values("X-Forwarded-Email") == [user]
        said = json.loads((await browser.open(house.origin() + "/oauth2/userinfo")).body)
        assert (said["issuer"], said["session"]["provider"]) == (who.issuer, "openid" if who is provider else "members")
    assert [event["provider"] for event in events(house, "login.succeeded")] == ["openid", "members"]


async def test_an_app_with_one_provider_asks_nobody(house: House, provider: MisbehavingProvider) -> None:
    page = await house.browser().open(house.origin("dashboard") + "/", follow=False)
    assert page.location.startswith(provider.issuer + "/authorize?")


async def test_a_link_may_choose_among_what_the_app_offers_and_nothing_else(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-34: by name, or by issuer."""
    browser = house.browser()
    page = await browser.open(house.origin() + "/oauth2/start?provider=members&rd=/x", follow=False)
    assert page.location.startswith(members.issuer + "/authorize?")
    page = await browser.open(house.origin() + f"/oauth2/start?iss={members.issuer}", follow=False)
    assert page.location.startswith(members.issuer + "/authorize?")
    for app, query in (
        ("portal", "provider=evil"),
        ("portal", "provider=members&provider=openid"),
        ("portal", "iss=https://evil.example"),
        ("dashboard", "provider=members"),
        ("dashboard", f"iss={members.issuer}"),
    ):
        page = await browser.open(f"{house.origin(app)}/oauth2/start?{query}", follow=False)
        assert (page.status, page.location) == (400, "")
    assert len(events(house, "login.started")) == 2


async def test_programs_and_forms_of_strangers_never_reach_a_provider(house: House) -> None:
    """A-75."""
    assert (await house.ask("/")).status == 401
    answer = await house.ask("/pay", method="POST", body=b"amount=5", fields=BROWSER)
    assert (answer.status, answer.value("Location")) == (401, None)


async def test_a_fresher_sign_in_is_asked_of_the_provider_that_one_came_from(
    house: House, members: MisbehavingProvider
) -> None:
    members.told.id_token["auth_time"] = int(members.now().timestamp()) - 3600
    browser = await signed_in(house, "Members & friends")
    page = await browser.open(house.origin() + "/vault/1", follow=False)
    assert page.location.startswith(members.issuer + "/authorize?")
    problem = json.loads((await browser.fetch("/vault/1", method="POST")).body)
    page = await browser.open(problem["sign_in_url"], follow=False)
    assert page.location.startswith(members.issuer + "/authorize?")
    assert dict(parameters_of(page.location))["max_age"] == "300"
    page = await browser.open(house.origin() + "/vault/1")
    assert "This page requires a stronger sign-in" in page.text
    page = await browser.click(page.document.link("Try again"))
    assert page.url.startswith(members.issuer + "/authorize?")


# --- mix-up -----------------------------------------------------------------------------------------------------------


def moved(url: str, path: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    kept = [(name, changes.get(name, value)) for name, value in parse_qsl(parts.query)]
    return parts._replace(path=path, query=urlencode([(n, v) for n, v in kept if v is not None])).geturl()


@pytest.mark.parametrize("says_iss", [True, False], ids=["with iss", "without iss"])
@pytest.mark.parametrize("evil_is", ["members", "openid"])
async def test_an_honest_providers_code_never_reaches_an_attackers_token_endpoint(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider, evil_is: str, says_iss: bool
) -> None:
    """A-57, A-56: the person begins at the attacker's, who sends the browser on to the honest one with the state, the nonce and
    the challenge of this attempt. The honest provider answers where it always does; there nobody waits for it."""
    evil, honest = (members, provider) if evil_is == "members" else (provider, members)
    title = "Members & friends" if evil_is == "members" else "Staff"
    if not says_iss:
        for one in (evil, honest):
            one.told.metadata = {"authorization_response_iss_parameter_supported": MISSING}
            one.told.authorization = {"iss": MISSING}
        for client in house.worker.providers:
            await client.provider.ping()
    browser = house.browser()
    page = await choosing(house, browser, title, follow=False)
    asked = dict(parameters_of(page.location))
    honest_callback = house.origin() + ("/oauth2/callback" if evil is members else "/oauth2/callback/members")
    onward = f"{honest.issuer}/authorize?" + urlencode({**asked, "redirect_uri": honest_callback})
    await browser.open(onward)
    answer = await browser.submit(follow=False, person=str(MIA["sub"]))
    assert answer.location.startswith(honest_callback + "?")
    refused = await browser.follow()
    assert refused.status == 400
    assert browser.jar.named(COOKIE, "portal.localhost") is None
    assert (evil.count("token"), honest.count("token")) == (0, 0)
    assert [event["reason"] for event in events(house, "login.refused")] == ["provider_mismatch"]


async def test_a_code_that_is_carried_to_another_providers_address_is_not_redeemed(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-57: the answer of one, at the address of the other; with and without its issuer."""
    answers: list[dict[str, str | None]] = [{}, {"iss": None}, {"iss": members.issuer}]
    for number, changes in enumerate(answers, 1):
        browser = house.browser()
        await choosing(house, browser, "Staff")
        answer = await browser.submit(follow=False, person=str(MIA["sub"]))
        refused = await browser.open(moved(answer.location, "/oauth2/callback/members", **changes))
        assert refused.status == 400
        assert (provider.count("token"), members.count("token")) == (0, 0)
        assert len(events(house, "login.refused")) == number
        assert browser.jar.named(COOKIE, "portal.localhost") is None


async def test_a_sign_in_at_a_provider_that_the_app_does_not_offer_any_more_ends_there(
    house: House, members: MisbehavingProvider
) -> None:
    """A-57: it was begun while the app offered it, and its answer comes after a reload."""
    route = house.worker.sites.of(house.host("dashboard")).route
    facts = AttemptFacts(
        app="dashboard", host=route.host, return_to="/", started_at=house.worker.context.now(), provider="members"
    )
    ring = KeyRing(house.worker.config.keys)
    links = LongLinks(house.worker.redis, house.worker.config.redis.key_prefix, ring, ATTEMPT_LIFETIME, time.monotonic)
    attempt, kept = LoginAttempts(ring, links, secrets.token_bytes).begin(facts, [], route)
    browser = house.browser()
    browser.jar.store(house.origin("dashboard") + "/", kept[0])
    answer = urlencode({"code": "c", "state": attempt.state, "iss": members.issuer})
    refused = await browser.open(house.origin("dashboard") + f"/oauth2/callback/members?{answer}")
    assert refused.status == 400
    assert members.count("token") == 0
    assert [event["reason"] for event in events(house, "login.refused")] == ["provider_mismatch"]


async def test_a_provider_cannot_issue_for_the_other(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-57, A-02: an ID Token that names the other issuer, and one that the other's key signed."""
    for tell in (
        {"iss": provider.issuer},
        None,
    ):
        members.told.id_token = tell or {}
        members.sign = None if tell else lambda claims: sign(claims, rsa_key())
        browser = house.browser()
        await choosing(house, browser, "Members & friends")
        page = await browser.submit(person=str(MIA["sub"]))
        assert page.status == 403
        assert browser.jar.named(COOKIE, "portal.localhost") is None


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_session_counts_only_while_its_app_offers_its_provider(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-57: another app's provider, one that is gone, and another one under the same name."""

    def who(issuer: str) -> Identity:
        return Identity(issuer=issuer, subject="hd-1001", email="mia@example.com")

    assert await is_alive(house, await house.session(identity=who(provider.issuer)))
    assert await is_alive(house, await house.session(identity=who(members.issuer), provider="members"))
    for app, name, issuer in (
        ("dashboard", "members", members.issuer),
        ("portal", "openid", members.issuer),
        ("portal", "members", provider.issuer),
        ("portal", "openid", "https://the-one-before.example"),
    ):
        assert not await is_alive(house, await house.session(app, identity=who(issuer), provider=name), app)
    gone = await house.session(identity=who(members.issuer), provider="members")
    assert await is_alive(house, gone)
    key = house.worker.store.key_of(gone.partition("=")[2])
    stored = await house.worker.store.fetch(key, house.host(), "portal")
    assert stored is not None


async def test_signing_out_goes_to_the_provider_that_one_came_from(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-20: with its client's id; the same `sub` at the other one is somebody else."""
    staff, member = await signed_in(house), await signed_in(house, "Members & friends")
    await member.open(house.origin() + "/oauth2/sign_out")
    answer = await member.submit(follow=False)
    assert answer.location.startswith(members.issuer + "/sign-out?")
    assert not await is_alive(house, cookie_of_before(member))
    assert await is_alive(house, cookie_of(staff))
    assert members.count("revoke") == 1
    assert provider.count("revoke") == 0


def cookie_of_before(browser: Browser) -> str:
    """What it had before it was told to forget it."""
    sent = [line for answer in browser.history for line in answer.sent.split("\r\n") if f"{COOKIE}=" in line]
    return COOKIE + "=" + sent[-1].partition(f"{COOKIE}=")[2].partition(";")[0]


async def test_a_logout_token_ends_the_sessions_of_its_own_provider(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-23, A-30, A-57: by `sub`, which is the same at both."""
    staff, member = cookie_of(await signed_in(house)), cookie_of(await signed_in(house, "Members & friends"))

    def token(issuer: str, key: RSAKey, jti: str) -> bytes:
        now = int(time.time())
        claims = {"iss": issuer, "aud": "doorward", "sub": MIA["sub"], "jti": jti, "events": {EVENT: {}}}
        signed = sign({**claims, "iat": now, "exp": now + 120}, key, typ="logout+jwt")
        return urlencode({"logout_token": signed}).encode()

    async def send(body: bytes) -> int:
        form = "Content-Type: application/x-www-form-urlencoded\r\n"
        return (await house.ask("/oauth2/backchannel-logout", method="POST", body=body, fields=form)).status

    assert await send(token(provider.issuer, rsa_key("members"), "1")) == 400
    assert await send(token(members.issuer, rsa_key(), "2")) == 400
    assert await send(token("https://evil.example", rsa_key("members"), "3")) == 400
    assert await is_alive(house, staff)
    assert await is_alive(house, member)
    assert await send(token(members.issuer, rsa_key("members"), "4")) == 200
    assert not await is_alive(house, member)
    assert await is_alive(house, staff)
    assert await send(token(provider.issuer, rsa_key(), "5")) == 200
    assert not await is_alive(house, staff)


async def test_a_logout_frame_may_stand_in_its_own_providers_page_only(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-32."""
    for issuer, ancestors in (
        (provider.issuer, provider.issuer),
        (members.issuer, members.issuer),
        ("https://evil.example", "'none'"),
    ):
        answer = await house.ask(f"/oauth2/frontchannel-logout?iss={issuer}&sid=x")
        assert (answer.value("Content-Security-Policy") or "").endswith(f"frame-ancestors {ancestors}")
    cookie = await house.session(provider_sid="s-1", provider="members")
    other = await house.ask(f"/oauth2/frontchannel-logout?iss={provider.issuer}&sid=s-1", cookie=cookie)
    assert other.status == 200
    assert await is_alive(house, cookie)
    await house.ask(f"/oauth2/frontchannel-logout?iss={members.issuer}&sid=s-1", cookie=cookie)
    assert not await is_alive(house, cookie)


async def test_tokens_are_renewed_where_they_came_from(
    house: House, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-35, A-57: a refresh token never travels to another provider."""
    cookie = await house.session(**earlier_sign_in(members), provider="members")
    assert await is_alive(house, cookie)
    assert (members.count("token"), provider.count("token")) == (1, 0)
    assert house.upstream.requests[-1].values("X-Forwarded-Email") == [b"mia@members.example"]


# --- who vouches for whom ---------------------------------------------------------------------------------------------


async def test_a_provider_vouches_for_its_own_domains_only(
    open_house: OpenHouse, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    """A-59: at the sign-in, and at each refresh."""
    own = {"members": {"email_domains": ["Members.example"]}}
    house = await open_house(apps=APPS, provider=provider, others={"members": members}, providers=own)
    await eventually(lambda: all(client.provider.ready for client in house.worker.providers))
    browser = house.browser()
    await choosing(house, browser, "members")
    page = await browser.submit(person=str(ADA["sub"]))
    assert page.status == 403
    assert "not meant for your email address" in page.text
    assert house.upstream.requests == []
    cookie = await house.session(**earlier_sign_in(members), provider="members")
    assert await is_alive(house, cookie)
    cookie = await house.session(**earlier_sign_in(members), provider="members")
    members.people[str(MIA["sub"])]["email"] = "boss@example.com"
    assert not await is_alive(house, cookie)
    assert [event["reason"] for event in events(house, "token.refresh_failed")] == ["email_domain"]


# --- one of them is down ----------------------------------------------------------------------------------------------


async def test_a_provider_that_is_down_is_named_and_stops_nobody_else(
    open_house: OpenHouse, provider: MisbehavingProvider, members: MisbehavingProvider
) -> None:
    await members.close()
    house = await open_house(apps=APPS, provider=provider, others={"members": members})
    await eventually(lambda: house.worker.health.report().get("provider", {}).get("state") == "ok")
    await eventually(lambda: "provider:members" in house.worker.health.report())
    assert house.worker.health.report()["provider:members"]["last_error"] == "provider_unavailable"
    browser = await signed_in(house, "openid")
    assert await is_alive(house, cookie_of(browser))
    page = await choosing(house, house.browser(), "members")
    assert (page.status, page.header("Retry-After")) == (503, "5")
    answers = {result.name: result.problem for result in await check_all(house.worker.config)}
    assert answers["provider discovery"] is None
    assert answers["provider keys"] is None
    assert members.issuer in str(answers["provider:members discovery"])
