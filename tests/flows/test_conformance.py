"""The OpenID Foundation's plans for relying parties: each module by its name, with the wrong value that it sends.

The modules of one list share a door, as a client under test does: what the provider does wrong in one must not be felt in the next.
Those that change keys or discovery have a door of their own. FAPI 2 has a module of its own beside this one.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey
from redis import Redis as SyncRedis

from gateway.demo.provider import DemoClient
from gateway.demo.provider.signer import Signer
from tests.fakes.conformance import Stage, a_stage
from tests.fakes.forge import altered, ec_key, rsa_key, sign, unsigned
from tests.fakes.provider import MIA, MISSING, MisbehavingProvider, earlier_sign_in
from tests.fakes.waiting import eventually
from tests.flows.test_sign_out import (
    cookie_of,
    is_alive,
    logout_claims,
    logout_token,
    provider_sid,
    push_the_button,
    tell,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFFLINE = {"scopes": ["openid", "email", "profile", "offline_access"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def the_stage(shared_valkey: SyncRedis) -> AsyncIterator[Stage]:
    async with a_stage(shared_valkey, openid=OFFLINE) as stage:
        yield stage


@pytest.fixture
def stage(the_stage: Stage) -> Stage:
    the_stage.reset()
    return the_stage


# --- oidcc-client-basic-certification-test-plan -----------------------------------------------------------------------

ACCEPTED: dict[str, Callable[[MisbehavingProvider], None]] = {
    "oidcc-client-test": lambda provider: None,
    "oidcc-client-test-idtoken-sig-rs256": lambda provider: setattr(
        provider, "sign", lambda claims: sign(claims, rsa_key())
    ),
    "oidcc-client-test-kid-absent-single-jwks": lambda provider: setattr(
        provider, "sign", lambda claims: sign(claims, rsa_key(), kid=None)
    ),
}


def _claims(**changes: Any) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: provider.told.id_token.update(changes)


def _signed(signer: Callable[[dict[str, Any]], str]) -> Callable[[MisbehavingProvider], None]:
    return lambda provider: setattr(provider, "sign", signer)


REFUSED: dict[str, Callable[[MisbehavingProvider], None]] = {
    "oidcc-client-test-invalid-iss": _claims(iss="https://invalid.example.org/1"),
    "oidcc-client-test-missing-sub": _claims(sub=MISSING),
    "oidcc-client-test-invalid-aud": _claims(aud="doorward1"),
    "oidcc-client-test-missing-aud": _claims(aud=MISSING),
    "oidcc-client-test-missing-iat": _claims(iat=MISSING),
    "oidcc-client-test-nonce-invalid": _claims(nonce="another nonce"),
    "oidcc-client-test-nonce-missing": _claims(nonce=MISSING),
    "oidcc-client-test-invalid-athash": _claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "oidcc-client-test-idtoken-sig-none": _signed(unsigned),
    "oidcc-client-test-invalid-sig-rs256": _signed(lambda claims: altered(sign(claims, rsa_key()))),
    "oidcc-client-test-invalid-sig-es256": _signed(lambda claims: sign(claims, ec_key(), "ES256")),
    "oidcc-client-test-userinfo-invalid-sub": lambda provider: provider.told.userinfo.update(sub="hd-1001x"),
}


@pytest.mark.parametrize("module", ACCEPTED)
async def test_a_module_whose_provider_is_right_ends_on_the_deep_link(stage: Stage, module: str) -> None:
    ACCEPTED[module](stage.provider)
    await stage.assert_accepted()


@pytest.mark.parametrize("module", REFUSED)
async def test_a_module_with_a_wrong_value_ends_without_a_session(stage: Stage, module: str) -> None:
    REFUSED[module](stage.provider)
    await stage.assert_refused()
    stage.reset()
    await stage.assert_accepted()


# --- oidcc-client-formpost-basic-certification-test-plan: the same modules --------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def the_form_post_stage(shared_valkey: SyncRedis) -> AsyncIterator[Stage]:
    provider = MisbehavingProvider()
    await provider.start()
    provider.told.metadata["response_modes_supported"] = ["query", "form_post"]
    openid = {**OFFLINE, "response_mode": "form_post"}
    async with a_stage(shared_valkey, provider, external_url_scheme="https", openid=openid) as stage:
        yield stage


@pytest.mark.parametrize("module", [f"{module} response_mode=form_post" for module in (*ACCEPTED, *REFUSED)])
async def test_a_module_of_the_form_post_plan_ends_as_with_a_query(the_form_post_stage: Stage, module: str) -> None:
    stage, name = the_form_post_stage, module.partition(" ")[0]
    stage.reset()
    if name in REFUSED:
        REFUSED[name](stage.provider)
        await stage.assert_refused()
        stage.reset()
    else:
        ACCEPTED[name](stage.provider)
    await stage.assert_accepted()
    assert "response_mode=form_post" in next(url for url in _authorizations(stage))


# --- both plans: modules that look at requests, or have several keys --------------------------------------------------

_BOTH = pytest.mark.parametrize("response_mode", ["query", "form_post"], ids="response_mode={}".format)


@pytest.fixture
def of_mode(stage: Stage, the_form_post_stage: Stage, response_mode: str) -> Stage:
    the_form_post_stage.reset()
    return the_form_post_stage if response_mode == "form_post" else stage


def _authorizations(stage: Stage) -> list[str]:
    return [answer.url for answer in stage.browser.history if "/authorize?" in answer.url]


@_BOTH
async def test_oidcc_client_test_scope_userinfo_claims(of_mode: Stage) -> None:
    """Each claim that the scopes stand for is in userinfo alone, and reaches the application."""
    await of_mode.assert_accepted()
    (asked,) = [dict(parse_qsl(urlsplit(url).query)) for url in _authorizations(of_mode)]
    assert {"openid", "email", "profile"} <= set(asked["scope"].split())
    told = of_mode.house.upstream.requests[-1]
    assert told.values("x-forwarded-name") == [b"Mia Lindqvist"]
    (userinfo,) = [seen for seen in of_mode.provider.seen if seen.endpoint == "userinfo"]
    assert userinfo.headers["Authorization"].startswith("Bearer ")


@_BOTH
async def test_oidcc_client_test_client_secret_basic(of_mode: Stage) -> None:
    await of_mode.assert_accepted()
    (token,) = [seen for seen in of_mode.provider.seen if seen.endpoint == "token"]
    assert token.headers["Authorization"].startswith("Basic ")
    assert token.form.keys().isdisjoint({"client_secret", "client_assertion"})


@_BOTH
async def test_oidcc_client_test_kid_absent_multiple_jwks(shared_valkey: SyncRedis, response_mode: str) -> None:
    """Several keys fit, none has a `kid`: the one that verifies counts, whichever it is; another's signature does not."""
    provider = MisbehavingProvider()
    await provider.start()
    provider.told.metadata["response_modes_supported"] = ["query", "form_post"]
    provider.told.jwks = {"keys": [_without_kid(rsa_key(name)) for name in ("one", "rotated")]}
    sections: dict[str, Any] = {"openid": {"response_mode": response_mode}}
    sections |= {"external_url_scheme": "https"} if response_mode == "form_post" else {}
    async with a_stage(shared_valkey, provider, **sections) as stage:
        for name in ("one", "rotated"):
            provider.sign = lambda claims, name=name: sign(claims, rsa_key(name), kid=None)
            await stage.assert_accepted()
        stage.house.upstream.requests.clear()
        provider.sign = lambda claims: sign(claims, rsa_key("stranger"), kid=None)
        await stage.assert_refused()


@pytest.mark.parametrize("method", ["client_secret_post", "private_key_jwt"], ids="client_auth_type={}".format)
async def test_oidcc_client_test_with_another_client_authentication(shared_valkey: SyncRedis, method: Any) -> None:
    """oidcc-client-test, as the plans run it with these variants."""
    key = ec_key(kid="ours")
    by_key = {"client_secret": None, "client_private_key": key.as_pem(private=True).decode(), "client_key_id": "ours"}
    keys: dict[str, Any] = by_key if method == "private_key_jwt" else {"client_secret": "secret"}
    async with a_stage(shared_valkey, openid={"client_authentication": method, **keys}) as stage:
        stage.provider.register(
            DemoClient(
                client_id="doorward",
                client_secret=keys["client_secret"],
                authentication=method,
                public_jwk=key.as_dict(private=False),
                redirect_uris=(stage.house.origin() + "/oauth2/callback",),
            )
        )
        await stage.assert_accepted()
        (token,) = [seen for seen in stage.provider.seen if seen.endpoint == "token"]
        assert "Authorization" not in token.headers
        assert ("client_assertion" in token.form, "client_secret" in token.form) == (
            method == "private_key_jwt",
            method == "client_secret_post",
        )


def _without_kid(key: RSAKey) -> dict[str, Any]:
    return {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}


# --- oidcc-client-config-certification-test-plan ----------------------------------------------------------------------


async def test_oidcc_client_test_discovery_openid_config(stage: Stage) -> None:
    """Each endpoint that was asked is one of the metadata's."""
    await stage.assert_accepted()
    metadata = stage.provider.metadata()
    named = {urlsplit(str(url)).path.rpartition("/")[2] for name, url in metadata.items() if name.endswith("_endpoint")}
    named.add("sign-in")  # the provider's own form
    assert {seen.endpoint for seen in stage.provider.seen} <= named


async def test_oidcc_client_test_discovery_jwks_uri_keys(shared_valkey: SyncRedis) -> None:
    """The keys are where the metadata say."""
    provider = MisbehavingProvider()
    await provider.start()
    provider.told.metadata["jwks_uri"] = f"{provider.issuer}/some/keys-here"
    provider.faults["keys-here"] = provider.serve_keys
    async with a_stage(shared_valkey, provider) as stage:
        await stage.assert_accepted()
        assert (provider.count("keys-here"), provider.count("jwks")) == (1, 0)


async def test_oidcc_client_test_discovery_issuer_mismatch(shared_valkey: SyncRedis) -> None:
    """No authorization request is sent."""
    provider = MisbehavingProvider()
    await provider.start()
    provider.told.metadata["issuer"] = f"{provider.issuer}/INVALID"
    async with a_stage(shared_valkey, provider) as stage:
        await stage.sign_in()
        assert stage.page.status == 503
        assert provider.count("authorize") == 0


@pytest.mark.parametrize(
    "module", ["oidcc-client-test-signing-key-rotation", "oidcc-client-test-signing-key-rotation-just-before-signing"]
)
async def test_a_module_whose_keys_change_ends_on_the_deep_link(shared_valkey: SyncRedis, module: str) -> None:
    """Between two sign-ins, and between the authorization and the token response."""
    async with a_stage(shared_valkey) as stage:
        await stage.assert_accepted()

        async def rotate() -> None:
            stage.provider.signer = Signer(rsa_key("rotated"))

        if module.endswith("just-before-signing"):
            stage.provider.before_tokens = rotate
        else:
            await rotate()
        await stage.assert_accepted()
        await stage.assert_accepted()


# --- oidcc-client-rp-initiated-logout-rp-basic ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "state"),
    [
        ("oidcc-client-test-rp-init-logout", "ours"),
        ("oidcc-client-test-rp-init-logout-other-state", "other"),
        ("oidcc-client-test-rp-init-logout-no-state", None),
    ],
    ids=lambda value: value if str(value).startswith("oidcc") else "",
)
async def test_a_module_of_rp_initiated_logout_ends_on_a_page_that_says_so(
    stage: Stage, module: str, state: str | None
) -> None:
    browser = await stage.assert_accepted()
    cookie = cookie_of(browser)
    away = (await push_the_button(stage.house, browser)).location
    assert away.startswith(str(stage.provider.metadata()["end_session_endpoint"]) + "?")
    asked = dict(parse_qsl(urlsplit(away).query))
    assert asked["post_logout_redirect_uri"] == stage.house.origin() + "/oauth2/signed_out"
    assert asked["id_token_hint"].count(".") == 2
    assert asked["state"]
    back = {"ours": asked["state"], "other": asked["state"] + "x", None: None}[state]
    page = await browser.open(asked["post_logout_redirect_uri"] + (f"?{urlencode({'state': back})}" if back else ""))
    assert (page.status, page.url.partition("?")[0]) == (200, stage.house.origin() + "/oauth2/signed_out")
    assert not await is_alive(stage.house, cookie)


# --- oidcc-client-back-channel-logout-rp-basic ------------------------------------------------------------------------

_PREFIX = "oidcc-client-test-rp-backchannel-rpinitlogout"
LOGOUT: dict[str, Callable[[MisbehavingProvider, str], str]] = {
    f"{_PREFIX}-alg-none": lambda provider, sid: unsigned(logout_claims(provider, sid=sid)),
    f"{_PREFIX}-no-event": lambda provider, sid: logout_token(provider, sid=sid, events=MISSING),
    f"{_PREFIX}-with-nonce": lambda provider, sid: logout_token(provider, sid=sid, nonce="a nonce"),
    f"{_PREFIX}-wrong-alg": lambda provider, sid: sign(logout_claims(provider, sid=sid), rsa_key(), "RS384"),
    f"{_PREFIX}-wrong-aud": lambda provider, sid: logout_token(provider, sid=sid, aud="doorward1"),
    f"{_PREFIX}-wrong-event": lambda provider, sid: logout_token(provider, sid=sid, events={"http://schemas.openid.net/event/other": {}}),
    f"{_PREFIX}-wrong-iss": lambda provider, sid: logout_token(provider, sid=sid, iss="https://invalid.example.org/1"),
}  # fmt: skip


async def test_oidcc_client_test_rp_backchannel_rpinitlogout(stage: Stage) -> None:
    """The logout token comes while the person signs out here: it is answered with 200, and ends what is left."""
    browser = await stage.assert_accepted()
    sid = await provider_sid(stage.house, browser)
    left = await stage.house.session(subject=str(MIA["sub"]), provider_sid=sid)
    await push_the_button(stage.house, browser)
    answer = await tell(stage.house, logout_token(stage.provider, sid=sid))
    assert answer.status == 200
    assert answer.value("cache-control") == "no-store"
    assert not await is_alive(stage.house, left)


@pytest.mark.parametrize("module", LOGOUT)
async def test_a_module_with_a_wrong_logout_token_is_answered_with_400_and_ends_nothing(
    stage: Stage, module: str
) -> None:
    browser = await stage.assert_accepted()
    answer = await tell(stage.house, LOGOUT[module](stage.provider, await provider_sid(stage.house, browser)))
    assert answer.status == 400
    assert await is_alive(stage.house, cookie_of(browser))


# --- oidcc-client-front-channel-logout-rp-basic -----------------------------------------------------------------------


async def test_oidcc_client_test_rp_frontchannel_rpinitlogout(stage: Stage) -> None:
    """The provider's page has a frame with our address while the person signs out: it may be shown there, and changes nothing more."""
    browser = await stage.assert_accepted()
    sid = await provider_sid(stage.house, browser)
    await push_the_button(stage.house, browser)
    frame = await browser.open(_frame(stage, stage.provider.issuer, sid))
    assert frame.status == 200
    assert f"frame-ancestors {stage.provider.issuer}" in (frame.header("Content-Security-Policy") or "")
    assert frame.header("X-Frame-Options") is None
    assert frame.header("Cache-Control") == "no-store"
    assert (await browser.open(stage.house.origin() + "/oauth2/signed_out")).status == 200


async def test_oidcc_client_test_rp_frontchannel_opinitlogout(stage: Stage) -> None:
    """The person signs out at the provider: the frame ends the session, where issuer and session are the right ones."""
    browser = await stage.assert_accepted()
    sid, cookie = await provider_sid(stage.house, browser), cookie_of(browser)
    for iss, named in (
        (stage.provider.issuer + "x", sid),
        (stage.provider.issuer, sid + "x"),
        (stage.provider.issuer, ""),
    ):
        assert (await browser.open(_frame(stage, iss, named))).status == 200
        assert await is_alive(stage.house, cookie)
    await browser.open(_frame(stage, stage.provider.issuer, sid))
    assert not await is_alive(stage.house, cookie)


def _frame(stage: Stage, iss: str, sid: str) -> str:
    return f"{stage.house.origin()}/oauth2/frontchannel-logout?{urlencode({'iss': iss, 'sid': sid})}"


# --- oidcc-client-refreshtoken-test-plan ------------------------------------------------------------------------------

REFRESHED: dict[str, dict[str, Any]] = {
    "oidcc-client-test-refresh-token-invalid-issuer": {"iss": "https://invalid.example.org/1"},
    "oidcc-client-test-refresh-token-invalid-sub": {"sub": "hd-1001x"},
    "oidcc-client-test-refresh-token-invalid-aud": {"aud": "doorward1"},
    "oidcc-client-test-refresh-token-invalid-azp": {"azp": "doorward1"},
}


async def test_oidcc_client_test_refresh_token(stage: Stage) -> None:
    """The new access token is used at userinfo, and the session goes on."""
    cookie = await stage.house.session(**earlier_sign_in(stage.provider))
    assert (await stage.house.ask("/", cookie=cookie)).status == 200
    assert [seen.endpoint for seen in stage.provider.seen] == ["token", "userinfo"]
    assert stage.provider.seen[0].form["grant_type"] == "refresh_token"


@pytest.mark.parametrize("module", REFRESHED)
async def test_a_module_with_a_wrong_refreshed_id_token_ends_the_session(stage: Stage, module: str) -> None:
    cookie = await stage.house.session(**earlier_sign_in(stage.provider))
    stage.provider.told.id_token.update(REFRESHED[module])
    assert (await stage.house.ask("/", cookie=cookie)).status == 401
    stage.reset()
    await eventually(lambda: _ended(stage, cookie))


async def _ended(stage: Stage, cookie: str) -> bool:
    return (await stage.house.ask("/oauth2/userinfo", cookie=cookie)).status == 401


# --- oidcc-client-test-3rd-party-init-login-test-plan -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_oidcc_client_test_3rd_party_init_login(stage: Stage, method: str) -> None:
    """`initiate_login_uri` takes issuer, target and login hint, and begins a sign-in of our own."""
    browser = stage.house.browser()
    target = stage.house.origin() + "/deep?x=1"
    asked = urlencode({"iss": stage.provider.issuer, "target_link_uri": target, "login_hint": "mia@example.com"})
    start = stage.house.origin() + "/oauth2/start"
    if method == "GET":
        page = await browser.open(f"{start}?{asked}")
    else:
        await browser.post_from(stage.provider.issuer + "/portal", start, asked.encode())
        page = await browser.follow()
    assert dict(parse_qsl(urlsplit(page.url).query))["login_hint"] == "mia@example.com"
    assert (await stage.house.choose(browser, page)).url == target
