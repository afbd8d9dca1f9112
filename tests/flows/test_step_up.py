"""Rules that want a fresher or stronger sign-in: asked of the provider, checked in what comes back, and never a loop (RFC 9470)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway.runtime.composition import utc_now
from tests.fakes.browser import Answer, Browser, Document
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MISSING, MisbehavingProvider, parameters_of
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import echo_socket, handshake

RULES = [
    {"match": ["* /vault/**"], "max_age": "5m"},
    {"match": ["* /keys/**", "GET /socket"], "acr": ["mfa"]},
    {"match": ["POST /pay"], "max_age": "5m", "acr": ["mfa"]},
]
HOUR = 3600


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(apps={"portal": {"rules": RULES}}, provider=provider, trusted_proxies=["127.0.0.1/32"])


async def signed_in_long_ago(house: House, provider: MisbehavingProvider) -> Browser:
    """With a password, an hour ago; the provider still knows the browser, and is honest from here on."""
    browser = house.browser()
    provider.told.id_token["auth_time"] = int(provider.now().timestamp()) - HOUR
    assert (await house.sign_in(browser, at="/form")).status == 200
    provider.told.id_token.clear()
    return browser


def asked_of(provider: MisbehavingProvider, url: str) -> dict[str, str]:
    assert url.startswith(provider.issuer)
    return dict(parameters_of(url))


def targets(house: House) -> list[str]:
    return [request.target for request in house.upstream.requests]


def challenge_of(answer: Any) -> str:
    return str(answer.header("WWW-Authenticate") if isinstance(answer, Answer) else answer.value("WWW-Authenticate"))


# --- asked ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "max_age", "acr"),
    [
        ("rd=/vault/1%3Fx=2", "300", None),
        ("rd=/keys/1", None, "mfa"),
        ("rd=/", None, None),
        ("rd=/&for=POST%20/pay", "300", "mfa"),
        ("rd=/&for=post%20/pay", "300", "mfa"),
        ("rd=/vault/1&for=GET%20/", "300", None),
        ("rd=/keys/1&for=GET%20/vault/1", "300", "mfa"),
        ("rd=/&for=nonsense&for=POST%20/pay", None, None),
        ("rd=/&for=GET%20//evil%252f..", None, None),
    ],
)
async def test_a_login_for_a_page_asks_at_once_for_what_the_page_wants(
    house: House, provider: MisbehavingProvider, query: str, max_age: str | None, acr: str | None
) -> None:
    """A-34: from the rules, whatever the caller says: never less, and nothing of their own."""
    answer = await house.browser().open(
        f"{house.origin()}/oauth2/start?{query}&acr_values=none&max_age=1", follow=False
    )
    asked = asked_of(provider, answer.location)
    assert (asked.get("max_age"), asked.get("acr_values")) == (max_age, acr)


async def test_a_program_is_told_what_would_do_and_where(house: House, provider: MisbehavingProvider) -> None:
    """RFC 9470 section 3; nothing of the request reaches the application before."""
    browser = await signed_in_long_ago(house, provider)
    refused = await browser.fetch("/pay", method="POST", body=b"amount=5")
    assert refused.status == 401
    assert challenge_of(refused) == (
        'Bearer realm="doorward", error="insufficient_user_authentication", '
        'error_description="This page requires a more recent or a stronger sign-in.", max_age="300", acr_values="mfa"'
    )
    problem = json.loads(refused.body)
    assert (problem["max_age"], problem["acr_values"]) == (300, "mfa")
    page = await browser.open(problem["sign_in_url"])
    asked = asked_of(provider, page.url)
    assert (asked["max_age"], asked["acr_values"]) == ("300", "mfa")
    landed = await house.choose(browser, page)
    assert landed.url == house.origin() + "/form", "the page that the request came from"
    paid = await browser.fetch("/pay", method="POST", body=b"amount=5")
    assert paid.status == 200
    assert [request.body for request in house.upstream.requests if request.target == "/pay"] == [b"amount=5"]


async def test_a_person_who_sends_a_form_gets_a_page_and_comes_back_to_the_form(
    house: House, provider: MisbehavingProvider
) -> None:
    """A-75: the form goes neither to the provider nor to the application."""
    browser = await signed_in_long_ago(house, provider)
    page = await browser.post_from(house.origin() + "/form", house.origin() + "/pay", b"amount=5")
    assert page.status == 401
    assert page.document.title.startswith("Please sign in again")
    assert page.location == ""
    page = await house.choose(browser, await browser.click(page.document.link("Sign in")))
    assert page.url == house.origin() + "/form"
    assert (await browser.post_from(house.origin() + "/form", house.origin() + "/pay", b"amount=5")).status == 200


async def test_a_websocket_is_opened_only_by_such_a_sign_in(house: House) -> None:
    """C-19."""
    house.upstream.answer = echo_socket
    weak = await house.raw(handshake(house, await house.session(acr="password"), origin=house.origin()))
    assert weak.status == 401
    assert 'acr_values="mfa"' in challenge_of(weak)
    assert house.upstream.requests == []
    wire = await Wire.open(house.port)
    await wire.send(handshake(house, await house.session(acr="mfa"), origin=house.origin()))
    assert (await wire.response()).status == 101
    await wire.close()


async def test_forward_auth_says_the_same_and_where_to_go(house: House, provider: MisbehavingProvider) -> None:
    """The proxy in front sends people to `/oauth2/start?rd=`, which asks for what the page wants."""

    async def auth(uri: str, method: str, cookie: str, fields: str = "") -> Any:
        said = f"X-Forwarded-Uri: {uri}\r\nX-Forwarded-Method: {method}\r\n{fields}"
        return await house.ask("/oauth2/auth", cookie=cookie, fields=said)

    weak, strong = await house.session(acr="password"), await house.session(acr="mfa")
    for method, fields in (("GET", BROWSER), ("GET", ""), ("POST", "")):
        refused = await auth("/keys/1", method, weak, fields)
        assert refused.status == 401
        assert 'error="insufficient_user_authentication"' in challenge_of(refused)
        assert 'acr_values="mfa"' in challenge_of(refused)
    assert (await auth("/keys/1", "GET", strong)).status == 202
    refused = await auth("/keys/1?a=b", "GET", weak, BROWSER)
    url = Document.of(refused.body.decode()).link("Sign in")
    assert url == f"{house.origin()}/oauth2/start?rd=/keys/1%3Fa%3Db"
    page = await house.browser().open(url, follow=False)
    assert asked_of(provider, page.location)["acr_values"] == "mfa"


# --- answered ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "told"),
    [
        pytest.param("/keys/1", {"acr": "password"}, id="a weaker acr"),
        pytest.param("/keys/1", {"acr": MISSING}, id="no acr"),
        pytest.param("/vault/1", {"auth_time": 1_000_000_000}, id="an old auth_time"),
        pytest.param("/vault/1", {"auth_time": MISSING}, id="no auth_time"),
    ],
)
async def test_a_provider_that_does_not_give_what_was_asked_opens_nothing_and_makes_no_loop(
    house: House, provider: MisbehavingProvider, at: str, told: dict[str, Any]
) -> None:
    """A-68: a page that says so. Trying again asks to sign in anew; if that does not help either, it is the same page."""
    browser = await signed_in_long_ago(house, provider)
    provider.told.id_token.update(told)
    page = await house.choose(browser, await browser.open(house.origin() + at))
    for _ in range(5):
        assert page.status == 403
        assert "This page requires a stronger sign-in" in page.text
        page = await browser.click(page.document.link("Try again"))
        assert asked_of(provider, page.url)["prompt"] == "login"
        page = await house.choose(browser, page)
    assert targets(house) == ["/form"]
    assert (await browser.open(house.origin() + "/form")).status == 200, "the session that they had is still there"


async def test_a_provider_that_gives_it_only_when_told_to_ask_anew_is_told_so(
    house: House, provider: MisbehavingProvider
) -> None:
    """`Try again` keeps what the rule wanted."""
    browser = await signed_in_long_ago(house, provider)
    provider.told.id_token["acr"] = "password"
    refused = await browser.fetch("/pay", method="POST", body=b"")
    page = await house.choose(browser, await browser.open(json.loads(refused.body)["sign_in_url"]))
    assert page.status == 403
    provider.told.id_token.clear()
    page = await browser.click(page.document.link("Try again"))
    asked = asked_of(provider, page.url)
    assert (asked["prompt"], asked["acr_values"], asked["max_age"]) == ("login", "mfa", "300")
    assert (await house.choose(browser, page)).url == house.origin() + "/form"
    assert (await browser.fetch("/pay", method="POST", body=b"")).status == 200


async def test_a_provider_whose_clock_is_behind_is_not_asked_again_and_again(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """What clock_skew forgives in the ID Token, the rule forgives too."""
    house = await open_house(
        apps={"portal": {"rules": [{"match": ["* /vault/**"], "max_age": "2s"}]}}, provider=provider
    )
    provider.told.id_token["auth_time"] = int(provider.now().timestamp()) - 20
    page = await house.sign_in(house.browser(), at="/vault/1")
    assert (page.status, page.text) == (200, "you asked for /vault/1")


async def test_a_sign_in_grows_too_old_while_the_session_lives(house: House, provider: MisbehavingProvider) -> None:
    """No memory of an earlier yes: time decides anew at each request."""
    fresh = await house.session(auth_time=utc_now() - timedelta(seconds=329))
    old = await house.session(auth_time=utc_now() - timedelta(seconds=331))
    assert (await house.ask("/vault/1", cookie=fresh)).status == 200
    assert (await house.ask("/vault/1", cookie=old)).status == 401

    async def too_old() -> bool:
        return (await house.ask("/vault/1", cookie=fresh)).status == 401

    await eventually(too_old)
