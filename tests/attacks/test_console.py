"""The console: who gets to its pages, by the door and around it; forms of other sites; texts of strangers."""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.break_glass.store import Openings
from gateway.console.app import ConsoleApp
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.identity.assertion import AssertionSigner
from gateway.identity.claims import Identity
from gateway.policy.break_glass import Opening, parse_range
from gateway.runtime.console_listener import ConsoleListener
from gateway.sessions.keyring import KeyRing, new_key
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import ADA, MisbehavingProvider
from tests.fakes.waiting import eventually
from tests.fakes.wire import WireResponse, unix_exchange
from tests.flows.conftest import OpenHouse

CONSOLE: dict[str, Any] = {"require": {"groups": ["staff"]}, "roles": {"act": {"groups": ["lead"]}}}
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
STAFF = Identity(issuer="https://login.example.com/", subject="ada", name="Ada Marsh", groups=("staff",))
LEAD = Identity(issuer="https://login.example.com/", subject="lea", name="Lea", groups=("staff", "lead"))


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(console=CONSOLE)


def ring_of(house: House) -> KeyRing:
    return KeyRing(house.worker.config.keys)


def signed(house: House, who: Identity = STAFF, **otherwise: Any) -> str:
    """The assertion of a request to the console; `otherwise` replaces what the signer is given, `keys` its ring."""
    keys = otherwise.pop("keys", ring_of(house).raw)
    facts = {
        "issuer": house.origin("console"),
        "audience": "console",
        "sid": "s1",
        "now": datetime.now(UTC),
        **otherwise,
    }
    return AssertionSigner(keys).sign(who, **facts).token.decode()


async def around_the_door(
    house: House, fields: str, *, target: str = "/console/", method: str = "GET", host: str = "", body: bytes = b""
) -> WireResponse:
    """One request on the console's socket itself."""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host or house.host('console')}\r\nConnection: close\r\n{fields}"
    head += f"Content-Length: {len(body)}\r\n" if body else ""
    upstream = house.worker.config.apps["console"].upstream[0]
    return await unix_exchange(upstream.removeprefix("unix:"), f"{head}\r\n".encode() + body)


def denied(house: House) -> list[str]:
    events = [json.loads(line) for line in house.lines if b'"console.denied"' in line]
    return [event["reason"] for event in events]


# --- by the door --------------------------------------------------------------------------------------------------------


async def test_a_stranger_is_asked_to_sign_in_and_a_program_gets_401(house: House) -> None:
    """C-92."""
    refused = await house.ask("/console/", app="console", fields="Accept: application/json\r\n")
    assert refused.status == 401
    assert json.loads(refused.body)["code"] == "login_required"
    assert b"Overview" not in refused.body


async def test_a_member_is_refused_and_an_operator_is_let_in(house: House) -> None:
    """C-92: by the console's `require`; a session of another app is none here."""
    member = await house.session("console", groups=["members"])
    refused = await house.ask("/console/", app="console", cookie=member, fields=BROWSER)
    assert refused.status == 403
    portal = await house.session("portal", groups=["staff"])
    assert (await house.ask("/console/", app="console", cookie=portal)).status == 401
    operator = await house.session("console", groups=["staff"], name="Ada Marsh")
    shown = await house.ask("/console/", app="console", cookie=operator, fields=BROWSER)
    assert shown.status == 200
    assert "<h1>Overview</h1>" in shown.body.decode()
    assert "Ada Marsh" in shown.body.decode()


async def test_an_operator_in_hundreds_of_groups_has_the_roles_of_those_that_the_console_names(house: House) -> None:
    """C-92: the assertion has a limit, and the groups that matter here are not crowded out by the others."""
    others = [f"a-group-of-the-company-{number:04}" for number in range(300)]
    crowd = await house.session("console", groups=[*others, "staff", "lead"])
    assert (await house.ask("/console/", app="console", cookie=crowd, fields=BROWSER)).status == 200
    assert (await house.ask("/console/act/none", app="console", cookie=crowd)).status == 404
    member = await house.session("console", groups=others)
    assert (await house.ask("/console/", app="console", cookie=member, fields=BROWSER)).status == 403
    assert denied(house) == []  # the gate refused, before the console


async def test_identity_fields_of_a_client_make_no_operator(house: House) -> None:
    """C-92: the assertion is the door's, whatever a client sends."""
    member = await house.session("console", groups=["members"])
    forged = f"X-Doorward-Jwt-Assertion: {signed(house)}\r\nX-Forwarded-Groups: staff\r\nX-Forwarded-User: ada\r\n"
    assert (await house.ask("/console/", app="console", cookie=member, fields=forged)).status == 403
    assert (await house.ask("/console/", app="console", fields=forged)).status == 401


async def test_a_role_is_asked_for_with_a_fresh_sign_in(house: House) -> None:
    """C-92: `roles.act` by groups, and not with a sign-in of an hour ago."""
    operator = await house.session("console", groups=["staff"])
    assert (await house.ask("/console/act/none", app="console", cookie=operator)).status == 403
    lead = await house.session("console", groups=["staff", "lead"])
    assert (await house.ask("/console/act/none", app="console", cookie=lead)).status == 404
    stale = await house.session("console", groups=["staff", "lead"], auth_time=datetime.now(UTC) - timedelta(hours=1))
    refused = await house.ask("/console/act/none", app="console", cookie=stale)
    assert (refused.status, json.loads(refused.body)["code"]) == (401, "insufficient_user_authentication")


async def test_openid_off_opens_the_apps_and_not_the_console(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """C-92: it keeps its provider and its sign-in."""
    house = await open_house(console=CONSOLE, openid={"enabled": False}, provider=provider)
    assert (await house.ask("/")).status == 200
    assert (await house.ask("/console/", app="console")).status == 401
    await eventually(lambda: house.worker.providers["openid"].provider.ready)
    browser = house.browser()
    answer = await house.sign_in(browser, ADA["sub"], at="/", app="console")
    assert answer.status == 200
    assert "<h1>Overview</h1>" in answer.text


async def test_break_glass_admits_no_request_to_the_console(house: House) -> None:
    """C-92: not even by a record that the ring sealed."""
    now = datetime.now(UTC)
    opening = Opening(
        id="x", app="console", networks=(parse_range("127.0.0.1/32"),), opened_at=now, ends_at=now + timedelta(hours=1),
        reason="-", by="-",
    )  # fmt: skip
    openings = Openings(house.worker.redis, ring_of(house), house.worker.config.redis.key_prefix)
    portal = Opening(**{**{name: getattr(opening, name) for name in opening.__slots__}, "app": "portal", "id": "y"})
    await openings.write(opening, now)
    await openings.write(portal, now)
    await eventually(lambda: {each["app"] for each in house.worker.break_glass.open_now} == {"portal"})
    assert (await house.ask("/")).status == 200
    assert (await house.ask("/console/", app="console")).status == 401


# --- around the door ----------------------------------------------------------------------------------------------------


async def test_the_assertion_of_the_door_is_believed(house: House) -> None:
    assert (await around_the_door(house, f"X-Doorward-Jwt-Assertion: {signed(house)}\r\n")).status == 200


async def test_no_assertion_and_a_wrong_one_are_refused(house: House) -> None:
    """C-90: forged, old, early, of another app, of another host, twice, without a signature, by plain fields."""
    now = datetime.now(UTC)
    good = signed(house)
    head, payload, signature = good.split(".")
    field = "X-Doorward-Jwt-Assertion"
    attempts = {
        "plain": "X-Forwarded-User: ada\r\nX-Forwarded-Groups: staff\r\n",
        "forged": f"{field}: {signed(house, keys=KeyRing([new_key()]).raw)}\r\n",
        "old": f"{field}: {signed(house, now=now - timedelta(minutes=6))}\r\n",
        "early": f"{field}: {signed(house, now=now + timedelta(minutes=1))}\r\n",
        "another app's": f"{field}: {signed(house, audience='portal')}\r\n",
        "another host's": f"{field}: {signed(house, issuer=house.origin())}\r\n",
        "twice": f"{field}: {good}\r\n{field}: {good}\r\n",
        "unsigned": f"{field}: eyJhbGciOiJub25lIn0.{payload}.\r\n",
        "altered": f"{field}: {head}.{payload[:-2]}.{signature}\r\n",
    }
    found = {name: (await around_the_door(house, fields)).status for name, fields in attempts.items()}
    assert found == dict.fromkeys(attempts, 403)
    assert denied(house) == ["assertion"] * len(attempts)


async def test_an_assertion_of_any_key_of_the_ring_is_believed(open_house: OpenHouse) -> None:
    """C-90: during a rotation workers of two configurations sign."""
    keys = [new_key(), new_key()]
    house = await open_house(console=CONSOLE, keys=keys)
    older = signed(house, keys=KeyRing(keys[1:]).raw)
    assert (await around_the_door(house, f"X-Doorward-Jwt-Assertion: {older}\r\n")).status == 200


async def test_a_host_that_is_not_the_consoles_is_refused(house: House) -> None:
    """C-91: a page of an app's origin could read and click there."""
    fields = f"X-Doorward-Jwt-Assertion: {signed(house, issuer=house.origin())}\r\n"
    assert (await around_the_door(house, fields, host=house.host())).status == 403
    assert denied(house) == ["host"]


async def test_a_person_without_the_role_is_refused_around_the_door_too(house: House) -> None:
    """C-92."""
    member = Identity(issuer="https://login.example.com/", subject="mia", groups=("members",))
    assert (await around_the_door(house, f"X-Doorward-Jwt-Assertion: {signed(house, member)}\r\n")).status == 403
    act = await around_the_door(house, f"X-Doorward-Jwt-Assertion: {signed(house)}\r\n", target="/console/act/x")
    assert act.status == 403
    assert denied(house) == ["role", "role"]


async def test_settings_that_are_read_only_are_nobodys_to_edit(open_house: OpenHouse) -> None:
    """C-92."""
    house = await open_house(console={**CONSOLE, "settings": "read_only"})
    fields = f"X-Doorward-Jwt-Assertion: {signed(house, LEAD)}\r\n"
    assert (await around_the_door(house, fields, target="/console/settings/edit/x")).status == 403
    assert denied(house) == ["read_only"]


def test_the_sockets_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """C-91: in `$RUNTIME_DIRECTORY` too, which others may enter; nothing is left of it."""
    tmp_path.chmod(0o755)
    listener = ConsoleListener({"RUNTIME_DIRECTORY": f"{tmp_path}:/elsewhere"})
    path = Path(listener.open().getsockname())
    assert path.parent.parent == tmp_path
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    listener.close()
    assert list(tmp_path.iterdir()) == []


# --- forms --------------------------------------------------------------------------------------------------------------


class Board:
    """A console of one page that counts its changes, on a socket of its own."""

    def __init__(self, house: House, folder: Path, uid: int | None = None) -> None:
        self.changes = 0
        self.path = str(folder / "board.sock")
        self._house = house
        page = Page(
            path="/console/act/board", title="Board", template="refusal.html", show=self._show, change=self._change
        )
        parts = ConsoleParts(
            config=house.worker.config, redis=house.worker.redis, ring=ring_of(house), audit=house.worker.audit,
            now=lambda: datetime.now(UTC),
        )  # fmt: skip
        self._runner = web.AppRunner(ConsoleApp(parts, [page], uid=uid).build())

    async def start(self) -> None:
        await self._runner.setup()
        await web.UnixSite(self._runner, self.path).start()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _show(self, request: ConsoleRequest, parts: ConsoleParts) -> View:
        name = request.query.one("name") or ""
        return View(data={"title": name, "message": request.operator.label, "code": name, "request_id": name})

    async def _change(self, request: ConsoleRequest, parts: ConsoleParts) -> View:
        self.changes += 1
        return View(location="/console/act/board")

    async def send(
        self, who: Identity = LEAD, fields: str = "", body: bytes = b"", *, sid: str = "s1", target: str = ""
    ) -> WireResponse:
        method = "POST" if body else "GET"
        head = f"{method} /console/act/board{target} HTTP/1.1\r\nHost: {self._house.host('console')}\r\nConnection: close\r\n"
        head += f"X-Doorward-Jwt-Assertion: {signed(self._house, who, sid=sid)}\r\n{fields}"
        head += f"Content-Length: {len(body)}\r\n" if body else ""
        return await unix_exchange(self.path, f"{head}\r\n".encode() + body)

    async def token(self, sid: str = "s1") -> bytes:
        shown = await self.send(fields="Accept: application/json\r\n", sid=sid)
        return f"csrf={json.loads(shown.body)['csrf']}".encode()


@pytest.fixture
async def board(house: House, tmp_path: Path) -> AsyncIterator[Board]:
    board = Board(house, tmp_path)
    await board.start()
    yield board
    await board.close()


async def test_a_form_of_this_session_is_taken(house: House, board: Board) -> None:
    answer = await board.send(fields=FORM + f"Origin: {house.origin('console')}\r\n", body=await board.token())
    assert (answer.status, answer.value("Location"), board.changes) == (303, "/console/act/board", 1)


async def test_a_form_of_another_site_or_session_changes_nothing(house: House, board: Board) -> None:
    """C-93: another origin, no token, another session's, twice, another type of body, a GET with the form's fields."""
    token = await board.token()
    others = await board.token(sid="s2")
    tried = [
        await board.send(fields=FORM + "Origin: https://evil.example\r\n", body=token),
        await board.send(fields=FORM + "Origin: null\r\n", body=token),
        await board.send(fields=FORM + "Sec-Fetch-Site: cross-site\r\n", body=token),
        await board.send(fields=FORM + "Sec-Fetch-Site: same-site\r\n", body=token),
        await board.send(fields=FORM, body=b"x=1"),
        await board.send(fields=FORM, body=others),
        await board.send(fields=FORM, body=token + b"&" + token),
        await board.send(fields="Content-Type: text/plain\r\n", body=token),
        await board.send(fields=FORM, body=token, who=STAFF),
    ]
    assert [answer.status for answer in tried] == [403] * 7 + [400, 403]
    assert (await board.send(target="?" + token.decode())).status == 200
    assert board.changes == 0
    assert denied(house) == ["origin"] * 4 + ["csrf"] * 3 + ["role"]


async def test_a_form_that_says_that_it_is_compressed_is_no_defect(house: House) -> None:
    """C-93: nothing is decompressed, so that no short body becomes a long one; what is there has no token."""
    lead = await house.session("console", groups=["staff", "lead"])
    fields = FORM + "Content-Encoding: gzip\r\n"
    answer = await house.ask(
        "/console/act/close-doors", app="console", method="POST", cookie=lead, fields=fields, body=b"app=portal"
    )
    assert answer.status == 403
    assert denied(house) == ["csrf"]


async def test_a_process_of_another_user_is_refused(house: House, tmp_path: Path) -> None:
    """C-91: with a good assertion too."""
    board = Board(house, tmp_path, uid=os.geteuid() + 1)
    await board.start()
    try:
        assert (await board.send()).status == 403
    finally:
        await board.close()
    assert denied(house) == ["peer"]


# --- texts of strangers -------------------------------------------------------------------------------------------------


async def test_names_and_parameters_are_text_on_every_page(house: House, board: Board) -> None:
    """C-94: a person called <script>, and a policy under which no inline script would run."""
    script = '"><script>alert(1)</script>'
    person = Identity(issuer="https://login.example.com/", subject="x", name=script, groups=("staff", "lead"))
    shown = await board.send(person, target="?name=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    page = shown.body.decode()
    assert shown.status == 200
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "unsafe" not in (shown.value("Content-Security-Policy") or "unsafe")
    assert re.findall(r"<script(?![^>]* src=\"/console/static/)", page) == []
