"""Where a person may be sent: own spellings of open redirects, look-alike hosts, and what must go on working."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.sign_in.return_to import LONGEST, Destination, ReturnGuard, is_local, parse_return_to
from tests.fakes.redirects import EVIL, spellings
from tests.unit.web.made import DASHBOARD_ORIGIN, PORTAL, PORTAL_ORIGIN, made_sites

SITES = made_sites()
GUARD = ReturnGuard(SITES)
ORIGINS = [PORTAL_ORIGIN, DASHBOARD_ORIGIN]
EVERY_SPELLING = spellings(PORTAL)


def to(text: str) -> str:
    return GUARD.destination(text, PORTAL).url


def stays(url: str) -> bool:
    """A Location that no browser reads as another site: one slash, then neither slash nor backslash, nothing a parser drops."""
    return re.fullmatch(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?", url) is not None


def test_the_corpus_is_large() -> None:
    assert len(EVERY_SPELLING) >= 150


@pytest.mark.parametrize("spelling", EVERY_SPELLING)
def test_no_spelling_of_rd_leads_off_our_origin(spelling: str) -> None:
    """A-50."""
    assert stays(to(spelling))


@pytest.mark.parametrize("spelling", EVERY_SPELLING)
def test_no_spelling_leads_off_our_origin_when_it_is_decoded_once_more(spelling: str) -> None:
    """A-50: raw, and percent-decoded."""
    assert stays(to(unquote(spelling)))


@given(st.text(alphabet=st.sampled_from("/\\\t\n\r %.:@?#;evil2f5c09\u3002\uff0f"), max_size=24))
@example("/\t/evil.example")
@example("/.//evil.example")
def test_whatever_passes_stays_on_our_origin(text: str) -> None:
    """A-50, D-02."""
    assert stays(to(text))


@given(st.text(alphabet=st.sampled_from("/\\abc%.?#;= é2f"), max_size=24))
def test_what_passes_passes_again_unchanged(text: str) -> None:
    once = to("/" + text)
    assert to(once) == once


@pytest.mark.parametrize(
    "url",
    [
        "https://badportal.example.com/",
        f"https://{PORTAL}.evil.example/",
        f"https://{PORTAL}@evil.example/",
        f"https://evil.example\\@{PORTAL}/",
        f"https://{PORTAL}:443@evil.example/",
        f"https://user@{PORTAL}/",
        f"http://{PORTAL}/",
        f"https://{PORTAL}:8443/",
        "https://example.com/",
        "https://other.example.com/",
    ],
)
def test_a_host_that_only_looks_like_a_configured_one_is_refused(url: str) -> None:
    """A-51."""
    assert parse_return_to(url, own=PORTAL_ORIGIN, origins=ORIGINS) is None


@pytest.mark.parametrize(
    ("rd", "lands"),
    [
        ("/", "/"),
        ("/bookings?day=2026-09-01&room=a%2Fb", "/bookings?day=2026-09-01&room=a%2Fb"),
        ("/bookings#today", "/bookings#today"),
        ("/a?b#c?d#e", "/a?b#c?d%23e"),
        ("/search?q=two words", "/search?q=two%20words"),
        ("/search?q=back\\slash", "/search?q=back%5Cslash"),
        ("/caf\u00e9", "/caf%C3%A9"),
        ("/x?next=https://evil.example/", "/x?next=https://evil.example/"),
        ("/x?//evil.example", "/x?//evil.example"),
        (f"{PORTAL_ORIGIN}/bookings", "/bookings"),
        (f"HTTPS://{PORTAL.upper()}:443/Bookings?x#y", "/Bookings?x#y"),
        (f"{PORTAL_ORIGIN}", "/"),
        (f"{PORTAL_ORIGIN}?x=1", "/?x=1"),
        (f"{PORTAL_ORIGIN}//evil.example", "/evil.example"),
        (f"{DASHBOARD_ORIGIN}/x?y", f"{DASHBOARD_ORIGIN}/x?y"),
    ],
)
def test_a_deep_link_comes_back_whole(rd: str, lands: str) -> None:
    assert to(rd) == lands


@pytest.mark.parametrize("rd", ["/login", "/LOGIN/", "/de/login", "/login;x=1", "/%6cogin"])
def test_a_page_behind_a_closed_password_door_becomes_the_start_page(rd: str) -> None:
    assert to(rd) == "/"


def test_the_same_page_of_another_app_without_doors_does_not() -> None:
    assert to(f"{DASHBOARD_ORIGIN}/login") == f"{DASHBOARD_ORIGIN}/login"


@pytest.mark.parametrize(
    "rd", ["/oauth2/sign_out", "/oauth2/start?rd=/x", "/OAuth2/Callback", "/.well-known/doorward/jwks.json"]
)
def test_a_page_of_ours_is_no_place_to_return_to(rd: str) -> None:
    assert to(rd) == "/"


def test_a_destination_longer_than_a_cookie_allows_becomes_the_start_page() -> None:
    assert to("/" + "a" * (LONGEST - 1)) == "/" + "a" * (LONGEST - 1)
    assert to("/" + "a" * LONGEST) == "/"


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "/\\evil.example",
        "///x",
        " /x",
        "/x ",
        "/x#a\tb",
        "/x?a\nb",
        "/x#\x7f",
        "\n/x",
        "/a/../../x",
        "x",
        "?x",
    ],
)
def test_what_a_browser_would_read_otherwise_is_no_destination_at_all(text: str) -> None:
    """A-50: refused, not repaired."""
    assert parse_return_to(text, own=PORTAL_ORIGIN, origins=ORIGINS) is None


def test_a_missing_destination_is_told_apart_from_the_start_page() -> None:
    assert GUARD.find(None, PORTAL) is None
    assert GUARD.find("https://evil.example/", PORTAL) is None
    assert GUARD.find("/", PORTAL) == Destination(origin=None, path="/")


def test_a_local_destination_on_another_host_becomes_the_start_page() -> None:
    assert GUARD.local(f"{DASHBOARD_ORIGIN}/x", PORTAL) == "/"
    assert GUARD.local("/x", PORTAL) == "/x"


@pytest.mark.parametrize(
    "path", ["//x", "/\\x", "/\tx", "x", "", "/a b", "/a\\b", "/\u00e9", "https://x/", "/a\r\nb", "/a\n"]
)
def test_a_location_is_looked_at_once_more_before_it_is_sent(path: str) -> None:
    """A-50, C-38."""
    assert not is_local(path)


def test_no_destination_names_the_attacker_as_its_host() -> None:
    """A-50, A-51: what is let through with a host is exactly an origin of the configuration."""
    for spelling in EVERY_SPELLING:
        found = GUARD.destination(spelling, PORTAL)
        assert found.origin in (None, DASHBOARD_ORIGIN)
        assert EVIL not in (found.origin or "")
