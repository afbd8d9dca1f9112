"""Who am I, and the keys that prove it upstream."""

import json

from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.identity.assertion import AssertionSigner
from tests.fakes.office import COOKIE, Office
from tests.fakes.provider import MIA
from tests.unit.web.conftest import Shaky
from tests.unit.web.made import DASHBOARD_ORIGIN, PORTAL_ORIGIN

USERINFO = f"{PORTAL_ORIGIN}/oauth2/userinfo"
KEYS = f"{PORTAL_ORIGIN}/.well-known/doorward/jwks.json"


async def test_a_person_sees_what_is_believed_about_them(office: Office) -> None:
    browser = office.browser()
    await office.sign_in_as(browser)
    answer = await browser.open(USERINFO)
    assert answer.header("Content-Type") == "application/json"
    told = json.loads(answer.text)
    assert told["subject"] == told["user"] == MIA["sub"]
    assert (told["email"], told["name"], told["groups"]) == (MIA["email"], MIA["name"], MIA["groups"])
    assert told["issuer"] == office.provider.issuer
    assert told["session"]["app"] == "portal"
    assert told["session"]["idle_seconds"] == 8 * 3600


async def test_no_token_and_no_cookie_is_shown(office: Office) -> None:
    """C-23."""
    browser = office.browser()
    await office.sign_in_as(browser)
    token = office.token(browser) or ""
    session = await office.session(token)
    assert session is not None
    text = (await browser.open(USERINFO)).text
    for secret in (token, office.store.key_of(token), session.id_token, session.access_token, session.provider_sid):
        assert secret is not None
        assert secret not in text
    assert "token" not in text


async def test_it_is_not_stored(office: Office) -> None:
    """C-39."""
    browser = office.browser()
    await office.sign_in_as(browser)
    assert (await browser.open(USERINFO)).header("Cache-Control") == "no-store"
    assert (await office.browser().open(USERINFO)).header("Cache-Control") == "no-store"


async def test_a_stranger_gets_401_and_the_way_to_sign_in(office: Office) -> None:
    browser = office.browser()
    page = await browser.open(USERINFO)
    assert page.status == 401
    answer = await browser.fetch(USERINFO)
    assert answer.status == 401
    problem = json.loads(answer.text)
    assert (problem["code"], problem["sign_in_url"]) == ("login_required", f"{PORTAL_ORIGIN}/oauth2/start")


async def test_junk_and_two_cookies_prove_nothing(office: Office) -> None:
    """C-07, C-37: and junk is not even looked for in Redis."""
    browser = office.browser()
    await office.sign_in_as(browser)
    good = f"{COOKIE}={office.token(browser)}"
    for cookie in (
        f"{COOKIE}=junk",
        f"{good}; {COOKIE}={'a' * 43}",
        f"{COOKIE}={'a' * 43}; {good}",
        f"={good}",
        f"{good}x",
    ):
        answer = await office.browser().send("GET", USERINFO, {"Cookie": cookie})
        assert answer.status == 401, cookie


async def test_the_portals_cookie_is_none_on_the_dashboard(office: Office) -> None:
    browser = office.browser()
    await office.sign_in_as(browser)
    cookie = {"Cookie": f"{COOKIE}={office.token(browser)}"}
    assert (await browser.send("GET", USERINFO, cookie)).status == 200
    assert (await browser.send("GET", f"{DASHBOARD_ORIGIN}/oauth2/userinfo", cookie)).status == 401


async def test_without_redis_nobody_is_told_to_be_signed_out(shaky: Shaky) -> None:
    """C-43."""
    browser = shaky.office.browser()
    await shaky.office.sign_in_as(browser)
    shaky.link.refuse()
    answer = await browser.open(USERINFO)
    assert (answer.status, answer.header("Retry-After")) == (503, "2")


async def test_the_published_keys_verify_an_assertion_and_may_be_kept(office: Office) -> None:
    browser = office.browser()
    await office.sign_in_as(browser)
    session = await office.session(office.token(browser) or "")
    assert session is not None
    signer = AssertionSigner(office.ring.raw)
    token = signer.sign(
        session.identity, issuer=PORTAL_ORIGIN, audience="portal", sid=session.sid, now=office.clock.now()
    ).token
    answer = await office.browser().open(KEYS)
    assert answer.header("Cache-Control") == "public, max-age=300"
    keys = KeySet.import_key_set(json.loads(answer.text))
    assert jwt.decode(token.decode(), keys, algorithms=["ES256"]).claims["sub"] == MIA["sub"]
    assert '"d"' not in answer.text
