"""The Settings page of the console: looked at, changed, confirmed, rolled back, by people and by programs."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.config.loader import Resolved
from gateway.demo.provider import DemoClient
from gateway.operations.settings.editor import Author, SettingsEditor
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing
from tests.fakes.browser import Answer, Browser
from tests.fakes.house import House
from tests.fakes.provider import ADA, MIA, MisbehavingProvider
from tests.flows.conftest import OpenHouse

CONSOLE = {"require": {"groups": ["staff"]}}
EDIT = "/console/settings/edit"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    portal = {"password_routes": "nexudus", "unauthenticated": "pass"}
    directory = {
        "kind": "nexudus", "base_url": "http://127.0.0.1:9", "username": "u", "password": "p", "business_ids": [1],
    }  # fmt: skip
    return await open_house(provider=provider, console=CONSOLE, apps={"portal": portal}, directory=directory)


def editor_of(house: House) -> SettingsEditor:
    config = house.worker.config
    store = SettingsStore(house.worker.redis, KeyRing(config.keys), config.redis.key_prefix)
    return SettingsEditor(Resolved(data=house.data), store, SettingsCopy(None))


async def sent(browser: Browser, fields: dict[str, str]) -> Answer:
    return await browser.submit(0, follow=True, **fields)


async def operator(house: House, at: str = "/console/settings") -> tuple[Browser, Answer]:
    browser = house.browser()
    return browser, await house.sign_in(browser, ADA["sub"], at=at, app="console")


async def test_the_page_has_the_words_and_the_order_of_the_one_it_follows(house: House) -> None:
    _, page = await operator(house)
    assert page.status == 200
    words = [
        "Settings > Integrations > OpenID", "OpenId integration on or off", "Create new users if they don't exist",
        "Prevent users from using their password to log in", "Prevent users from using their password to log in to this dashboard",
        "Log out URL", "Authority URL", "Client ID", "Client Secret", "What this means",
    ]  # fmt: skip
    places = [page.document.words.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)
    assert '"secret"' not in page.text
    assert ">secret<" not in page.text
    assert "is refused, and sees a page that says so" in page.text


async def test_a_change_is_said_in_a_sentence_saved_and_confirmed_from_a_new_sign_in(house: House) -> None:
    browser, _ = await operator(house)
    await browser.open(f"{house.origin('console')}{EDIT}/change")
    review = await sent(browser, {"openid.create_users": "on", "openid.prevent_password_login": "on"})
    assert review.status == 200
    assert "people who are not registered will have no access at all" in review.document.words.replace("\n", " ")
    assert "create an account, and let them in" in review.document.words
    assert (await editor_of(house).read()).record.revision == 0
    saved = await browser.submit(0, reason="members only")
    assert (saved.status, saved.url) == (200, f"{house.origin('console')}/console/settings")
    assert "Version 1 waits to be confirmed" in saved.document.words
    record = (await editor_of(house).read()).record
    assert record.versions[-1].values == {"openid.create_users": True, "openid.prevent_password_login": True}
    assert record.versions[-1].by == "mia"
    # C-98: this sign-in is from before the change.
    stale = await browser.open(f"{house.origin('console')}{EDIT}/confirm")
    assert "This sign-in is older than the change" in stale.document.words
    refused = await house.ask(
        f"{EDIT}/confirm", app="console", method="POST", cookie=cookie_of(browser, house),
        fields="Content-Type: application/x-www-form-urlencoded\r\nAccept: text/html\r\n", body=urlencode({"csrf": token_of(saved, browser)}).encode(),
    )  # fmt: skip
    assert refused.status in (403, 422)
    assert (await editor_of(house).read()).record.pending(time.time()) is not None
    await browser.open(f"{house.origin('console')}/console/settings")
    again = await house.choose(
        browser, await browser.click(browser.page.document.link("Sign in again and confirm")), ADA["sub"]
    )
    assert "these settings stay" in again.document.words
    done = await browser.submit(0)
    assert "waits to be confirmed" not in done.document.words
    assert (await editor_of(house).read()).record.versions[-1].confirmed_by == "mia"
    history = await browser.open(f"{house.origin('console')}/console/settings/history")
    assert "members only" in history.document.words
    assert "saved, confirmed by mia" in history.document.words


def cookie_of(browser: Browser, house: House) -> str:
    name = "doorward_session"
    found = browser.jar.named(name, "console.localhost")
    assert found is not None
    return f"{name}={found.value}"


def token_of(page: Answer, browser: Browser) -> str:
    return next(
        (form.fields["csrf"] for answer in browser.history for form in answer.document.forms if "csrf" in form.fields),
        "",
    )


async def test_a_new_session_elsewhere_does_not_make_this_sign_in_a_new_one(house: House) -> None:
    """C-98: of one person's two sessions, the one that began after the change confirms it, and no other."""
    before = await house.session("console", subject="ada", groups=["staff"])
    await editor_of(house).save({"openid.create_users": True}, Author(name="ben"), "one")
    after = await house.session("console", subject="ada", groups=["staff"])
    fields = "Accept: application/json\r\n"
    for cookie, fresh in ((before, False), (after, True)):
        shown = await house.ask(f"{EDIT}/confirm", app="console", cookie=cookie, fields=fields)
        assert json.loads(shown.body)["fresh"] is fresh
        form = f"Content-Type: application/x-www-form-urlencoded\r\n{fields}"
        token = urlencode({"csrf": json.loads(shown.body)["csrf"]}).encode()
        sent_by = await house.ask(
            f"{EDIT}/confirm", app="console", method="POST", cookie=cookie, fields=form, body=token
        )
        assert sent_by.status == (200 if fresh else 422)


async def test_a_rollback_needs_a_confirmation_too_unless_it_undoes_what_waits(house: House) -> None:
    editor = editor_of(house)
    author = Author(name="ben")
    await editor.save({"openid.create_users": True}, author, "one", confirmed=True)
    await editor.save({"openid.create_users": False}, author, "two", confirmed=True)
    browser, _ = await operator(house)
    await browser.open(f"{house.origin('console')}{EDIT}/rollback?to=1")
    assert "Go back to version 1?" in browser.page.document.words
    page = await browser.submit(0, reason="it was better")
    assert "Version 3 waits to be confirmed" in page.document.words
    await browser.open(f"{house.origin('console')}{EDIT}/rollback")
    page = await browser.submit(0, reason="no")
    assert "waits to be confirmed" not in page.document.words
    assert editor.in_force(await editor.read()).values == {"openid.create_users": False}
    missing = await browser.open(f"{house.origin('console')}{EDIT}/rollback?to=77")
    assert missing.status == 404


async def test_what_cannot_be_saved_is_said_on_the_form_and_nothing_is_sent(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-95: another authority without its secret; C-99: another person saved meanwhile."""
    browser, _ = await operator(house)
    form = f"{house.origin('console')}{EDIT}/change"
    await browser.open(form)
    seen = len(provider.seen)
    page = await sent(browser, {"openid.authority_url": "http://127.0.0.1:9/other"})
    assert page.status == 422
    assert "enter it again" in page.document.words
    assert len(provider.seen) == seen
    await browser.open(form)
    page = await sent(browser, {"openid.log_out_url": "javascript:alert(1)"})
    assert (page.status, "openid.log_out_url" in page.document.words) == (422, True)
    await browser.open(form)
    await editor_of(house).save({"openid.prevent_password_login": True}, Author(name="ben"), "mine", confirmed=True)
    page = await sent(browser, {"openid.create_users": "on"})
    assert "version 1 by ben" in page.document.words
    assert editor_of(house).in_force(await editor_of(house).read()).values == {"openid.prevent_password_login": True}


async def test_a_secret_that_was_typed_stands_on_no_page(house: House) -> None:
    """Only sealed, in the review's form; a review of another session is none."""
    browser, _ = await operator(house)
    await browser.open(f"{house.origin('console')}{EDIT}/change")
    typed = {"openid.client_id": "doorward", "openid.client_secret": "secret-that-was-typed"}
    page = await sent(browser, typed)
    assert "secret-that-was-typed" not in page.text
    await browser.open(f"{house.origin('console')}{EDIT}/change")
    review = await sent(browser, {"openid.create_users": "on"})
    other, _ = await operator(house, f"{EDIT}/change")
    stolen = await other.submit(0, reviewed=review.document.forms[0].fields["reviewed"], reason="x")
    assert stolen.status == 422
    assert "look at the change again" in stolen.document.words
    assert (await editor_of(house).read()).record.revision == 0


async def test_programs_get_the_same_as_json_and_the_rest_of_the_configuration_is_listed(house: House) -> None:
    browser, _ = await operator(house)
    cookie = cookie_of(browser, house)
    told = json.loads(
        (await house.ask("/console/settings", app="console", cookie=cookie, fields="Accept: application/json\r\n")).body
    )
    assert told["version"] == 0
    assert {row["key"] for row in told["settings"]} >= {"openid.enabled", "openid.client_secret"}
    assert told["toggles"][0]["app"] == "portal"
    rest = json.loads(
        (
            await house.ask(
                "/console/settings/configuration", app="console", cookie=cookie, fields="Accept: application/json\r\n"
            )
        ).body
    )
    values = {row["key"]: row["value"] for row in rest["values"]}
    assert values["openid.client_secret"] == "••••••••"
    assert values["apps.portal.unauthenticated"] == "pass"


async def test_a_console_that_is_read_only_changes_nothing(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider, console={**CONSOLE, "settings": "read_only"})
    browser, page = await operator(house)
    assert "You may look at the settings, not change them." in page.document.words
    assert (await browser.open(f"{house.origin('console')}{EDIT}/change")).status == 403


# --- the provider's own settings ----------------------------------------------------------------------------------------

NEXT = {"openid.client_id": "next", "openid.client_secret": "the-next-secret"}


def know_the_next_client(house: House, provider: MisbehavingProvider) -> None:
    uris = tuple(f"{house.origin(app)}/oauth2/callback" for app in ("console", "portal"))
    provider.register(DemoClient(client_id="next", redirect_uris=uris, client_secret="the-next-secret"))


async def reviewed(house: House, fields: dict[str, str]) -> Browser:
    """An operator's browser on the review of a change."""
    browser, _ = await operator(house)
    await browser.open(f"{house.origin('console')}{EDIT}/change")
    await sent(browser, fields)
    return browser


async def try_as(house: House, browser: Browser, person: object) -> None:
    """Begin the login test, and sign in in another browser."""
    review = await browser.submit(0)
    link = review.document.link("Sign in at openid with the new values")
    other = house.browser()
    await other.open(link)
    done = await house.choose(other, await other.submit(0), person)
    assert "The test has ended" in done.document.words


async def test_another_client_is_saved_after_a_login_test_by_the_same_person(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-98: not before, and the secret is sent to the provider that it was entered for alone."""
    know_the_next_client(house, provider)
    browser = await reviewed(house, NEXT)
    assert "Try it first" in browser.page.document.words
    early = await browser.submit(1, reason="too early")
    assert (early.status, "needs a login test" in early.document.words) == (422, True)
    await try_as(house, browser, ADA["sub"])
    saved = await browser.submit(1, reason="another client")
    assert "Version 1 waits to be confirmed" in saved.document.words
    values = (await editor_of(house).read()).record.versions[-1].values
    assert values == {"openid.authority_url": provider.issuer, **NEXT}


async def test_a_login_test_by_another_person_or_one_who_may_not_edit_proves_nothing(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-98: the person who saves would be shut out."""
    know_the_next_client(house, provider)
    browser = await reviewed(house, NEXT)
    await try_as(house, browser, MIA["sub"])
    refused = await browser.submit(1, reason="x")
    assert refused.status == 422
    assert "the login test did not succeed" in refused.document.words
    provider.told.id_token = {"groups": ["staff"]}
    provider.told.userinfo = {"groups": ["staff"]}
    await try_as(house, browser, MIA["sub"])
    refused = await browser.submit(1, reason="x")
    assert "made by another person than you" in refused.document.words
    assert (await editor_of(house).read()).record.revision == 0


async def test_who_could_not_edit_settings_any_more_does_not_save(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-98: the new client gives the person fewer groups: the console opens, and settings do not."""
    house = await open_house(provider=provider, console={**CONSOLE, "roles": {"settings": {"groups": ["members"]}}})
    know_the_next_client(house, provider)
    browser = await reviewed(house, NEXT)
    provider.told.id_token = {"groups": ["staff"]}
    provider.told.userinfo = {"groups": ["staff"]}
    await try_as(house, browser, ADA["sub"])
    refused = await browser.submit(1, reason="x")
    assert "could not change settings in the console any more" in refused.document.words
    assert (await editor_of(house).read()).record.revision == 0


async def test_a_wrong_secret_does_not_get_as_far_as_a_review(house: House, provider: MisbehavingProvider) -> None:
    know_the_next_client(house, provider)
    browser = await reviewed(house, {**NEXT, "openid.client_secret": "wrong"})
    assert browser.page.status == 422
    assert "invalid_client" in browser.page.document.words


async def test_a_program_saves_in_two_requests_and_a_reason_with_markup_stays_text(house: House) -> None:
    """C-94: what an operator types as the reason is shown to the next one."""
    browser, _ = await operator(house)
    cookie = cookie_of(browser, house)
    accept = "Accept: application/json\r\n"

    async def post(fields: dict[str, str]) -> dict[str, Any]:
        form = f"{accept}Content-Type: application/x-www-form-urlencoded\r\n"
        answer = await house.ask(
            f"{EDIT}/change", app="console", method="POST", cookie=cookie, fields=form, body=urlencode(fields).encode()
        )
        assert answer.status == 200, answer.body
        told: dict[str, Any] = json.loads(answer.body)
        return told

    begun = json.loads((await house.ask(f"{EDIT}/change", app="console", cookie=cookie, fields=accept)).body)
    asked = {"csrf": begun["csrf"], "revision": str(begun["revision"]), "openid.create_users": "on"}
    review = await post(asked)
    assert [each["key"] for each in review["changes"]] == ["openid.create_users"]
    assert "gets an account, and is let in" in " ".join(review["sentences"])
    reason = "<script>alert(1)</script>"
    saved = await post({"csrf": begun["csrf"], "reviewed": review["reviewed"], "reason": reason})
    assert (saved["version"], saved["state"]) == (1, "saved, waits to be confirmed")
    for path in ("", "/history"):
        page = await browser.open(f"{house.origin('console')}/console/settings{path}")
        assert reason not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
