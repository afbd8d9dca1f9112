"""What the application behind is told of the person who signed in, and that nobody else can tell it."""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from urllib.parse import unquote

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.demo.portal import SamplePortal
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MISSING, MisbehavingProvider
from tests.fakes.servers import serving
from tests.flows.conftest import OpenHouse

EVERYTHING = {
    "X-Customer": "{directory.id}", "X-Who": "{email}", "X-Label": "{name} <{email}>", "X-Provider": "{issuer}",
}  # fmt: skip
NAMES = ("user", "email", "groups", "preferred-username", "name")


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    apps = {"portal": {"headers": EVERYTHING}, "dashboard": {"surface": "dashboard"}}
    return await open_house(apps=apps, provider=provider)


@pytest.fixture
async def portal() -> AsyncIterator[SamplePortal]:
    running = SamplePortal()
    await running.start()
    yield running
    await running.close()


async def test_the_application_gets_the_claims_of_the_person(house: House, provider: MisbehavingProvider) -> None:
    await house.sign_in(house.browser(), at="/x")
    (request,) = house.upstream.requests
    told = {name: request.values(f"x-forwarded-{name}") for name in NAMES}
    assert told == {
        "user": [b"hd-1001"], "email": [b"mia@example.com"], "groups": [b"members"], "preferred-username": [b"mia"],
        "name": [b"Mia Lindqvist"],
    }  # fmt: skip
    assert request.values("x-who") == [b"mia@example.com"]
    assert request.values("x-label") == [b"Mia Lindqvist <mia@example.com>"]
    assert request.values("x-provider") == [provider.issuer.encode()]
    assert request.values("x-customer") == []  # there is no directory
    assert request.values("x-forwarded-host") == [house.host().encode()]
    assert len(request.values("x-request-id")) == 1


async def test_the_assertion_is_signed_by_the_published_key_and_names_session_and_app(house: House) -> None:
    browser = house.browser()
    for app in ("portal", "dashboard"):
        page = await house.sign_in(browser, ADA["sub"], app=app)
        assert page.status == 200
        request = house.upstreams[app].requests[-1]
        keys = KeySet.import_key_set(json.loads((await house.ask("/.well-known/doorward/jwks.json", app=app)).body))
        token = jwt.decode(request.values("x-doorward-jwt-assertion")[0].decode(), keys, algorithms=["ES256"])
        claims = token.claims
        assert (claims["iss"], claims["aud"], claims["sub"]) == (house.origin(app), app, "hd-1003")
        assert claims["email"] == "ada@example.com"
        assert claims["groups"] == ["members", "staff"]
        assert 0 < claims["exp"] - claims["iat"] <= 300
        userinfo = json.loads((await browser.open(house.origin(app) + "/oauth2/userinfo")).body)
        assert userinfo["session"]["sid"] == claims["sid"]


async def test_the_public_handle_is_neither_the_cookie_nor_its_hash(house: House) -> None:
    """C-48."""
    browser = house.browser()
    await house.sign_in(browser)
    userinfo = json.loads((await browser.open(house.origin() + "/oauth2/userinfo")).body)
    token = browser.jar.named("doorward_session")
    assert token is not None
    assert userinfo["session"]["sid"] not in (token.value, house.worker.store.key_of(token.value))
    assert not [name for name in json.dumps(userinfo).split('"') if "token" in name]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"name": "Zoë \u2028 Müller"}, {"name": "Zoë \u2028 Müller"}),
        ({"name": "100% sure"}, {"name": "100% sure"}),
        ({"name": " padded "}, {"name": " padded "}),
        ({"groups": ["a,b", "c"]}, {"groups": "a%2Cb,c"}),
        ({"groups": "single"}, {"groups": "single"}),
        ({"groups": MISSING}, {"groups": None}),
        ({"name": MISSING, "preferred_username": MISSING}, {"name": None, "preferred-username": None}),
    ],
)
async def test_values_are_encoded_by_one_rule_and_what_is_missing_is_absent(
    house: House, provider: MisbehavingProvider, claims: dict[str, object], expected: dict[str, str | None]
) -> None:
    """A-60, C-31: the client's own field of that name is gone too."""
    provider.told.userinfo.update(claims)
    browser = house.browser()
    await house.sign_in(browser)
    forged = {f"X-Forwarded-{name}": "admin" for name in NAMES}
    assert (await browser.open(house.origin() + "/x", headers=forged)).status == 200
    request = house.upstream.requests[-1]
    assert b"admin" not in request.head
    for name, value in expected.items():
        found = [text.decode("ascii") for text in request.values(f"x-forwarded-{name}")]
        if value is None:
            assert found == []
        elif name == "groups":
            assert found == [value]
        else:
            assert [unquote(text) for text in found] == [value]


@pytest.mark.parametrize(
    "claims",
    [
        {"name": "bob\r\nX-Admin: 1"},
        {"name": "nul\x00"},
        {"preferred_username": "bob\nX-Admin: 1"},
        {"groups": ["a\r\nX-Admin: 1"]},
        {"groups": [f"group-{n}" for n in range(5000)]},
        {"name": "x" * 20_000},
        {"name": {"first": "Mia"}},
        {"email": "mia@example.com\r\nX-Admin: 1"},
    ],
)
async def test_a_claim_can_never_become_a_header_of_its_own(
    house: House, provider: MisbehavingProvider, claims: dict[str, object]
) -> None:
    """A-60, C-33: encoded, left out, or the login is refused."""
    provider.told.userinfo.update(claims)
    page = await house.sign_in(house.browser(), at="/x")
    assert page.status == 200 or 400 <= page.status < 500
    for request in house.upstream.requests:
        assert request.values("x-admin") == []
        assert request.values("x-forwarded-user") == [b"hd-1001"]
        assert len(request.head) < 16_000


async def test_our_cookies_stay_here_and_the_applications_own_travel(house: House) -> None:
    """C-35."""
    browser = house.browser()
    browser.jar.store(house.origin(), "harbour=1; Path=/")
    await browser.open(house.origin() + "/other-tab", follow=False)  # a login attempt's cookie stays behind
    await house.sign_in(browser, at="/x")
    assert len(browser.jar.cookies) >= 3
    assert house.upstream.requests[0].values("cookie") == [b"harbour=1"]


async def test_the_sample_portal_greets_the_person_and_shows_what_it_was_told(
    open_house: OpenHouse, provider: MisbehavingProvider, portal: SamplePortal
) -> None:
    """A real application behind, that knows nothing of OpenID Connect."""
    house = await open_house(provider=provider, upstreams={"portal": portal.url})
    browser = house.browser()
    page = await house.sign_in(browser, at="/profile")
    assert "Mia Lindqvist" in page.text
    whoami = json.loads((await browser.fetch("/api/whoami")).body)
    assert whoami["email"] == MIA["email"]
    assert whoami["signed_in_by"] == "gateway"
    assert whoami["cookies"] == []
    assert whoami["headers"]["X-Forwarded-Host"] == house.host()
    body = bytes(range(256)) * 1000
    receipt = json.loads((await browser.fetch("/upload", method="POST", body=body)).body)
    assert receipt == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


# --- people in many groups --------------------------------------------------------------------------------------------

GUIDS = [f"{number:08x}-aaaa-4bbb-8ccc-0123456789ab" for number in range(200)]


async def test_a_person_in_two_hundred_groups_is_served_by_servers_with_a_limit_of_8_kib(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """gunicorn refuses a field of more than 8190 bytes; Tomcat and Jetty a head of more than 8 KiB. Rules judge by all groups."""
    provider.told.userinfo["groups"] = [*GUIDS, "x" * 512, "x" * 511]
    needed = {"require": {"groups": [GUIDS[199]]}}
    told = {"portal": needed, "unlimited": {**needed, "identity_headers_limit": "64KiB"}}
    with serving("gunicorn") as gunicorn:
        house = await open_house(provider=provider, apps=told, upstreams=dict.fromkeys(told, gunicorn))
        browser = house.browser()
        page = await house.sign_in(browser)
        assert page.status == 200
        names = json.loads(page.body)["names"]
        assert names["HTTP_X_DOORWARD_OMITTED"] == "X-Forwarded-Groups"
        assert "HTTP_X_FORWARDED_GROUPS" not in names
        assert names["HTTP_X_FORWARDED_EMAIL"] == "mia@example.com"
        assert len(names["HTTP_X_DOORWARD_JWT_ASSERTION"]) <= 4096
        assert sum(len(f"{name[5:]}: {value}\r\n") for name, value in names.items()) < 8 * 1024
        assert (await house.sign_in(browser, app="unlimited")).status == 431  # what gunicorn itself says


async def test_a_groups_filter_brings_a_person_in_two_hundred_groups_to_the_application_with_those_that_count(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    provider.told.userinfo["groups"] = GUIDS
    kept = [GUIDS[7], GUIDS[199]]
    apps = {"portal": {"require": {"groups": kept[1:]}}, "quiet": {"assertion": {"groups": False}}}
    house = await open_house(provider=provider, apps=apps, openid={"groups_filter": [kept[0], "000000c7-*"]})
    browser = house.browser()
    for app, stated in (("portal", kept), ("quiet", None)):
        assert (await house.sign_in(browser, app=app)).status == 200
        request = house.upstreams[app].requests[-1]
        assert request.values("x-forwarded-groups") == [",".join(kept).encode()]
        assert request.values("x-doorward-omitted") == []
        payload = request.values("x-doorward-jwt-assertion")[0].split(b".")[1]
        assert json.loads(urlsafe_b64decode(payload + b"==")).get("groups") == stated
    answer = await browser.open(house.origin() + "/oauth2/userinfo")
    assert json.loads(answer.body)["groups"] == kept


async def test_a_client_cannot_say_that_something_was_left_out(house: House) -> None:
    """C-30: in no spelling."""
    cookie = await house.session()
    for name in ("X-Doorward-Omitted", "x_doorward_omitted", "X.Doorward.Omitted"):
        await house.ask("/x", cookie=cookie, fields=f"{name}: X-Forwarded-Groups\r\n")
        assert not [found for found in house.upstream.requests[-1].names() if "omitted" in found.lower()]
