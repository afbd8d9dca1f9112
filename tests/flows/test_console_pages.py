"""The console's pages through the whole door: what they show, as JSON and as HTML, and what their buttons do."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.operations.probe.report import ProbeReports
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing
from gateway.telemetry.numbers import EVENTS, NumberStore
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import answer_ok
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_websockets import open_socket

SCRIPT = "<script>alert(1)</script>"
CLOSED = {"prevent_password_login": True, "prevent_dashboard_password_login": True}


@dataclass
class Desk:
    """An operator with a session at the console."""

    house: House
    cookie: str

    async def html(self, target: str) -> str:
        answer = await self.house.ask(target, app="console", cookie=self.cookie, fields=BROWSER)
        assert answer.status == 200, answer.body.decode()
        return answer.body.decode()

    async def json(self, target: str, status: int = 200) -> dict[str, Any]:
        fields = "Accept: application/json\r\n"
        answer = await self.house.ask(target, app="console", cookie=self.cookie, fields=fields)
        assert answer.status == status, answer.body.decode()
        data: dict[str, Any] = json.loads(answer.body)
        return data

    async def post(self, target: str, **form: str) -> WireResponse:
        """The form of a page, with its token, as a browser sends it."""
        token = (await self.json(target))["csrf"]
        fields = (
            f"Content-Type: application/x-www-form-urlencoded\r\nOrigin: {self.house.origin('console')}\r\n{BROWSER}"
        )
        body = urlencode({"csrf": token, **form}).encode()
        return await self.house.ask(
            target.partition("?")[0], app="console", method="POST", cookie=self.cookie, fields=fields, body=body
        )


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(
        console={"require": {"groups": ["staff"]}}, openid=CLOSED, trusted_proxies=["127.0.0.1/32"],
        apps={"portal": {"password_routes": ["nexudus", {"match": "POST /x", "reason": SCRIPT, "source": SCRIPT}]}},
    )  # fmt: skip


@pytest.fixture
async def desk(house: House) -> Desk:
    return Desk(house, await house.session("console", subject="ada", name="Ada Marsh", groups=["staff"]))


def person_of(house: House, subject: str) -> str:
    return urlencode({"issuer": house.worker.config.openid.authority_url, "subject": subject})


# --- sessions -----------------------------------------------------------------------------------------------------------


async def test_sessions_are_found_by_person_app_address_browser_and_age(house: House, desk: Desk) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    await house.session(
        subject="mia", name="Mia Lindqvist", email="mia@example.com", address="203.0.113.7", user_agent=firefox
    )
    await house.session(subject="bob", name="Bob", address="198.51.100.7")
    wanted = {
        "person=lindq": {"mia"}, "person=MIA@example.com": {"mia"}, "person=bob": {"bob"}, "app=console": {"ada"},
        "address=203.0.113.0/24": {"mia"}, "browser=Firefox": {"mia"}, "older_than=1h": set(), "newer_than=1h": {"ada", "mia", "bob"},
        "": {"ada", "mia", "bob"},
    }  # fmt: skip
    for query, subjects in wanted.items():
        found = await desk.json(f"/console/sessions?{query}")
        assert {each["subject"] for each in found["sessions"]} == subjects, query
    (mia,) = (await desk.json("/console/sessions?person=mia"))["sessions"]
    assert (mia["device"], mia["address"], mia["user_agent"]) == ("Firefox \u00b7 Linux", "203.0.113.7", firefox)
    assert "email" not in mia
    (mia,) = (await desk.json("/console/sessions?person=mia&emails=1"))["sessions"]
    assert mia["email"] == "mia@example.com"
    assert (await desk.json("/console/sessions?address=x", 400))["problems"] != []
    assert (await desk.json("/console/sessions?cursor=x", 400))["problems"] != []


async def test_many_sessions_come_page_by_page_and_none_is_missed(house: House, desk: Desk) -> None:
    for number in range(230):
        await house.session(subject=f"p{number}")
    target, seen, pages = "/console/sessions?app=portal", set[str](), 0
    while target:
        page = await desk.json(target)
        seen |= {each["subject"] for each in page["sessions"]}
        target, pages = page["next"], pages + 1
    assert seen == {f"p{number}" for number in range(230)}
    assert pages > 1


async def test_ending_a_persons_sessions_asks_first_and_closes_what_is_open(house: House, desk: Desk) -> None:
    """C-44: the page, the WebSocket, and the event that says by whom."""
    mia, other = await house.session(subject="mia", name="Mia"), await house.session(subject="bob")
    wire = await open_socket(house, mia)
    house.upstream.answer = answer_ok
    target = f"/console/act/end-sessions?{person_of(house, 'mia')}"
    assert "This session ends now" in await desk.html(target)
    assert (await house.ask("/", cookie=mia)).status == 200
    names = {"issuer": house.worker.config.openid.authority_url, "subject": "mia", "sid": ""}
    ended = await desk.post(target, **names)
    assert "1 session ended" in ended.body.decode()
    await asyncio.wait_for(wire.reader.read(), 10)
    await eventually(lambda: _refused(house, mia))
    assert (await house.ask("/", cookie=other)).status == 200
    (event,) = [json.loads(line) for line in house.lines if b'"session.revoked"' in line]
    assert (event["by"], event["operator"], event["app"]) == ("operator", "Ada Marsh", "portal")
    assert "no such session" in (await desk.html(target))


async def _refused(house: House, cookie: str) -> bool:
    return (await house.ask("/", cookie=cookie)).status == 401


async def test_one_session_ends_alone_and_nobody_s_all(house: House, desk: Desk) -> None:
    one, two = await house.session(subject="mia"), await house.session(subject="mia")
    person = await desk.json(f"/console/person?{person_of(house, 'mia')}")
    assert len(person["sessions"]) == 2
    sid = person["sessions"][0]["sid"]
    names = {"issuer": house.worker.config.openid.authority_url, "subject": "mia"}
    await desk.post(f"/console/act/end-sessions?{person_of(house, 'mia')}", **names, sid=sid)
    assert len((await desk.json(f"/console/person?{person_of(house, 'mia')}"))["sessions"]) == 1
    assert (
        await desk.post(f"/console/act/end-sessions?{person_of(house, 'mia')}", subject="", issuer="")
    ).status == 400
    await eventually(lambda: _one_is_refused(house, one, two))


async def _one_is_refused(house: House, *cookies: str) -> bool:
    return sorted([(await house.ask("/", cookie=cookie)).status for cookie in cookies]) == [200, 401]


async def test_a_persons_page_says_why_they_were_refused(house: House, desk: Desk) -> None:
    mia = await house.session("console", subject="mia", groups=["members"])
    assert (await house.ask("/console/", app="console", cookie=mia)).status == 403
    target = f"/console/person?{person_of(house, 'mia')}"

    async def told() -> list[dict[str, Any]]:
        return [each for each in (await desk.json(target))["events"] if each["event"] == "access.denied"]

    (event,) = await eventually(told)
    assert (event["app"], event["path"], event["rule"]) == ("console", "/console/", "require")
    assert "access.denied" in await desk.html(target)


# --- doors --------------------------------------------------------------------------------------------------------------


async def test_break_glass_is_opened_after_a_second_question_seen_and_closed(house: House, desk: Desk) -> None:
    inside = "X-Forwarded-For: 203.0.113.7\r\n"
    wish = {"app": "portal", "lasting": "10m", "ranges": "203.0.113.0/24", "reason": "provider is down", "despite": ""}
    page = await desk.post("/console/act/open-doors", step="check", **wish)
    assert "Nothing is open yet" in page.body.decode()
    assert (await desk.json("/console/doors"))["open"] == []
    done = await desk.post("/console/act/open-doors", step="open", **wish)
    assert (done.status, done.value("Location")) == (303, "/console/doors")
    (opening,) = (await desk.json("/console/doors"))["open"]
    assert (opening["app"], opening["from"], opening["by"]) == ("portal", "203.0.113.0/24", "Ada Marsh (console)")
    assert "provider is down" in await desk.html("/console/doors")
    await eventually(lambda: _is_open(house, inside))
    assert "provider is down" in await desk.html("/console/act/close-doors?app=portal")
    assert (await desk.post("/console/act/close-doors?app=portal", app="portal")).status == 303
    await eventually(lambda: _is_closed(house, inside))


async def _is_open(house: House, fields: str) -> bool:
    return (await house.ask("/", fields=fields)).status == 200


async def _is_closed(house: House, fields: str) -> bool:
    return (await house.ask("/", fields=fields)).status == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"app": "console"},
        {"app": "x"},
        {"ranges": "0.0.0.0/0"},
        {"ranges": ""},
        {"lasting": "9h"},
        {"lasting": "x"},
        {"reason": " "},
    ],
    ids=str,
)
async def test_an_opening_that_is_not_allowed_says_what_is(house: House, desk: Desk, changed: dict[str, str]) -> None:
    """C-34, C-92: and the console is never opened."""
    wish = {"app": "portal", "lasting": "10m", "ranges": "203.0.113.0/24", "reason": "r", "despite": "", **changed}
    for step in ("check", "open"):
        refused = await desk.post("/console/act/open-doors", step=step, **wish)
        assert refused.status == 400
        assert "allowed:" in refused.body.decode()
    assert (await desk.json("/console/doors"))["open"] == []


async def test_each_password_rule_says_how_often_it_refused_and_when_last(house: House, desk: Desk) -> None:
    numbers, now = NumberStore(house.worker.redis, house.worker.config.redis.key_prefix), utc_now().timestamp()
    rules = {each["name"]: each for each in (await desk.json("/console/doors"))["apps"][0]["rules"]}
    name = next(iter(rules))
    assert (rules[name]["hits"], rules[name]["last_hit"]) == (0, None)
    await numbers.add(now - 86400 * 3, {(EVENTS, "route.blocked", "portal", name): 2})
    await numbers.add(now, {(EVENTS, "route.blocked", "portal", name): 3, (EVENTS, "route.blocked", "other", name): 9})
    rules = {each["name"]: each for each in (await desk.json("/console/doors"))["apps"][0]["rules"]}
    assert rules[name]["hits"] == 5
    assert rules[name]["last_hit"].startswith(str(utc_now().year))
    refused = await house.ask("/x", method="POST", body=b"a=1")
    assert (refused.status, json.loads(refused.body)["code"]) == (403, "password_login_disabled")
    assert any(b'"rule":"password_routes[1]: POST /x"' in line.replace(b'": "', b'":"') for line in house.lines)
    assert "password_routes[1]: POST /x" in rules


async def test_a_probe_runs_against_this_gateway_and_its_report_stays(open_house: OpenHouse) -> None:
    """C-08: a report that another client of Redis wrote is none."""
    apps = {"portal": {"password_routes": [{"match": "POST /x"}]}}
    house = await open_house(console={"require": {"groups": ["staff"]}}, openid=CLOSED, apps=apps)
    desk = Desk(house, await house.session("console", name="Ada Marsh", groups=["staff"]))
    redis, prefix = house.worker.redis, house.worker.config.redis.key_prefix
    facts = {"sentence": "nothing got through", "holes": 0, "rules": [], "requests": [], "at": "", "by": "", "every": 1}
    await redis.set(f"{prefix}probe", json.dumps(facts))
    assert (await desk.json("/console/doors"))["report"] is None
    started = await desk.post("/console/act/probe", every="20")
    assert started.status == 303
    assert (await desk.json("/console/doors"))["running"]["by"] == "Ada Marsh"
    reports = ProbeReports(redis, KeyRing(house.worker.config.keys), prefix)
    await eventually(reports.read)
    report = (await desk.json("/console/doors"))["report"]
    assert (report["holes"], report["by"]) == (0, "Ada Marsh")
    assert "nothing got through" in await desk.html("/console/doors")


async def test_texts_of_rules_reasons_and_names_are_text(house: House, desk: Desk) -> None:
    """C-94."""
    mallory = await house.session(
        subject=SCRIPT, name=SCRIPT, groups=[SCRIPT, "staff"], user_agent=SCRIPT, address=None
    )
    assert mallory
    target = f"/console/person?{person_of(house, SCRIPT)}"
    wish = {"app": "portal", "lasting": "10m", "ranges": "203.0.113.0/24", "reason": SCRIPT, "despite": ""}
    shown = [
        await desk.html("/console/sessions"), await desk.html(target), await desk.html("/console/doors"),
        (await desk.post("/console/act/open-doors", step="check", **wish)).body.decode(),
        await desk.html(f"/console/explain?{urlencode({'url': house.origin(), 'as': SCRIPT, 'body': SCRIPT})}"),
        await desk.html(f"/console/act/end-sessions?{person_of(house, SCRIPT)}"),
    ]  # fmt: skip
    for page in shown:
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page


async def test_explain_answers_as_the_command_does(house: House, desk: Desk) -> None:
    query = urlencode(
        {
            "url": f"{house.origin('console')}/console/act/x",
            "as": "ada@example.com",
            "groups": "staff",
            "signed_in_ago": "1h",
        }
    )
    steps = {each["name"]: each["text"] for each in (await desk.json(f"/console/explain?{query}"))["steps"]}
    assert steps["app"].startswith("console (dashboard)")
    assert "not met" in steps["7 step-up"]
    assert (await desk.json("/console/explain?url=http://nowhere.example/", 400))["problems"][0].startswith(
        "no app has this host"
    )
