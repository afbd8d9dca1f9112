"""The sample provider keeps the rules that it shows."""

import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from yarl import URL

from gateway.demo.provider import DemoClient, DemoProvider
from tests.fakes.forge import rsa_key
from tests.fakes.provider import ADA, MIA, sign_in_at

CALLBACK = "http://portal.localhost/oauth2/callback"
HOME = "http://portal.localhost/"
VERIFIER = "v" * 43
PROOF = {"Authorization": "Basic " + b64encode(b"portal:s3cret").decode()}


@dataclass
class Clock:
    now: datetime = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class Stage:
    def __init__(self, provider: DemoProvider, browser: aiohttp.ClientSession, clock: Clock) -> None:
        self.provider = provider
        self.browser = browser
        self.clock = clock

    def url(self, **changes: str | None) -> str:
        parameters = {
            "response_type": "code",
            "client_id": "portal",
            "redirect_uri": CALLBACK,
            "scope": "openid email profile offline_access",
            "state": "s-1",
            "nonce": "n-1",
            "code_challenge": create_s256_code_challenge(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        chosen = {name: value for name, value in parameters.items() if value is not None}
        return self.provider.url("/authorize") + "?" + urlencode(chosen)

    async def asked(self, **changes: str | None) -> tuple[int, dict[str, str], str]:
        """Status, the parameters sent to the client, and the page."""
        async with self.browser.get(self.url(**changes), allow_redirects=False) as answer:
            location = answer.headers.get("Location", "")
            told = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
            return answer.status, told, await answer.text()

    async def code(self, subject: str = str(MIA["sub"]), **changes: str | None) -> str:
        return parse_qs(urlsplit(await sign_in_at(self.browser, self.url(**changes), subject)).query)["code"][0]

    async def token(self, **form: str) -> tuple[int, dict[str, Any]]:
        whole = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **form}
        async with self.browser.post(self.provider.url("/token"), data=whole, headers=PROOF) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    async def userinfo(self, access_token: str) -> int:
        headers = {"Authorization": f"Bearer {access_token}"}
        async with self.browser.get(self.provider.url("/userinfo"), headers=headers) as answer:
            return answer.status


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    clock = Clock()
    client = DemoClient(
        client_id="portal",
        client_secret="s3cret",
        redirect_uris=(CALLBACK,),
        post_logout_redirect_uris=(HOME,),
        name="The members portal",
    )
    people = [{**MIA, "note": "a registered member"}, ADA]
    provider = DemoProvider([client], people, key=rsa_key(), title="Harbour sign-in", now=clock)
    await provider.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        yield Stage(provider, browser, clock)
    await provider.close()


async def test_the_login_page_shows_the_people_and_loads_nothing_from_elsewhere(stage: Stage) -> None:
    async with stage.browser.get(stage.url()) as page:
        html = await page.text()
        policy = page.headers["Content-Security-Policy"]
    assert page.status == 200
    for text in ("Mia Lindqvist", "Ada Marsh", "a registered member", "The members portal", "Harbour sign-in"):
        assert text in html
    assert "default-src 'none'" in policy
    assert not re.search(r'(src|href)="(https?:)?//', html.replace(stage.provider.issuer, ""))
    assert "style=" not in html


async def test_an_email_address_can_be_typed_and_an_unknown_one_is_said(stage: Stage) -> None:
    _, _, html = await stage.asked()
    for email, status in (("nobody@example.com", 400), (" ADA@example.com ", 303)):
        found = re.search(r'name="interaction" value="([^"]+)"', html)
        assert found is not None
        form = {"interaction": unescape(found[1]), "email": email}
        async with stage.browser.post(stage.provider.url("/sign-in"), data=form, allow_redirects=False) as answer:
            assert answer.status == status
            html = await answer.text()


async def test_a_login_page_works_once(stage: Stage) -> None:
    _, _, html = await stage.asked()
    found = re.search(r'name="interaction" value="([^"]+)"', html)
    assert found is not None
    form = {"interaction": found[1], "person": str(MIA["sub"])}
    for status in (303, 400):
        async with stage.browser.post(stage.provider.url("/sign-in"), data=form, allow_redirects=False) as answer:
            assert answer.status == status


async def test_the_answer_carries_state_and_issuer(stage: Stage) -> None:
    """A-56, the provider's side."""
    query = parse_qs(urlsplit(await sign_in_at(stage.browser, stage.url())).query)
    assert (query["state"], query["iss"]) == (["s-1"], [stage.provider.issuer])


async def test_who_signed_in_once_is_not_asked_again(stage: Stage) -> None:
    await stage.code()
    status, told, _ = await stage.asked()
    assert status == 303
    assert told["code"]


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"prompt": "select_account"}, {"acr_values": "phr mfa"}])
async def test_a_new_question_is_asked_when_the_client_wants_one(stage: Stage, changes: dict[str, str]) -> None:
    await stage.code()
    assert (await stage.asked(**changes))[0] == 200
    code = await stage.code(**changes)
    assert (await stage.token(code=code))[0] == 200


async def test_a_sign_in_that_is_too_old_is_asked_for_again(stage: Stage) -> None:
    await stage.code()
    stage.clock.forward(minutes=5)
    assert (await stage.asked(max_age="301"))[0] == 303
    assert (await stage.asked(max_age="299"))[0] == 200


async def test_without_a_question_nobody_is_signed_in(stage: Stage) -> None:
    status, told, _ = await stage.asked(prompt="none")
    assert (status, told["error"], told["state"]) == (303, "login_required", "s-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=1"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": None},
        {"client_id": "stranger"},
        {"client_id": None},
    ],
)
async def test_nobody_is_sent_to_an_address_that_was_not_registered(stage: Stage, changes: dict[str, Any]) -> None:
    status, told, _ = await stage.asked(**changes)
    assert (status, told) == (400, {})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"request": "a.b.c"}, "request_not_supported"),
    ],
)
async def test_a_request_that_is_not_supported_is_answered_to_the_client(
    stage: Stage, changes: dict[str, Any], error: str
) -> None:
    status, told, _ = await stage.asked(**changes)
    assert (status, told["error"], told["state"], told["iss"]) == (303, error, "s-1", stage.provider.issuer)


async def test_a_code_is_good_once_and_its_second_use_ends_what_the_first_gave(stage: Stage) -> None:
    """A-54, the provider's side."""
    code = await stage.code()
    status, tokens = await stage.token(code=code)
    assert status == 200
    assert await stage.userinfo(tokens["access_token"]) == 200
    status, problem = await stage.token(code=code)
    assert (status, problem["error"]) == (400, "invalid_grant")
    assert await stage.userinfo(tokens["access_token"]) == 401


async def test_a_code_is_good_for_a_minute(stage: Stage) -> None:
    code = await stage.code()
    stage.clock.forward(seconds=61)
    assert (await stage.token(code=code))[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "form", [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": CALLBACK + "/"}, {"code": "guess"}]
)
async def test_a_code_needs_its_verifier_and_its_redirect_uri(stage: Stage, form: dict[str, str]) -> None:
    assert (await stage.token(**{"code": await stage.code(), **form}))[1]["error"] == "invalid_grant"


async def test_a_refresh_token_is_replaced_and_an_old_one_ends_the_family(stage: Stage) -> None:
    _, first = await stage.token(code=await stage.code())
    refresh = {"grant_type": "refresh_token"}
    status, second = await stage.token(refresh_token=first["refresh_token"], **refresh)
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert (await stage.token(refresh_token=first["refresh_token"], **refresh))[0] == 400
    assert (await stage.token(refresh_token=second["refresh_token"], **refresh))[0] == 400
    assert await stage.userinfo(second["access_token"]) == 401


async def test_refresh_tokens_are_for_who_asked_to_stay(stage: Stage) -> None:
    _, tokens = await stage.token(code=await stage.code(scope="openid email"))
    assert "refresh_token" not in tokens


async def test_a_client_that_does_not_prove_itself_gets_nothing(stage: Stage) -> None:
    code = await stage.code()
    form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER, "code": code}
    attempts: list[dict[str, Any]] = [
        {"data": form},
        {"data": {**form, "client_id": "portal"}},
        {"data": {**form, "client_id": "portal", "client_secret": "s3cret"}},
        {"data": form, "headers": {"Authorization": "Basic " + b64encode(b"portal:wrong").decode()}},
        {"data": form, "headers": {"Authorization": "Basic !"}},
        {"data": {**form, "client_secret": "s3cret"}, "headers": PROOF},
    ]
    for attempt in attempts:
        async with stage.browser.post(stage.provider.url("/token"), **attempt) as answer:
            assert answer.status == 401
    assert (await stage.token(code=code))[0] == 200


async def test_userinfo_says_what_the_scopes_open_and_no_note(stage: Stage) -> None:
    _, tokens = await stage.token(code=await stage.code(scope="openid email"))
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with stage.browser.get(stage.provider.url("/userinfo"), headers=headers) as answer:
        assert await answer.json() == {"sub": MIA["sub"], "email": MIA["email"], "email_verified": True}


async def test_signing_out_with_the_hint_needs_no_question(stage: Stage) -> None:
    _, tokens = await stage.token(code=await stage.code())
    query = urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": HOME, "state": "bye"})
    async with stage.browser.get(stage.provider.url("/sign-out?" + query), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, HOME + "?state=bye")
    assert (await stage.asked())[0] == 200
    assert await stage.userinfo(tokens["access_token"]) == 401


async def test_signing_out_without_the_hint_is_asked_first(stage: Stage) -> None:
    """C-49, the provider's side: no other site can sign people out."""
    await stage.code()
    query = urlencode({"client_id": "portal", "post_logout_redirect_uri": HOME})
    async with stage.browser.get(stage.provider.url("/sign-out?" + query), allow_redirects=False) as answer:
        html = await answer.text()
    assert (await stage.asked())[0] == 303
    found = re.search(r'name="question" value="([^"]+)"', html)
    assert found is not None
    form = {"question": found[1]}
    async with stage.browser.post(stage.provider.url("/signed-out"), data=form, allow_redirects=False) as answer:
        assert answer.headers["Location"] == HOME
    assert (await stage.asked())[0] == 200


async def test_signing_out_leads_only_to_registered_addresses(stage: Stage) -> None:
    _, tokens = await stage.token(code=await stage.code())
    query = urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": "https://evil.example/"})
    async with stage.browser.get(stage.provider.url("/sign-out?" + query), allow_redirects=False) as answer:
        assert answer.status == 200
        assert "signed out" in await answer.text()


async def test_its_own_page_says_who_is_signed_in(stage: Stage) -> None:
    async with stage.browser.get(stage.provider.url("/")) as page:
        assert "Nobody is signed in" in await page.text()
    await stage.code()
    async with stage.browser.get(stage.provider.url("/")) as page:
        html = await page.text()
    assert "Mia Lindqvist" in html
    assert "The members portal" in html


async def test_a_new_cookie_is_given_at_every_sign_in(stage: Stage) -> None:
    """C-40, the provider's side."""
    planted = secrets.token_urlsafe(32)
    stage.browser.cookie_jar.update_cookies({"login_session": planted}, URL(stage.provider.issuer))
    await stage.code()
    (cookie,) = [c.value for c in stage.browser.cookie_jar if c.key == "login_session"]
    assert cookie != planted


async def test_it_can_live_below_a_path(stage: Stage) -> None:
    clock = Clock()
    provider = DemoProvider([], [MIA], key=rsa_key(), issuer="http://login.localhost:1/tenant/", now=clock)
    await provider.start()
    assert provider.metadata()["token_endpoint"] == "http://login.localhost:1/tenant/token"
    assert provider._listener is not None
    async with stage.browser.get(provider._listener.url + "/tenant/.well-known/openid-configuration") as answer:
        assert (await answer.json())["issuer"] == "http://login.localhost:1/tenant/"
    await provider.close()
