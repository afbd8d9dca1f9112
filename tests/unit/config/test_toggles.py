"""The toggle table, every row, on every surface."""

from itertools import product
from typing import Any

import pytest

from gateway.config.schema import OpenID, Surface
from gateway.config.toggles import password_routes_closed, registration, toggle_table
from tests.unit.config.made import NEXUDUS, config_with

ROWS = [
    # create_users, prevent_password_login, unregistered_when_sso_only -> a stranger on the portal, its doors
    (False, False, None, "refuse", False),
    (True, False, None, "create", False),
    (False, True, None, "refuse", True),
    (True, True, None, "refuse", True),
    (True, True, "refuse", "refuse", True),
    (True, True, "create", "create", True),
    (False, True, "create", "refuse", True),
    (True, False, "refuse", "create", False),
]


@pytest.mark.parametrize(("create", "prevent", "said", "stranger", "closed"), ROWS)
def test_the_portal_follows_its_row(create: bool, prevent: bool, said: Any, stranger: str, closed: bool) -> None:
    openid = OpenID(create_users=create, prevent_password_login=prevent, unregistered_when_sso_only=said)
    for surface in ("portal", "shared"):
        assert registration(openid, surface) == stranger
        assert password_routes_closed(openid, surface) is closed


@pytest.mark.parametrize(("create", "portal", "dashboard"), list(product((False, True), repeat=3)))
def test_a_dashboard_never_asks_the_directory_and_follows_its_own_toggle(
    create: bool, portal: bool, dashboard: bool
) -> None:
    openid = OpenID(create_users=create, prevent_password_login=portal, prevent_dashboard_password_login=dashboard)
    assert registration(openid, "dashboard") == "skip"
    assert password_routes_closed(openid, "dashboard") is dashboard
    assert password_routes_closed(openid, "portal") is portal
    assert password_routes_closed(openid, "shared") is (portal or dashboard)


@pytest.mark.parametrize("surface", ["portal", "dashboard", "shared"])
def test_switched_off_asks_nobody_and_opens_every_door(surface: Surface) -> None:
    openid = OpenID(
        enabled=False, create_users=True, prevent_password_login=True, prevent_dashboard_password_login=True
    )
    assert registration(openid, surface) == "skip"
    assert not password_routes_closed(openid, surface)


def test_without_a_directory_everyone_counts_as_registered() -> None:
    assert registration(OpenID(), "portal", "none") == "skip"


def table(openid: dict[str, Any], **app: Any) -> tuple[str, str]:
    changes = {f"openid.{name}": value for name, value in openid.items()} | {"directory": NEXUDUS}
    changes |= {f"apps.portal.{name}": value for name, value in app.items()}
    (row,) = toggle_table(config_with(changes))
    return row.unregistered, row.password_routes


@pytest.mark.parametrize(
    ("openid", "stranger", "doors"),
    [
        ({"enabled": False}, "not asked: requests pass without identity", "open"),
        ({}, 'refused: 403 page "not registered"', "open"),
        ({"create_users": True}, "created, let in", "open"),
        ({"prevent_password_login": True}, 'refused: 403 page "not registered"', "refused for everyone"),
        (
            {"create_users": True, "prevent_password_login": True},
            "refused: create_users and prevent_password_login are both on (unregistered_when_sso_only: left out)",
            "refused for everyone",
        ),
        (
            {"create_users": True, "prevent_password_login": True, "unregistered_when_sso_only": "refuse"},
            "refused: create_users and prevent_password_login are both on (unregistered_when_sso_only: refuse)",
            "refused for everyone",
        ),
        (
            {"create_users": True, "prevent_password_login": True, "unregistered_when_sso_only": "create"},
            "created, let in",
            "refused for everyone",
        ),
    ],
)
def test_the_table_says_every_row_in_words(openid: dict[str, Any], stranger: str, doors: str) -> None:
    assert table(openid, password_routes="nexudus", unauthenticated="pass") == (stranger, doors)


def test_the_table_says_what_holds_an_open_or_a_closed_door_back() -> None:
    assert table({})[1] == "open to those who are signed in (unauthenticated: sign_in)"
    assert (
        table({"prevent_password_login": True})[1]
        == "no password_routes are named: only HTTP Basic and its like are refused"
    )


def test_the_table_has_a_row_an_app_in_the_files_order() -> None:
    changes = {
        "openid.prevent_dashboard_password_login": True,
        "apps.admin": {
            "surface": "dashboard",
            "hosts": ["admin.example.com"],
            "upstream": "http://127.0.0.1:1",
            "password_routes": "nexudus",
        },
    }
    portal, admin = toggle_table(config_with(changes))
    assert (portal.app, portal.surface, portal.registration, portal.password_routes_closed) == (
        "portal",
        "portal",
        "skip",
        False,
    )
    assert portal.unregistered == "let in: with directory.kind none everyone the provider knows counts as registered"
    assert (admin.app, admin.surface, admin.registration, admin.password_routes_closed) == (
        "admin",
        "dashboard",
        "skip",
        True,
    )
    assert admin.unregistered == "not asked: on dashboards `require` decides, and nothing is created"
