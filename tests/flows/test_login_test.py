"""`doorward login-test`: a real sign-in without a session, and then the whole story: who gets in, who does not, where it failed, what mends it."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import main as cli
from gateway.demo.provider import DemoClient
from gateway.operations.login_checks import CHECKS, failed_check
from gateway.operations.login_test import (
    LoginStory,
    LoginTestLink,
    begin_login_test,
    read_login_story,
)
from gateway.sessions.keyring import KeyRing
from gateway.sessions.login_tests import LoginTests
from tests.fakes.browser import Answer, Browser
from tests.fakes.directories import NexudusApi
from tests.fakes.forge import ec_key, sign
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MIA, MISSING, MisbehavingProvider, says
from tests.flows.conftest import OpenHouse

STAFF = {"portal": {"rules": [{"name": "staff-area", "match": "* /admin/**", "require": {"groups": ["staff"]}}]}}
ME = "the operator"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    return await open_house(apps=STAFF, provider=provider)


def store_of(house: House) -> LoginTests:
    config = house.worker.config
    return LoginTests(house.worker.redis, config.redis.key_prefix, KeyRing(config.keys))


def registered_at(provider: MisbehavingProvider) -> DemoClient:
    client = provider.clients.get("doorward")
    assert client is not None
    return client


async def begun(house: House, **more: Any) -> LoginTestLink:
    return await begin_login_test(house.worker.config, store_of(house), **{"app": "portal", "owner": ME, **more})


async def story_of(house: House, link: LoginTestLink) -> LoginStory:
    story = await read_login_story(house.worker.config, store_of(house), link)
    assert story is not None
    return story


async def tried(house: House, browser: Browser, link: LoginTestLink, person: object = MIA["sub"]) -> Answer:
    """Open the link, click, and sign in."""
    page = await browser.open(link.url)
    assert page.status == 200, page.document.words
    return await house.choose(browser, await browser.submit(0), person)


async def assert_nothing_came_of_it(house: House, browser: Browser) -> None:
    """No session anywhere, nothing at the application, no event of a sign-in."""
    assert browser.jar.named("doorward_session") is None
    keys = [key async for key in house.worker.redis.scan_iter(match=house.worker.config.redis.key_prefix + "s:*")]
    assert keys == []
    assert house.upstream.requests == []
    assert house.worker.audit.counts["login.succeeded", "portal"] == 0
    assert house.worker.audit.counts["login.refused", "portal"] == 0


# --- who gets in ------------------------------------------------------------------------------------------------------


async def test_a_customer_gets_the_page_and_the_story_has_every_step(
    house: House, provider: MisbehavingProvider
) -> None:
    browser, link = house.browser(), await begun(house, page="/bookings?day=1")
    page = await tried(house, browser, link)
    assert "The test has ended" in page.document.words
    assert str(MIA["email"]) not in page.text
    story = await story_of(house, link)
    assert story.passed
    assert story.advice is None
    assert {check.outcome for check in story.checks} == {"passed"}
    assert len(story.checks) == len(CHECKS)
    sent = (story.authorization_request or {})["parameters"]
    assert sent["redirect_uri"] == house.origin() + "/oauth2/callback"
    assert sent["code_challenge_method"] == "S256"
    assert [call["what"] for call in story.calls] == ["discovery", "keys", "token", "userinfo", "revocation"][
        : len(story.calls)
    ]
    assert story.claims["email"] == MIA["email"]
    assert story.identity["groups"] == ["members"]
    assert ("decision", "forward") in story.decision
    assert any(text.startswith("X-Forwarded-Email: ") for name, text in story.decision if name == "header")
    await assert_nothing_came_of_it(house, browser)
    assert provider.count("token") == 1
    # No secret is in it.
    whole = json.dumps(story.to_json())
    code = next(seen.form["code"] for seen in provider.seen if seen.endpoint == "token")
    verifier = next(seen.form["code_verifier"] for seen in provider.seen if seen.endpoint == "token")
    assert code not in whole
    assert verifier not in whole
    assert "eyJ" not in whole
    assert story.token_response is not None
    assert story.token_response["received"]["access_token"].endswith(" characters)")


async def test_a_secret_that_a_provider_nests_in_its_response_is_not_in_the_story(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-48: as providers write them whose token response is not the standard's; other members stay readable."""
    provider.told.token |= {
        "authed_user": {"id": "U1", "access_token": "nested-secret"},
        "tokens": [{"refresh_token": "listed-secret"}],
    }
    browser, link = house.browser(), await begun(house)
    await tried(house, browser, link)
    story = await story_of(house, link)
    assert story.token_response is not None
    received = story.token_response["received"]
    assert received["authed_user"] == {"id": "U1", "access_token": "(13 characters)"}
    assert received["tokens"] == [{"refresh_token": "(13 characters)"}]
    assert "-secret" not in json.dumps(story.to_json())


@pytest.mark.parametrize("body", ["[" * 5000 + "]" * 5000, '{"a":' * 500 + "1" + "}" * 500, '["a-token"]'])
async def test_a_response_that_is_no_token_response_is_a_failure_in_the_story(
    house: House, provider: MisbehavingProvider, body: str
) -> None:
    """A-70: however deep it is."""
    provider.faults["token"] = says(body)
    browser, link = house.browser(), await begun(house)
    await tried(house, browser, link)
    story = await story_of(house, link)
    assert not story.passed
    assert story.token_response is not None
    assert story.token_response["status"] == 200
    assert "a-token" not in json.dumps(story.to_json())


async def test_the_page_of_an_admin_is_closed_to_a_customer_and_open_to_an_admin(house: House) -> None:
    for person, passed, step in ((MIA["sub"], False, "decision"), (ADA["sub"], True, None)):
        browser, link = house.browser(), await begun(house, page="/admin/users")
        await tried(house, browser, link, person)
        story = await story_of(house, link)
        assert story.passed is passed
        assert (story.advice.step if story.advice else None) == step
        assert ("rule", "staff-area") in story.decision
        await assert_nothing_came_of_it(house, browser)


async def test_an_unregistered_person_is_refused_or_would_be_created_and_nothing_is_written(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    async with NexudusApi() as api:
        for creates in (False, True):
            house = await open_house(provider=provider, directory=api.section(), openid={"create_users": creates})
            browser, link = house.browser(), await begun(house)
            before = api.ids
            await tried(house, browser, link)
            story = await story_of(house, link)
            steps = dict(story.provisioning)
            assert story.passed is creates
            assert api.ids == before
            if creates:
                assert steps["would"] == "create"
                assert steps["call"].startswith("POST ")
                assert str(MIA["email"]) in steps["body"]
            else:
                assert steps["refused"] == "not_registered"
                assert story.advice is not None
                assert "openid.create_users" in story.advice.setting
            await assert_nothing_came_of_it(house, browser)


# --- where it fails ---------------------------------------------------------------------------------------------------


async def test_a_wrong_secret_is_named_with_the_providers_words_and_the_setting(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider)
    link = await begun(house, overlay={"client_secret": "wrong"})
    await tried(house, browser := house.browser(), link)
    story = await story_of(house, link)
    assert not story.passed
    assert story.advice is not None
    assert story.advice.step == "token response: the client is accepted"
    assert "invalid_client" in story.advice.provider_says
    assert "openid.client_secret" in story.advice.setting
    outcomes = [check.outcome for check in story.checks]
    assert outcomes.count("failed") == 1
    assert outcomes.index("failed") < outcomes.index("not reached")
    assert "wrong" not in json.dumps(story.to_json())
    await assert_nothing_came_of_it(house, browser)


def _told(provider: MisbehavingProvider, document: str, **members: Any) -> None:
    getattr(provider.told, document).update(members)


@pytest.mark.parametrize(
    ("document", "members", "step"),
    [
        ("authorization", {"code": MISSING}, "authorization response: has a code"),
        ("authorization", {"code": MISSING, "error": "access_denied", "error_description": "not assigned"}, "authorization response: has no error"),
        ("authorization", {"iss": "https://evil.example"}, "authorization response: comes from this provider (iss)"),
        ("token", {"id_token": MISSING}, "ID Token: is there"),
        ("token", {"token_type": "mac"}, "token response: the client is accepted"),
        ("id_token", {"iss": "https://evil.example"}, "ID Token: issuer"),
        ("id_token", {"aud": "another"}, "ID Token: audience"),
        ("id_token", {"exp": 1}, "ID Token: times (exp, iat, nbf)"),
        ("id_token", {"nonce": "x"}, "ID Token: nonce"),
        ("id_token", {"at_hash": "x"}, "ID Token: at_hash"),
        ("userinfo", {"sub": "another"}, "userinfo: answers, about the same person"),
        ("userinfo", {"email_verified": False}, "identity: the address is verified"),
    ],
)  # fmt: skip
async def test_each_fault_of_the_provider_is_one_failed_check(
    house: House, provider: MisbehavingProvider, document: str, members: dict[str, Any], step: str
) -> None:
    _told(provider, document, **members)
    if document == "userinfo" and "email_verified" in members:
        _told(provider, "id_token", **members)
    link = await begun(house)
    await tried(house, browser := house.browser(), link)
    story = await story_of(house, link)
    assert story.advice is not None
    assert story.advice.step == step, story.advice
    assert [f"{check.step}: {check.name}" for check in story.checks if check.outcome == "failed"] == [step]
    if "error" in members:
        assert story.advice.provider_says == "access_denied: not assigned"
    await assert_nothing_came_of_it(house, browser)


async def test_a_forged_signature_and_a_provider_that_is_away_are_named(
    house: House, provider: MisbehavingProvider
) -> None:
    provider.sign = lambda claims: sign(claims, ec_key(), alg="ES256")
    link = await begun(house)
    await tried(house, house.browser(), link)
    story = await story_of(house, link)
    assert story.advice is not None
    assert story.advice.step in ("ID Token: algorithm", "ID Token: signature")
    provider.sign = None
    provider.faults["openid-configuration"] = says("{}", status=500)
    link = await begun(house)
    page = await house.browser().open(link.url)
    assert page.status == 200
    browser = house.browser()
    link = await begun(house)
    await browser.open(link.url)
    assert "The test has ended" in (await browser.submit(0)).document.words
    story = await story_of(house, link)
    assert story.advice is not None
    assert story.advice.step == "discovery: metadata of this authority"
    assert story.advice.setting.startswith("openid.authority_url")


def test_every_reason_of_a_check_is_found_by_its_row() -> None:
    for place, check in enumerate(CHECKS):
        for reason in check.reasons:
            assert failed_check({"reason": reason, "detail": "x"}) == place
        for detail in check.details:
            assert failed_check({"reason": "provider_fault", "detail": f"{detail} x"}) == place


# --- whose link, whose story ------------------------------------------------------------------------------------------


async def test_a_link_works_once(house: House) -> None:
    """C-85."""
    browser, link = house.browser(), await begun(house)
    await tried(house, browser, link)
    page = await browser.open(link.url)
    assert page.status == 200  # the same browser sees the offer again, and it is void
    gone = await browser.submit(0)
    assert (gone.status, "This test link can" in gone.document.words) == (403, True)


async def test_a_response_that_comes_again_leaves_the_story_as_it_is(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-85: a person reloads the last page, or a browser sends it twice at once."""
    browser, link = house.browser(), await begun(house)
    page = await browser.open(link.url)
    back = await house.choose(browser, await browser.submit(0), follow=False)
    fields = f"Cookie: {browser.jar.header(back.location, same_site=True, navigation=True, safe=True)}\r\n{BROWSER}"
    target = back.location.removeprefix(house.origin())
    answers = await asyncio.gather(*(house.ask(target, fields=fields) for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    story = await story_of(house, link)
    assert story.passed
    for again in (back.location, back.location.replace("code=", "error=access_denied&x=")):
        page = await browser.open(again)
        assert "The test has ended" in page.document.words
        assert await story_of(house, link) == story
    assert provider.count("token") == 1


async def test_a_second_browser_cannot_use_the_link(house: House) -> None:
    """C-85: by opening it, nor by sending the form."""
    link = await begun(house)
    first, second = house.browser(), house.browser()
    await first.open(link.url)
    assert (await second.open(link.url)).status == 403
    answer = await second.post_from(house.origin() + "/", link.url, b"")
    assert answer.status == 403
    assert (await house.choose(first, await first.submit(0))).status == 200
    assert (await story_of(house, link)).passed


async def test_a_link_that_is_over_or_of_another_host_or_made_up_is_refused(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(apps={"portal": {}, "dashboard": {"surface": "dashboard"}}, provider=provider)
    link = await begun(house)
    browser = house.browser()
    elsewhere = link.url.replace(house.origin(), house.origin("dashboard"))
    for url in (elsewhere, house.origin() + "/oauth2/login_test", link.url + "x"):
        assert (await browser.open(url)).status == 403
    await browser.open(link.url)
    await browser.submit(0, follow=False)
    await house.worker.redis.delete(f"{house.worker.config.redis.key_prefix}login-test:{link.id}")
    page = await house.choose(browser, await browser.follow_all())
    assert (page.status, browser.jar.named("doorward_session")) == (403, None)
    assert (await browser.open(link.url)).status == 403


async def test_only_who_began_a_test_reads_its_story(house: House) -> None:
    """C-85."""
    link = await begun(house)
    await tried(house, house.browser(), link)
    assert await store_of(house).read_story(link.id, "another operator") is None
    assert await store_of(house).read_story(link.id, ME) is not None


async def test_a_form_of_another_site_begins_no_test(house: House) -> None:
    """C-49."""
    link = await begun(house)
    browser = house.browser()
    await browser.open(link.url)
    cookie = browser.jar.named("doorward_login_test")
    assert cookie is not None
    target = link.url.removeprefix(house.origin())
    sent = f"doorward_login_test={cookie.value}"
    for fields in ("Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"):
        answer = await house.ask(target, method="POST", body=b"", cookie=sent, fields=BROWSER + fields)
        assert answer.status == 403
    assert (await house.choose(browser, await browser.submit(0))).status == 200


async def test_somebody_else_can_be_chosen(house: House, provider: MisbehavingProvider) -> None:
    """Or both tests would run as the operator, who is signed in at the provider."""
    browser = house.browser()
    await house.sign_in(browser, ADA["sub"])
    link = await begun(house)
    page = await browser.open(link.url)
    assert "Use another account" in page.document.words
    await house.choose(browser, await browser.submit(0, prompt="select_account"), MIA["sub"])
    story = await story_of(house, link)
    assert story.identity["email"] == MIA["email"]
    assert (story.authorization_request or {})["parameters"]["prompt"] == "login"
    kept = await house.ask("/x", cookie=f"doorward_session={browser.jar.named('doorward_session').value}")  # type: ignore[union-attr]
    assert kept.status == 200  # the operator's own session stays


# --- settings that are not saved --------------------------------------------------------------------------------------


async def test_settings_that_are_not_saved_are_tried(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    other = MisbehavingProvider()
    await other.start()
    house = await open_house(provider=provider)
    other.register(registered_at(provider))
    overlay = {"authority_url": other.issuer, "client_secret": "secret"}
    link = await begun(house, overlay=overlay)
    browser = house.browser()
    await browser.open(link.url)
    page = await browser.submit(0)
    assert page.url.startswith(other.issuer)
    await browser.submit(0, person=str(MIA["sub"]))
    story = await story_of(house, link)
    assert story.passed
    assert story.identity["issuer"] == other.issuer
    assert (provider.count("token"), other.count("token")) == (0, 1)
    await other.close()


async def test_a_stored_secret_is_never_sent_to_another_authority(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-86: nor in the name of another client."""
    other = MisbehavingProvider()
    await other.start()
    house = await open_house(provider=provider)
    other.register(registered_at(provider))
    for overlay in ({"authority_url": other.issuer}, {"client_id": "another"}):
        link = await begun(house, overlay=overlay)
        browser = house.browser()
        await browser.open(link.url)
        await browser.submit(0)
        story = await story_of(house, link)
        assert not story.passed
    assert other.seen == []
    assert all("Authorization" not in seen.headers for seen in provider.seen)
    await other.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"app": "nothing"}, "allowed: portal"),
        ({"provider": "nothing"}, "allowed: openid"),
        ({"page": "https://evil.example"}, "allowed: a path"),
        ({"page": "//evil.example"}, "allowed: a path"),
        ({"page": "/\\evil.example"}, "allowed: a path"),
        ({"page": "/b\u00fccher"}, "allowed: a path"),
        ({"overlay": {"response_mode": "form_post"}}, "response_mode"),
        ({"overlay": {"authority_url": "nonsense"}}, "authority_url"),
        ({"overlay": {"authority_url": "http://login.example.com"}}, "http to another machine"),
    ],
)
async def test_a_wrong_call_says_what_is_allowed(house: House, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        await begun(house, **wrong)


# --- the command ------------------------------------------------------------------------------------------------------


async def test_the_command_prints_an_address_and_then_the_story(house: House, tmp_path: Any, valkey: str) -> None:
    config = house.worker.config
    path = tmp_path / "gateway.yaml"
    keys = [key.get_secret_value() for key in config.keys]
    openid = {"authority_url": config.openid.authority_url, "client_id": "doorward", "client_secret": "secret"}
    app = {"hosts": [house.host()], "upstream": house.upstream.url}
    redis = {"url": valkey, "key_prefix": config.redis.key_prefix}
    document = {"keys": keys, "openid": openid, "external_url_scheme": "http", "redis": redis, "apps": {"portal": app}}
    path.write_text(json.dumps(document))

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli.app, ["login-test", str(path), *words])

    assert (await run("--app", "nothing")).exit_code == 2
    running = asyncio.create_task(run("--app", "portal", "--json"))
    known: list[bytes] = []
    while not known:
        known = [key async for key in house.worker.redis.scan_iter(match=f"{config.redis.key_prefix}login-test:*")]
        await asyncio.sleep(0.01)
    # The token is in the address alone; the test writes a story for it, as the gateway does.
    test_id = known[0].decode().rpartition(":")[2]
    test = await store_of(house).find_by_id(test_id)
    assert test is not None
    failure = {"code": "sign_in_failed", "reason": "access_denied", "detail": "no\x1b[2J"}
    await store_of(house).write_story(test_id, {"owner": test.owner, "failure": failure})
    done = await running
    assert done.exit_code == 1
    assert f"{house.origin()}/oauth2/login_test?id=" in done.stderr
    assert json.loads(done.stdout)["advice"]["step"] == "authorization response: has no error"
