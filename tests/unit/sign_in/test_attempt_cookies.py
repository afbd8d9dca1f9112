"""LoginAttempts in cookies: whose they are, how many, how long, and what they say about circles."""

import secrets
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.gate.site import AppRoute
from gateway.oidc.authorization import LoginAttempt, attempt_secrets
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sign_in.attempt_cookies import BUDGET, NEWEST, AttemptCookies, Rounds, read_cookies
from gateway.sign_in.return_to import LONGEST
from tests.fakes.cookie_jar import CookieJar
from tests.unit.web.made import DASHBOARD, NOON, PORTAL, PORTAL_ORIGIN, made_config, made_sites

KEY = new_key()
COOKIES = AttemptCookies(KeyRing([KEY]))
SITES = made_sites()
ROUTE = SITES[PORTAL].route
PLAIN = made_sites(made_config(external_url_scheme="http", allow_insecure_http=True))[PORTAL].route


def attempt(return_to: str = "/bookings", after: float = 0.0, route: AppRoute = ROUTE) -> LoginAttempt:
    now = NOON + timedelta(seconds=after)
    return LoginAttempt(
        **attempt_secrets(secrets.token_bytes), app=route.name, host=route.host, return_to=return_to, started_at=now
    )


class Browser:
    """A jar of one origin."""

    def __init__(self, route: AppRoute = ROUTE) -> None:
        self.route = route
        self.jar = CookieJar()

    def keep(self, headers: list[str]) -> None:
        for header in headers:
            self.jar.store(self.route.origin + "/", header)
        assert not self.jar.refused

    @property
    def values(self) -> list[bytes]:
        header = self.jar.header(self.route.origin + "/x", same_site=False, navigation=True, safe=True)
        return [header.encode()] if header else []

    def begin(self, begun: LoginAttempt) -> LoginAttempt:
        self.keep(COOKIES.keep(begun, self.values, self.route))
        return begun


def test_an_attempt_is_found_by_its_state_in_the_browser_that_began_it() -> None:
    browser = Browser()
    begun = browser.begin(attempt("/a?b=c"))
    assert COOKIES.find(begun.state, browser.values, ROUTE, NOON) == begun


def test_a_login_that_was_begun_survives_a_change_of_keys() -> None:
    """And ends with the key that sealed it."""
    browser, fresh = Browser(), new_key()
    begun = browser.begin(attempt("/a"))
    for ring in ([KEY, fresh], [fresh, KEY]):
        assert AttemptCookies(KeyRing(ring)).find(begun.state, browser.values, ROUTE, NOON) == begun
    assert AttemptCookies(KeyRing([fresh])).find(begun.state, browser.values, ROUTE, NOON) is None


def test_a_state_is_worth_nothing_in_another_browser() -> None:
    """A-53."""
    begun = Browser().begin(attempt())
    other = Browser()
    other.begin(attempt())
    assert COOKIES.find(begun.state, other.values, ROUTE, NOON) is None
    assert COOKIES.find(begun.state, [], ROUTE, NOON) is None


@pytest.mark.parametrize("state", ["", "x", "\ud800", "a" * 10_000, "%00"])
def test_a_state_that_was_never_issued_finds_nothing(state: str) -> None:
    browser = Browser()
    browser.begin(attempt())
    assert COOKIES.find(state, browser.values, ROUTE, NOON) is None


def test_an_attempt_is_over_after_fifteen_minutes() -> None:
    """A-54."""
    browser = Browser()
    begun = browser.begin(attempt())
    assert COOKIES.find(begun.state, browser.values, ROUTE, NOON + timedelta(minutes=15)) == begun
    assert COOKIES.find(begun.state, browser.values, ROUTE, NOON + timedelta(minutes=15, seconds=1)) is None


def test_a_cookie_is_bound_to_its_host_and_its_name() -> None:
    """A-52: a cookie that was copied, renamed or edited opens nowhere."""
    browser = Browser()
    begun = browser.begin(attempt())
    name, _, value = browser.values[0].partition(b"=")
    dashboard = SITES[DASHBOARD].route
    assert COOKIES.find(begun.state, browser.values, dashboard, NOON) is None
    later = name.replace(name.split(b"_")[-2], b"ffffffff")
    assert COOKIES.find(begun.state, [later + b"=" + value], ROUTE, NOON) is None
    for place in (0, 10, len(value) - 1):
        edited = value[:place] + (b"A" if value[place : place + 1] != b"A" else b"B") + value[place + 1 :]
        assert COOKIES.find(begun.state, [name + b"=" + edited], ROUTE, NOON) is None


def test_another_key_ring_opens_nothing_and_an_older_key_still_does() -> None:
    browser = Browser()
    begun = browser.begin(attempt())
    assert AttemptCookies(KeyRing([new_key()])).find(begun.state, browser.values, ROUTE, NOON) is None
    assert AttemptCookies(KeyRing([new_key(), KEY])).find(begun.state, browser.values, ROUTE, NOON) == begun


def test_the_cookie_has_the_host_prefix_and_all_that_it_needs() -> None:
    """K1: and plain http, which cannot have the prefix, has everything else."""
    header = COOKIES.keep(attempt(), [], ROUTE)[0]
    assert header.startswith("__Host-doorward_login_")
    assert header.endswith("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure")
    plain = COOKIES.keep(attempt(route=PLAIN), [], PLAIN)[0]
    assert plain.startswith("doorward_login_")
    assert plain.endswith("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax")


def test_nothing_of_the_attempt_can_be_read_from_its_cookie() -> None:
    begun = attempt("/secret-page")
    header = COOKIES.keep(begun, [], ROUTE)[0]
    for text in (begun.state, begun.nonce, begun.verifier, "secret-page", begun.id):
        assert text not in header


def test_parallel_logins_all_find_their_attempt() -> None:
    """A-54: two tabs, and three more."""
    browser = Browser()
    begun = [browser.begin(attempt(f"/tab/{number}", after=number)) for number in range(NEWEST)]
    now = NOON + timedelta(seconds=30)
    assert [COOKIES.find(one.state, browser.values, ROUTE, now) for one in begun] == begun


def test_two_hundred_abandoned_logins_leave_the_newest_five_and_a_small_cookie_header() -> None:
    """A-54, K5."""
    browser = Browser()
    begun = [browser.begin(attempt(f"/tab/{number}?{'x' * 60}", after=number)) for number in range(200)]
    now = NOON + timedelta(seconds=200)
    assert len(browser.jar.cookies) == NEWEST
    assert len(browser.values[0]) < 4096
    assert [COOKIES.find(one.state, browser.values, ROUTE, now) for one in begun[-NEWEST:]] == begun[-NEWEST:]


def test_long_deep_links_leave_room_for_fewer_attempts_never_for_a_larger_header() -> None:
    """A-54, K3: one cookie stays under 4096 bytes, all of them under 3.5 KiB."""
    browser = Browser()
    for number in range(6):
        last = browser.begin(attempt("/" + "a" * (LONGEST - 1), after=number))
        assert len(browser.values[0]) <= BUDGET
        assert COOKIES.find(last.state, browser.values, ROUTE, NOON + timedelta(seconds=number)) == last


def test_old_broken_and_future_cookies_are_cleared_and_the_answer_stays_small() -> None:
    """C-47."""
    junk = [f"__Host-doorward_login_{number:08x}_{number:08x}=x".encode() for number in range(300)]
    future = b"__Host-doorward_login_ffffffff_00000000=x"
    headers = COOKIES.keep(attempt(), [b"; ".join([*junk, future])], ROUTE)
    assert 2 < len(headers) <= 41
    assert all("Max-Age=0" in header and header.endswith("SameSite=Lax; Secure") for header in headers[1:])
    assert any(header.startswith("__Host-doorward_login_ffffffff") for header in headers)


def test_a_cookie_is_removed_with_the_attributes_it_was_set_with() -> None:
    """C-45, K6."""
    begun = attempt()
    header = COOKIES.drop(begun, ROUTE)
    assert header.endswith("=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure")
    browser = Browser()
    browser.begin(begun)
    browser.keep([header])
    assert not browser.values


@pytest.mark.parametrize(
    "name",
    [
        b"__host-doorward_login_00000000_00000000",
        b"doorward_login_00000000_00000000",
        b"__Host-doorward_login_0_0",
        b"",
    ],
)
def test_a_cookie_of_another_spelling_is_not_ours(name: bytes) -> None:
    """K4, C-37."""
    assert read_cookies([name + b"=x", b"=" + name + b"=x", name], ROUTE) == []


def test_cookies_may_arrive_in_many_fields() -> None:
    """K7."""
    browser = Browser()
    begun = browser.begin(attempt())
    split = [b"a=1", browser.values[0], b";;;=;==", b"b=2"]
    assert COOKIES.find(begun.state, split, ROUTE, NOON) == begun


# --- circles ----------------------------------------------------------------------------------------------------------


def rounds(browser: Browser, after: float, return_to: str = "/bookings") -> Rounds:
    return COOKIES.rounds(return_to, browser.values, ROUTE, NOON + timedelta(seconds=after))


def test_three_finished_logins_for_one_page_within_a_minute_are_a_circle() -> None:
    browser = Browser()
    for number in range(3):
        assert not rounds(browser, number).looping
        done = browser.begin(attempt(after=number))
        browser.keep([COOKIES.finish(done, ROUTE)])
    assert rounds(browser, 3) == Rounds(done=3, pending=0)
    assert rounds(browser, 3).looping
    assert not rounds(browser, 3, "/other").looping
    assert not rounds(browser, 62).looping


def test_five_logins_in_a_rush_that_never_came_back_are_a_circle() -> None:
    browser = Browser()
    for number in range(NEWEST):
        assert not rounds(browser, number).looping
        browser.begin(attempt(after=number))
    assert rounds(browser, 5).looping
    assert not rounds(browser, 25).looping


def test_tabs_that_are_restored_together_are_no_circle() -> None:
    browser = Browser()
    for number in range(12):
        page = f"/tab/{number}"
        assert not COOKIES.rounds(page, browser.values, ROUTE, NOON).looping
        browser.begin(attempt(page))


def test_a_used_attempt_cannot_be_used_from_its_marker() -> None:
    """A-54."""
    browser = Browser()
    done = browser.begin(attempt())
    browser.keep([COOKIES.finish(done, ROUTE)])
    assert browser.values
    assert COOKIES.find(done.state, browser.values, ROUTE, NOON) is None


def test_forged_markers_only_ever_lead_to_a_page() -> None:
    """Whoever can write cookies here can annoy, not enter."""
    done = attempt()
    marker = COOKIES.finish(done, ROUTE).partition(";")[0].encode()
    browser_sends = [
        marker,
        marker.replace(done.id[:8].encode(), b"00000000"),
        marker.replace(done.id[:8].encode(), b"11111111"),
    ]
    assert COOKIES.rounds("/bookings", browser_sends, ROUTE, NOON).looping
    assert COOKIES.find(done.state, browser_sends, ROUTE, NOON) is None


def test_everything_of_the_family_can_be_dropped_at_once() -> None:
    browser = Browser()
    for number in range(4):
        browser.begin(attempt(after=number))
    browser.keep(COOKIES.drop_all(browser.values, ROUTE))
    assert not browser.values


def test_the_same_attempt_read_back_is_equal_to_the_second() -> None:
    """A cookie holds whole seconds."""
    browser = Browser()
    begun = browser.begin(replace(attempt(), started_at=NOON + timedelta(milliseconds=700)))
    found = COOKIES.find(begun.state, browser.values, ROUTE, NOON + timedelta(seconds=1))
    assert found is not None
    assert found.started_at == NOON
    assert PORTAL_ORIGIN.endswith(found.host)
