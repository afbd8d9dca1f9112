"""Where an upstream's redirect leads."""

import pytest

from gateway.config.sections.hand_off import HandOff
from gateway.hand_off.plan import resolve, upstream_hosts
from gateway.hand_off.records import RedeemingRoute
from gateway.hand_off.redirects import LoginPages, local_target
from gateway.policy.paths import parse_target

HOST = "portal.example.com"
PAGES = LoginPages(["/login", "/account/sign*", "https://accounts.example.com/login"], ("127.0.0.1:8001",))


@pytest.mark.parametrize(
    "location",
    [
        "/login", "/login?ReturnUrl=%2F", "/LOGIN/", "/en/login", "/pt-br/Login", "login", "../login", "/account/signin", "//portal.example.com/login",
        "https://portal.example.com/login?x", "http://portal.example.com/login", "http://127.0.0.1:8001/login", "https://accounts.example.com/login?client=7",
        "https://accounts.example.com/login/",
    ],
)  # fmt: skip
def test_a_login_page_is_known_however_it_is_written(location: str) -> None:
    assert PAGES.are_at(location.encode(), b"/bookings", HOST)


@pytest.mark.parametrize(
    "location",
    ["/", "/logins", "/x/login", "https://evil.example/login", "//evil.example/login", "/\\login", "https://accounts.example.com/login/x", "", "javascript:/login", "/%2e%2e/%2flogin"],
)  # fmt: skip
def test_other_places_are_no_login_page(location: str) -> None:
    assert not PAGES.are_at(location.encode(), b"/bookings", HOST)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x?a=1", b"/x?a=1"), ("y", b"/a/y"), ("?q", b"/a/b?q"), ("https://portal.example.com", b"/"), ("//evil.example/", None), ("http:evil", b"/a/evil"),
        ("https://user@portal.example.com/", None), ("ftp://portal.example.com/", None), ("/\t/evil.example", None), ("/%2f/x", None), ("/é", None),
        ("/a\tb", None), (" /x", None), ("/x ", None), ("\x01/x", None), ("/x?a=\\b", None), ("/x?a=\tb", None), ("\\x", None), ("/x\r\n", None),
    ],
)  # fmt: skip
def test_a_location_on_the_upstream_is_a_canonical_target(location: str, target: bytes | None) -> None:
    """A-50."""
    found = local_target(location.encode(), b"/a/b", (HOST,))
    assert (None if found is None else found.wire()) == target


@pytest.mark.parametrize(
    ("page", "after"),
    [
        ("/login?ReturnUrl=%2Fbookings%3Fday%3D1", b"/bookings?day=1"), ("/login?next=/x&ReturnUrl=/y", b"/x"), ("/login", b"/"), ("/login?ReturnUrl=/login", b"/"),
        ("/login?ReturnUrl=https://portal.example.com/z", b"/z"), ("/login?ReturnUrl=//evil.example/", b"/"), ("/login?ReturnUrl=/\\evil.example", b"/"),
        ("/login?next=https://evil.example/&continue_to=/ok", b"/ok"), ("/login?other=/x", b"/"), ("/login?" + "a=1&" * 300 + "next=/x", b"/"),
    ],
)  # fmt: skip
def test_a_login_page_leads_on_to_a_page_of_ours(page: str, after: bytes) -> None:
    """A-50."""
    assert PAGES.after(parse_target(page.encode()), HOST) == after


def test_the_redeeming_route_holds_the_parameter_of_the_token() -> None:
    """C-12."""
    route = RedeemingRoute("/en/user/login?t={token}&redirectUrl={return_to}")
    assert route.parameter == "t"
    for target in (
        "/en/user/login?t=x",
        "/user/login?t=x",
        "/fr/User/Login/?a=1&T=x",
        "/user/login.aspx?%74=x",
        "/user/login;a=1?t=",
    ):
        assert route.holds(parse_target(target.encode())), target
    for target in ("/user/login", "/user/login?x=t", "/user/other?t=x"):
        assert not route.holds(parse_target(target.encode())), target
    assert route.token_of(parse_target(b"/user/login?t=a%2Bb&x=1")) == "a+b"
    assert route.token_of(parse_target(b"/user/login?t=a&t=b")) is None


def test_a_token_in_the_path_or_body_closes_the_path() -> None:
    """C-12."""
    assert RedeemingRoute("/sso/{token}").holds(parse_target(b"/sso/anything"))
    assert RedeemingRoute("/internal").holds(parse_target(b"/INTERNAL/"))
    assert not RedeemingRoute("/sso/{token}").holds(parse_target(b"/sso"))


def test_nexudus_is_filled_in_where_the_file_says_nothing() -> None:
    plan = resolve(HandOff(kind="nexudus", session_cookies=("s",)))
    assert (plan.redeem.path.partition("?")[0], plan.log_out, plan.needs_token) == (
        "/en/user/login",
        "/login/logout",
        True,
    )
    assert [one.pointer for one in plan.who_am_i] == ["/Id", "/Email"]
    assert plan.login_pages.hold(parse_target(b"/en/signin"))
    own = resolve(HandOff(kind="nexudus", via="bearer", who_am_i=None, log_out=None, login_pages=("/x",)))
    assert (own.redeem.method, own.who_am_i, own.log_out, own.on_401) == ("POST", (), None, True)
    assert not own.login_pages.hold(parse_target(b"/signin"))


def test_an_upstream_is_known_by_its_addresses() -> None:
    assert upstream_hosts(("http://127.0.0.1:8001", "unix:/run/x.sock", "https://Up.example")) == (
        "127.0.0.1:8001",
        "up.example",
    )
