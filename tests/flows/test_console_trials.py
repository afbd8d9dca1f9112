"""The console's pages "Try it" and "Check-up": the same work as `doorward login-test` and `doorward doctor`, for the operator who asks."""

import html
import re
from typing import Any

import pytest

from tests.fakes.browser import Document
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse
from tests.flows.test_console_pages import Desk

BEGIN, RUN = "/console/act/try-it", "/console/act/check-up"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def house(open_house: OpenHouse, provider: MisbehavingProvider) -> House:
    console = {"require": {"groups": ["staff"]}, "roles": {"act": {"groups": ["lead"]}}}
    return await open_house(console=console, apps={"portal": {}}, provider=provider)


async def desk_of(house: House, subject: str, *groups: str) -> Desk:
    return Desk(house, await house.session("console", subject=subject, name=subject.title(), groups=groups))


async def begun(house: House, desk: Desk, **form: str) -> tuple[str, str]:
    """The address to open, and that of the story."""
    answer = await desk.post(BEGIN, **{"app": "portal", "page": "/x", **form})
    assert answer.status == 200, answer.body.decode()
    document = Document.of(answer.body.decode())
    url = next(href for href, _ in document.links if "/oauth2/login_test?id=" in href)
    return html.unescape(url), document.link("Look at the story")


async def test_an_operator_tries_a_sign_in_and_reads_its_story_alone(
    house: House, provider: MisbehavingProvider
) -> None:
    """C-85."""
    ada, other = await desk_of(house, "ada", "staff", "lead"), await desk_of(house, "eve", "staff", "lead")
    url, story = await begun(house, ada)
    assert "has not ended" in await ada.html(story)
    provider.people[str(MIA["sub"])]["name"] = SCRIPT
    browser = house.browser()
    await browser.open(url)
    await house.choose(browser, await browser.submit(0))
    told: dict[str, Any] = (await ada.json(story))["story"]
    assert told["passed"]
    assert told["claims"]["email"] == MIA["email"]
    page = await ada.html(story)
    assert "The sign-in succeeds, and the page is served." in page
    assert SCRIPT not in page
    assert html.escape(SCRIPT) in page
    assert (await other.json(story))["story"] is None
    assert "another operator began it" in await other.html(story)
    assert browser.jar.named("doorward_session") is None


async def test_a_failure_names_the_setting(house: House, provider: MisbehavingProvider) -> None:
    ada = await desk_of(house, "ada", "staff", "lead")
    provider.told.id_token["aud"] = "another"
    url, story = await begun(house, ada)
    browser = house.browser()
    await browser.open(url)
    await house.choose(browser, await browser.submit(0))
    page = await ada.html(story)
    assert "Failed at ID Token: audience" in page
    assert "look at openid.client_id" in page


async def test_a_wrong_wish_says_what_is_allowed_and_nobody_begins_without_the_role(house: House) -> None:
    """C-92."""
    ada, viewer = await desk_of(house, "ada", "staff", "lead"), await desk_of(house, "bob", "staff")
    answer = await ada.post(BEGIN, app="portal", page="https://evil.example")
    assert (answer.status, "allowed: a path" in answer.body.decode()) == (400, True)
    assert "Begin a test" not in await viewer.html("/console/try-it")
    await viewer.json(BEGIN, status=403)
    await viewer.json(RUN, status=403)


async def test_a_check_up_runs_and_every_operator_sees_the_last_one(house: House) -> None:
    ada, viewer = await desk_of(house, "ada", "staff", "lead"), await desk_of(house, "bob", "staff")
    assert "No check-up was run" in await viewer.html("/console/check-up")
    assert house.host() in await ada.html(RUN)
    answer = await ada.post(RUN)
    assert (answer.status, answer.value("location")) == (303, "/console/check-up")

    async def ended() -> dict[str, Any] | None:
        data = await viewer.json("/console/check-up")
        return None if data["running"] else data["report"]

    report = await eventually(ended, within=60)
    assert report["by"] == "Ada"
    states = {line["name"]: line["state"] for line in report["lines"]}
    assert states["redis"] == states[f"{house.origin()} sign-in"] == "ok"
    assert states[f"{house.origin('console')} public address"] == "ok"
    page = await viewer.html("/console/check-up")
    assert f"<code>{house.origin()}/oauth2/callback</code>" in page
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    assert "Examine this set-up" not in page
