"""LoginAttempts in `state` and one cookie: whose they are, how many, how long, and what they say about circles."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from gateway.gate.site import AppRoute
from gateway.oidc.authorization import ATTEMPT_LIFETIME, AttemptFacts, LoginAttempt
from gateway.sessions import base64url
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.long_links import RATE, LongLinks
from gateway.sign_in.browser_binding import BUDGET, BrowserBinding, read_bindings
from gateway.sign_in.login_attempts import LoginAttempts
from gateway.sign_in.login_state import LONGEST as LONGEST_STATE
from gateway.sign_in.return_to import LONGEST
from tests.fakes.clock import SettableClock
from tests.fakes.cookie_jar import CookieJar
from tests.fakes.waiting import eventually
from tests.unit.web.made import DASHBOARD, NOON, PORTAL, made_config, made_sites

KEY = new_key()
SITES = made_sites()
ROUTE = SITES[PORTAL].route
PLAIN = made_sites(made_config(external_url_scheme="http", allow_insecure_http=True))[PORTAL].route


def facts(return_to: str = "/bookings", after: float = 0.0, route: AppRoute = ROUTE) -> AttemptFacts:
    now = NOON + timedelta(seconds=after)
    return AttemptFacts(app=route.name, host=route.host, return_to=return_to, started_at=now)


class Tabs:
    """The tabs of one browser, at one origin. `keys` are the ring's."""

    def __init__(self, redis: Redis, prefix: str, clock: SettableClock, keys: Sequence[str] = (KEY,)) -> None:
        self.route = ROUTE
        self.jar = CookieJar()
        self.clock = clock
        self.redis, self.prefix = redis, prefix
        self.attempts = self.under(keys)

    def under(self, keys: Sequence[str]) -> LoginAttempts:
        ring = KeyRing(keys)
        return LoginAttempts(
            ring, LongLinks(self.redis, self.prefix, ring, ATTEMPT_LIFETIME, self.clock.monotonic), secrets.token_bytes
        )

    def other(self) -> "Tabs":
        """Another browser."""
        return Tabs(self.redis, self.prefix, self.clock)

    def keep(self, headers: list[str]) -> None:
        for header in headers:
            self.jar.store(self.route.origin + "/", header)
        assert not self.jar.refused

    @property
    def values(self) -> list[bytes]:
        header = self.jar.header(self.route.origin + "/x", same_site=False, navigation=True, safe=True)
        return [header.encode()] if header else []

    def begin(self, wanted: AttemptFacts) -> LoginAttempt:
        attempt, headers = self.attempts.begin(wanted, self.values, self.route)
        self.keep(headers)
        return attempt

    async def find(self, state: str, now: datetime = NOON, route: AppRoute = ROUTE) -> LoginAttempt | None:
        return await self.attempts.find(state, self.values, route, now)


@pytest.fixture
def tabs(redis: Redis, prefix: str, clock: SettableClock) -> Tabs:
    return Tabs(redis, prefix, clock)


async def test_an_attempt_is_found_by_its_state_in_the_browser_that_began_it(tabs: Tabs) -> None:
    wanted = replace(
        facts("/a?b=c"), max_age=300, acr=("gold",), step_up_for="POST /zahlen/ä", provider="staff", begun=1.25,
        ui_locales=("de-CH", "en"),
    )  # fmt: skip
    begun = tabs.begin(wanted)
    assert await tabs.find(begun.state) == begun
    assert (begun.return_to, begun.max_age, begun.acr, begun.step_up_for) == (
        "/a?b=c",
        300,
        ("gold",),
        "POST /zahlen/ä",
    )


async def test_a_login_test_is_no_attempt_to_an_earlier_release(tabs: Tabs) -> None:
    """C-85: it would issue a session. Releases refuse each version but their own."""
    for login_test, version in ((None, 2), ("0" * 64, 3)):
        begun = tabs.begin(replace(facts(), login_test=login_test))
        found = await tabs.find(begun.state)
        assert found is not None
        assert found.login_test == login_test
        ring, context = KeyRing((KEY,)).purpose("login state"), ("login state", ROUTE.host, ROUTE.name)
        assert json.loads(ring.open(base64url.decode(begun.state.encode()), context))["v"] == version


async def test_a_login_that_was_begun_survives_a_change_of_keys(tabs: Tabs) -> None:
    """And ends with the key that sealed it."""
    begun, fresh = tabs.begin(facts("/a")), new_key()
    for ring in ([KEY, fresh], [fresh, KEY]):
        assert await tabs.under(ring).find(begun.state, tabs.values, ROUTE, NOON) == begun
    assert await tabs.under([fresh]).find(begun.state, tabs.values, ROUTE, NOON) is None


async def test_a_state_is_worth_nothing_in_another_browser(tabs: Tabs) -> None:
    """A-53: neither without a cookie, nor with one of one's own."""
    begun, other = tabs.begin(facts()), tabs.other()
    assert await other.find(begun.state) is None
    other.begin(facts())
    assert await other.find(begun.state) is None


def test_the_verifier_needs_both_the_cookie_and_the_state(tabs: Tabs) -> None:
    """A-86: of two attempts, neither has the verifier of the other, nor of its own state under the other cookie."""
    one, two, other = tabs.begin(facts()), tabs.begin(facts()), tabs.other()
    three = other.begin(facts())
    assert len({one.verifier, two.verifier, three.verifier}) == 3
    assert len(one.verifier) == len(one.nonce) == 43
    (mine,), (theirs,) = read_bindings(tabs.values, ROUTE), read_bindings(other.values, ROUTE)
    assert mine.verifier(one.state) == one.verifier != theirs.verifier(one.state)


async def test_another_spelling_of_a_state_is_no_second_attempt(tabs: Tabs) -> None:
    """A-86, A-54: the same bytes, written in another way, would not be marked as used."""
    for length in range(3):
        begun = tabs.begin(facts("/" + "a" * length))
        last = begun.state[-1]
        twins = [
            begun.state[:-1] + letter
            for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            if letter != last
        ]
        for twin in (
            *twins,
            begun.state + "=",
            begun.state + "==",
            begun.state + "A",
            begun.state + "\n",
            f"{begun.state[:9]} {begun.state[9:]}",
        ):
            assert await tabs.find(twin) is None


@pytest.mark.parametrize("state", ["", "x", "\ud800", "a" * 10_000, "%00", "A" * 43, "A" * 400])
async def test_a_state_that_was_never_issued_finds_nothing(tabs: Tabs, state: str) -> None:
    tabs.begin(facts())
    assert await tabs.find(state) is None
    assert await tabs.attempts.wanted(state, ROUTE) is None


async def test_an_attempt_is_over_after_fifteen_minutes(tabs: Tabs) -> None:
    """A-54."""
    begun = tabs.begin(facts())
    assert await tabs.find(begun.state, NOON + timedelta(minutes=15)) == begun
    assert await tabs.find(begun.state, NOON + timedelta(minutes=15, seconds=1)) is None


async def test_a_state_is_bound_to_its_host_and_cannot_be_edited(tabs: Tabs) -> None:
    """A-86, A-52: also when the cookie is copied there."""
    begun = tabs.begin(facts())
    assert await tabs.find(begun.state, route=SITES[DASHBOARD].route) is None
    for place in (0, 10, len(begun.state) // 2, len(begun.state) - 2):
        edited = begun.state[:place] + ("A" if begun.state[place] != "A" else "B") + begun.state[place + 1 :]
        assert await tabs.find(edited) is None


def test_the_cookie_has_the_host_prefix_and_all_that_it_needs(tabs: Tabs) -> None:
    """K1, C-45: and plain http, which cannot have the prefix, has everything else."""
    _, (header,) = tabs.attempts.begin(facts(), [], ROUTE)
    assert header.startswith("__Host-doorward_login_")
    assert header.endswith("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure")
    _, (plain,) = tabs.attempts.begin(facts(route=PLAIN), [], PLAIN)
    assert plain.startswith("doorward_login_")
    assert plain.endswith("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax")
    (removed,) = tabs.attempts.drop_all([header.partition(";")[0].encode()], ROUTE)
    assert removed.endswith("=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure")


def test_nothing_of_the_attempt_can_be_read_from_its_cookie_or_its_state(tabs: Tabs) -> None:
    """C-48: nor the verifier, which the provider must not learn before the code is redeemed."""
    begun, headers = tabs.attempts.begin(facts("/secret-page"), [], ROUTE)
    for text in (begun.nonce, begun.verifier, "secret-page", begun.id):
        assert text not in begun.state + headers[0]
    assert begun.state not in headers[0]


async def test_twenty_tabs_finish_with_one_small_cookie(tabs: Tabs) -> None:
    """A-54: of one address, and of twenty."""
    begun = [tabs.begin(facts(page, after=number)) for number in range(20) for page in ("/bookings", f"/tab/{number}")]
    assert len(tabs.jar.cookies) == 1
    assert not tabs.attempts.is_looping("/bookings", tabs.values, ROUTE, NOON + timedelta(seconds=20))
    for number, one in enumerate(begun):
        now = NOON + timedelta(seconds=30 + number)
        assert await tabs.find(one.state, now) == one
        assert len(one.state) < LONGEST_STATE
        tabs.keep(tabs.attempts.finish(one, tabs.values, ROUTE, now))
        assert len(tabs.values[0]) < 1024
    assert len(tabs.jar.cookies) == 1


async def test_tabs_that_are_opened_at_once_all_finish(tabs: Tabs) -> None:
    """A-54: a browser restores its tabs: no request of them has a cookie yet, and no answer takes away what another one gave."""
    answers = [tabs.attempts.begin(facts("/bookings"), [], ROUTE) for _ in range(20)]
    for _, headers in answers:
        tabs.keep(headers)
    assert len(tabs.values[0]) < BUDGET
    assert [await tabs.find(attempt.state) for attempt, _ in answers] == [attempt for attempt, _ in answers]
    before = len(tabs.jar.cookies)
    tabs.begin(facts())
    assert len(tabs.jar.cookies) == before


async def test_a_link_that_is_too_long_for_a_state_is_kept_in_redis(tabs: Tabs) -> None:
    link = "/page?" + "a" * (LONGEST - 6)
    begun = tabs.begin(replace(facts(link), step_up_for="POST /pay", max_age=300))
    assert len(begun.state) < LONGEST_STATE
    await eventually(lambda: _whole(tabs, begun.state, link))
    found = await tabs.find(begun.state)
    assert found is not None
    assert (found.return_to, found.step_up_for, found.max_age) == (link, "POST /pay", 300)
    names = [name async for name in tabs.redis.scan_iter(match=tabs.prefix + "*")]
    assert len(names) == 1
    assert 0 < await tabs.redis.pttl(names[0]) <= 900_000
    await tabs.redis.delete(*names)
    lost = await tabs.find(begun.state)
    assert lost is not None
    assert (lost.return_to, lost.max_age) == ("/page", 300)


async def _whole(tabs: Tabs, state: str, link: str) -> bool:
    found = await tabs.find(state)
    return found is not None and found.return_to == link


async def test_strangers_who_ask_for_long_links_do_not_fill_redis(tabs: Tabs) -> None:
    """C-49: beyond the rate, a sign-in lands on the page without its query."""
    begun = [tabs.begin(facts("/page?" + "a" * 1900)) for _ in range(RATE + 50)]
    await eventually(lambda: _written(tabs))
    found = await tabs.find(begun[-1].state)
    assert found is not None
    assert found.return_to == "/page"
    tabs.clock.advance(60)
    begun.append(tabs.begin(facts("/page?" + "b" * 1900)))
    await eventually(lambda: _whole(tabs, begun[-1].state, "/page?" + "b" * 1900))


async def _written(tabs: Tabs) -> bool:
    names = [name async for name in tabs.redis.scan_iter(match=tabs.prefix + "*", count=1000)]
    assert len(names) <= RATE
    return len(names) == RATE


async def test_a_record_of_a_long_link_opens_under_its_own_key_only(tabs: Tabs) -> None:
    """C-09: a writer of Redis leads nobody anywhere."""
    one, two = (tabs.begin(facts(f"/{name}?" + name * 1900)) for name in "ab")
    await eventually(lambda: _whole(tabs, two.state, "/b?" + "b" * 1900))
    names = [name async for name in tabs.redis.scan_iter(match=tabs.prefix + "*")]
    first, second = [await tabs.redis.get(name) or b"" for name in names]
    await tabs.redis.set(names[0], second)
    await tabs.redis.set(names[1], first)
    for begun, page in ((one, "/a"), (two, "/b")):
        found = await tabs.find(begun.state)
        assert found is not None
        assert found.return_to == page


@pytest.mark.parametrize(
    "name", [b"__host-doorward_login_00000000", b"doorward_login_00000000", b"__Host-doorward_login_0", b""]
)
def test_a_cookie_of_another_spelling_is_not_ours(name: bytes) -> None:
    """K4, C-37: nor one whose value does not belong to its name."""
    value = b"A" * 43
    assert read_bindings([name + b"=" + value, b"=" + name + b"=" + value, name], ROUTE) == []
    assert read_bindings([b"__Host-doorward_login_00000000=" + value], ROUTE) == []
    tossed = BrowserBinding(secret=b"x" * 32).set_header(PLAIN).partition(";")[0].encode()
    assert read_bindings([tossed], ROUTE) == []
    assert len(read_bindings([tossed], PLAIN)) == 1


async def test_planted_cookies_hide_no_attempt_and_are_cleared(tabs: Tabs) -> None:
    """C-37, C-47: some hundred before and behind ours, and the answer stays small."""
    begun = tabs.begin(facts())
    planted = [
        BrowserBinding(secret=secrets.token_bytes(32)).set_header(ROUTE).partition(";")[0].encode() for _ in range(300)
    ]
    values = [b"; ".join([*planted[:150], *tabs.values, b"a=1", b";;=;==", *planted[150:]])]
    assert await tabs.attempts.find(begun.state, values, ROUTE, NOON) == begun
    _, headers = tabs.attempts.begin(facts(), values, ROUTE)
    assert 20 < len(headers) <= 41
    assert all("Max-Age=0" in header for header in headers[1:])


# --- circles ----------------------------------------------------------------------------------------------------------


def looping(tabs: Tabs, after: float, return_to: str = "/bookings") -> bool:
    return tabs.attempts.is_looping(return_to, tabs.values, ROUTE, NOON + timedelta(seconds=after))


def finish(tabs: Tabs, after: float) -> None:
    now = NOON + timedelta(seconds=after)
    tabs.keep(tabs.attempts.finish(tabs.begin(facts(after=after)), tabs.values, ROUTE, now))


def test_three_finished_logins_for_one_page_within_a_minute_are_a_circle(tabs: Tabs) -> None:
    for number in range(3):
        assert not looping(tabs, number)
        finish(tabs, number)
    assert looping(tabs, 3)
    assert not looping(tabs, 3, "/other")
    assert not looping(tabs, 63)
    tabs.keep(tabs.attempts.restart(tabs.values, ROUTE))
    assert not looping(tabs, 3)


def test_pending_attempts_are_no_circle(tabs: Tabs) -> None:
    for number in range(50):
        tabs.begin(facts(after=number / 10))
    assert not looping(tabs, 5)


async def test_the_end_of_a_circle_leaves_the_attempts_of_other_tabs(tabs: Tabs) -> None:
    other = tabs.begin(facts("/other"))
    for number in range(3):
        finish(tabs, number)
    tabs.keep(tabs.attempts.restart(tabs.values, ROUTE))
    assert await tabs.find(other.state) == other


async def test_forged_marks_only_ever_lead_to_a_page(tabs: Tabs) -> None:
    """Cookies that somebody else could write annoy and let nobody in."""
    begun = tabs.begin(facts())
    forged = BrowserBinding(secret=b"x" * 32)
    for _ in range(30):
        forged = forged.finished("/bookings", NOON)
    value = forged.set_header(ROUTE).partition(";")[0].encode()
    assert len(value) < 200
    assert tabs.attempts.is_looping("/bookings", [value], ROUTE, NOON)
    assert await tabs.attempts.find(begun.state, [value], ROUTE, NOON) is None


@pytest.mark.parametrize("marks", [b"A", b"AAAA", b"-" * 128, b"A" * 129, b"="])
def test_marks_that_are_none_are_passed_over(tabs: Tabs, marks: bytes) -> None:
    tabs.begin(facts())
    assert not tabs.attempts.is_looping("/bookings", [tabs.values[0] + b"." + marks], ROUTE, NOON)


async def test_a_sign_in_that_failed_leaves_the_attempts_of_other_tabs_and_else_nothing(tabs: Tabs) -> None:
    one, other = tabs.begin(facts("/one")), tabs.begin(facts("/other"))
    tabs.keep(tabs.attempts.drop(one, tabs.values, ROUTE))
    assert await tabs.find(other.state) == other
    alone = tabs.other()
    only = alone.begin(facts())
    alone.keep(alone.attempts.drop(only, alone.values, ROUTE))
    assert not alone.values


def test_everything_of_the_family_can_be_dropped_at_once(tabs: Tabs) -> None:
    for _, headers in [tabs.attempts.begin(facts(), [], ROUTE) for _ in range(4)]:
        tabs.keep(headers)
    assert tabs.values
    tabs.keep(tabs.attempts.drop_all(tabs.values, ROUTE))
    assert not tabs.values


async def test_the_same_attempt_read_back_is_equal_to_the_second(tabs: Tabs) -> None:
    """A state holds whole seconds."""
    begun = tabs.begin(replace(facts(), started_at=NOON + timedelta(milliseconds=700)))
    found = await tabs.find(begun.state, NOON + timedelta(seconds=1))
    assert found is not None
    assert found.started_at == NOON


@pytest.mark.parametrize("cross_site", [False, True])
async def test_an_attempt_is_found_only_by_the_kind_of_response_that_it_was_begun_for(
    tabs: Tabs, cross_site: bool
) -> None:
    """A-88: one cookie for links, one for forms of other sites, each with a secret of its own, within one budget."""
    kinds = {kind: tabs.attempts.begin(facts(), tabs.values, ROUTE, cross_site=kind) for kind in (False, True)}
    for _, headers in kinds.values():
        tabs.keep(headers)
    begun, again = kinds[cross_site][0], tabs.attempts.begin(facts(), tabs.values, ROUTE, cross_site=cross_site)[0]
    assert len(read_bindings(tabs.values, ROUTE)) == 2
    assert await tabs.attempts.find(begun.state, tabs.values, ROUTE, NOON, cross_site=cross_site) == begun
    assert await tabs.attempts.find(again.state, tabs.values, ROUTE, NOON, cross_site=cross_site) == again
    assert await tabs.attempts.find(begun.state, tabs.values, ROUTE, NOON, cross_site=not cross_site) is None
