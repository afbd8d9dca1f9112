"""What a `hand_off` and `responses` may hold: everything else is refused with what is allowed, before anybody is handed off."""

from typing import Any

import pytest

from tests.unit.config.made import NEXUDUS, problems_with

PLACE = "apps.portal.hand_off"
HTTP: dict[str, Any] = {
    "kind": "http",
    "session_cookies": ["s"],
    "login_pages": ["/login"],
    "redeem": {"path": "/sso?t={token}"},
    "token": {"url": "https://api.example.com/t"},
}
KNOWN: dict[str, Any] = {"kind": "nexudus", "session_cookies": ["s"]}


def problems(hand_off: dict[str, Any], **others: Any) -> list[str]:
    changes = {"apps.portal.hand_off": hand_off, **{name.replace("__", "."): value for name, value in others.items()}}
    return [str(problem) for problem in problems_with(changes)]


def test_what_a_guide_shows_is_good() -> None:
    assert problems(HTTP) == []
    assert problems(KNOWN, directory=NEXUDUS) == []
    assert problems({"kind": "nexudus", "via": "bearer"}, directory=NEXUDUS) == []


@pytest.mark.parametrize("name", ["member_no", "phone2", "x" * 64])
def test_a_placeholder_may_name_every_fact_that_the_directory_may_have(name: str) -> None:
    filled = f"{{directory.{name}}}"
    calls = {
        "redeem": {"path": f"/sso?t={{token}}&n={filled}"},
        "who_am_i": {"path": f"/u/{filled}", "pointer": "/n", "equals": filled},
    }
    assert problems({**HTTP, **calls}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redeem": {"path": "/sso?t={token}&n={directory.2nd}"}}, f"{PLACE}.redeem.path: has an unknown placeholder"),
        ({"session_cookies": []}, f"{PLACE}.session_cookies: is empty, and via is server; allowed: the names"),
        ({"redeem": ...}, f"{PLACE}.redeem: is missing for http; allowed: the request"),
        ({"login_pages": []}, f"{PLACE}.login_pages: is empty, and on_401 is off"),
        ({"token": ...}, f"{PLACE}.token: is missing, and directory.kind is none"),
        ({"via": "browser", "redeem": {"path": "/sso/{token}"}}, f"{PLACE}.redeem: is no link that a browser can be sent through"),
        ({"via": "browser", "redeem": {"method": "POST", "path": "/sso?t={token}"}}, f"{PLACE}.redeem: is no link that a browser"),
        ({"token": {"url": "http://api.example.com/t"}}, f"{PLACE}.token.url: is http to another machine"),
        ({"token": {"url": "https://{email}/t"}}, f"{PLACE}.token.url: is not a URL; allowed: an https URL"),
        ({"token": {"url": "https://api.example.com/{what}"}}, f"{PLACE}.token.url: has an unknown placeholder"),
        ({"token": {"url": "https://a.example/", "form": {}, "json": {}}}, f"{PLACE}.token: has form and json; allowed: one of them"),
        ({"token": {"url": "https://a.example/", "method": "GET", "json": {}}}, f"{PLACE}.token.method: is GET, with a body"),
        ({"token": {"url": "https://a.example/", "pointer": "token"}}, f"{PLACE}.token.pointer: is not a JSON pointer"),
        ({"token": {"url": "https://a.example/", "headers": {"Host": "x"}}}, f"{PLACE}.token.headers.Host: is not a header that can be given here"),
        ({"redeem": {"path": "https://x/"}}, f"{PLACE}.redeem.path: is not a path; allowed: a path that may hold"),
        ({"redeem": {"path": "//x"}}, f"{PLACE}.redeem.path: is not a path"),
        ({"login_pages": ["login"]}, f"{PLACE}.login_pages[0]: "),
        ({"most": 0}, f"{PLACE}.most: is out of bounds; allowed: 1 to 100"),
        ({"session_cookies": ["a b"]}, f"{PLACE}.session_cookies[0]: is not a cookie's name"),
        ({"session_cookies": ["__Host-doorward_session"]}, f"{PLACE}.session_cookies[0]: is a cookie of Doorward's own"),
        ({"who_am_i": {"path": "/me"}}, f"{PLACE}.who_am_i.pointer: is missing"),
        ({"via": "post"}, f"{PLACE}.via: is not one of the choices; allowed: server, bearer, browser"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(changes: dict[str, Any], said: str) -> None:
    given = {name: value for name, value in {**HTTP, **changes}.items() if value is not ...}
    (problem,) = problems(given)
    place, _, words = said.partition(": ")
    assert problem.startswith(f"{place}: ")
    assert words in problem


def test_a_hand_off_needs_somebody_who_signed_in() -> None:
    assert any("no person signs in" in said for said in problems(HTTP, openid__enabled=False))


def test_a_cookie_is_a_session_or_a_rival() -> None:
    (said,) = problems(HTTP, apps__portal__responses={"drop_cookies": ["s"]})
    assert said.startswith(f"{PLACE}.session_cookies: names s, which responses.drop_cookies takes away")


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "p{",
        "a;b",
        "</style>",
        '[a="</style>"]',
        "x<y",
        "@import",
        "a /* b",
        "a\\b",
        '[a="b]',
        "a[b",
        "a)b",
        "[a)",
        "a\nb",
        "a" * 301,
        "'",
    ],
)
def test_a_selector_cannot_end_the_rule_that_it_stands_in(selector: str) -> None:
    """C-38."""
    (problem,) = problems_with({"apps.portal.responses": {"hide": [selector]}})
    assert problem.key == "apps.portal.responses.hide[0]"


@pytest.mark.parametrize(
    "selector", ["form#login", 'a[href*="forgot;{}"]', ":is(.a, .b) > input[type='password']", "größe", "*"]
)
def test_selectors_that_people_write_are_taken(selector: str) -> None:
    assert problems_with({"apps.portal.responses": {"hide": [selector]}}) == []
