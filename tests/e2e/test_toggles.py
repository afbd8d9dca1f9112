"""The toggle table, row by row: a person whom the provider knows and the directory does not.

`portal` asks everybody to sign in; `open` is the same portal for those who may still use its own password login.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from gateway.demo.people import MEMBER, NEWCOMER
from tests.e2e.conftest import OpenDoor, Snap
from tests.e2e.stack import Door
from tests.e2e.steps import cookies_of, shows, visit_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    create_users: bool
    prevent: bool
    sso_only: Literal["create", "refuse"] | None = None
    outcome: Literal["refused", "created"]

    @property
    def openid(self) -> dict[str, Any]:
        given = {"create_users": self.create_users, "prevent_password_login": self.prevent}
        return given | {"prevent_dashboard_password_login": self.prevent, "unregistered_when_sso_only": self.sso_only}


ROWS = (
    Row(name="create off, passwords open", create_users=False, prevent=False, outcome="refused"),
    Row(name="create on, passwords open", create_users=True, prevent=False, outcome="created"),
    Row(name="create off, passwords closed", create_users=False, prevent=True, outcome="refused"),
    Row(name="both on, refuse", create_users=True, prevent=True, sso_only="refuse", outcome="refused"),
    Row(name="both on, left out", create_users=True, prevent=True, outcome="refused"),
    Row(name="both on, create", create_users=True, prevent=True, sso_only="create", outcome="created"),
)


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name.replace(", ", "-").replace(" ", "-"))
def row(request: pytest.FixtureRequest) -> Row:
    assert isinstance(request.param, Row)
    return request.param


@pytest.fixture(scope="module")
def door(row: Row, open_door: OpenDoor) -> Door:
    return open_door("row-" + row.name.replace(", ", "-").replace(" ", "-"), row.openid)


def test_an_unregistered_person_is_treated_as_the_row_says(row: Row, door: Door, page: Page, snap: Snap) -> None:
    link = door.origin("portal") + "/bookings"
    visit_as(page, link, NEWCOMER)
    if row.outcome == "created":
        expect(page).to_have_url(link)
        shows(page, NEWCOMER.name)
    else:
        shows(page, "not registered")
        cookies = cookies_of(page.context, link)
        assert door.ask("portal", "/api/rooms", headers={"Cookie": cookies}).status == 401
    snap(page, f"unregistered - {row.name}")
    assert door.behind.accounts(NEWCOMER.email) == (1 if row.outcome == "created" else 0)


def test_a_registered_person_is_let_in_under_every_row(row: Row, door: Door, page: Page) -> None:
    visit_as(page, door.origin("portal") + "/bookings", MEMBER)
    expect(page).to_have_url(door.origin("portal") + "/bookings")
    assert door.behind.accounts(MEMBER.email) == 1


def test_the_portals_own_password_login_is_open_or_closed_as_the_row_says(row: Row, door: Door, page: Page) -> None:
    credentials = f"grant_type=password&username={MEMBER.email}&password={MEMBER.password}".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = door.ask("open", "/api/token", method="POST", headers=form, body=credentials)
    page.goto(door.origin("open") + "/login")
    if row.prevent:
        assert answer.status == 403
        assert json.loads(answer.body)["code"] == "password_login_disabled"
        assert door.behind.portal.password_visits == 0
        assert not page.url.startswith(door.origin("open") + "/login")
    else:
        assert answer.status == 200
        assert door.behind.portal.password_logins == 1
        expect(page.locator("input[type=password]").first).to_be_visible()
