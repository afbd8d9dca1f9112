"""A person who is signed in here gets the upstream's own session, and never meets its login form, its token, or anybody else's session."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from gateway.runtime.composition import GatewayWorker
from tests.fakes.house import BROWSER
from tests.fakes.own_sessions import COOKIE
from tests.fakes.provider import ADA
from tests.fakes.recorder import Recorded
from tests.fakes.street import ADA_MAIL, MIA_MAIL, SERVICE, Street
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, exchange
from tests.flows.conftest import OpenStreet

# --- signing in -------------------------------------------------------------------------------------------------------


async def test_after_our_login_the_page_opens_without_the_upstreams_form(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/bookings?day=2")
    assert (page.status, page.text) == (200, f"/bookings of {MIA_MAIL}")
    assert page.url == street.house.origin() + "/bookings?day=2"
    assert street.portal.forms == 0
    assert street.portal.pages == [("/bookings", MIA_MAIL)]
    assert [event["via"] for event in street.events("hand_off.succeeded")] == ["server"]


async def test_the_browser_is_asked_for_nothing_but_the_same_page(open_street: OpenStreet) -> None:
    """C-48: neither an address nor a header that the browser gets holds the token."""
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    (ticket,) = street.office.made
    own = street.house.origin()
    assert [answer.url for answer in browser.history if answer.url.startswith(own)][-2:] == [own + "/bookings"] * 2
    assert not [answer for answer in browser.history if ticket in answer.url or ticket.encode() in answer.raw]
    handed = browser.history[-2]
    assert (handed.status, handed.header("Cache-Control")) == (302, "no-store")


async def test_the_session_cookie_is_kept_for_this_host_and_others_come_along(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser)
    handed = browser.history[-2]
    session, language = handed.all("Set-Cookie")
    assert session.startswith(f"{COOKIE}=session-")
    assert "domain" not in session.lower()
    assert "HttpOnly" in session
    assert language == "language=en; Path=/"
    sent = street.house.upstream.requests[-1].values("Cookie")[0].split(b"; ")
    assert set(sent) == {b"language=en", f"{COOKIE}={next(iter(street.portal.sessions))}".encode()}


async def test_the_redemption_goes_out_as_the_visitors_own_requests_do(open_street: OpenStreet) -> None:
    street = await open_street()
    cookie = await street.house.session()
    await street.house.ask("/", cookie=cookie, fields=BROWSER + "User-Agent: Tester/7\r\nAccept-Language: pt\r\n")
    redeemed = [request for request in street.house.upstream.requests if request.target.startswith("/sso")][-1]
    assert redeemed.values("User-Agent") == [b"Tester/7"]
    assert redeemed.values("Accept-Language") == [b"pt"]
    assert redeemed.values("Host") == [street.house.host().encode()]
    assert redeemed.values("X-Forwarded-For") == [b"127.0.0.1"]
    assert redeemed.values("X-Forwarded-Email") == [b"bob@example.com"]


async def test_a_fact_stands_where_it_belongs_in_the_tokens_request(open_street: OpenStreet) -> None:
    street = await open_street()
    cookie = await street.house.session(email="o'hara&admin=1@example.com")
    await street.house.ask("/", cookie=cookie, fields=BROWSER)
    (asked,) = street.office_server.requests
    assert asked.target == "/tickets?for=o%27hara%26admin%3D1%40example.com"
    assert json.loads(asked.body) == {"email": "o'hara&admin=1@example.com"}


async def test_a_session_that_comes_only_after_a_redirect_is_waited_for(open_street: OpenStreet) -> None:
    street = await open_street()
    street.portal.late = True
    page = await street.house.sign_in(street.house.browser(), at="/bookings")
    assert page.text == f"/bookings of {MIA_MAIL}"


async def test_what_is_no_navigation_is_forwarded_and_its_refusal_is_the_programs_to_handle(
    open_street: OpenStreet,
) -> None:
    street = await open_street()
    cookie = await street.house.session(email=MIA_MAIL)
    answer = await street.house.ask("/api/x", cookie=cookie, fields="Sec-Fetch-Mode: cors\r\n")
    assert (answer.status, answer.value("Location")) == (302, "/login?ReturnUrl=/api/x")
    assert street.hand_offs == 0


# --- the upstream's session ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 401])
async def test_when_the_upstreams_session_has_ended_a_page_opens_all_the_same(
    open_street: OpenStreet, status: int
) -> None:
    street = await open_street(on_401=True)
    street.portal.unauthorized = status
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    street.portal.sessions.clear()
    page = await browser.open(street.house.origin() + "/profile?tab=2")
    assert (page.status, page.text) == (200, f"/profile of {MIA_MAIL}")
    assert page.url == street.house.origin() + "/profile?tab=2"
    assert (street.hand_offs, street.portal.forms) == (2, 0)


async def test_a_401_counts_only_where_it_is_to_count(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    street.portal.unauthorized = 401
    street.portal.sessions.clear()
    assert (await browser.open(street.house.origin() + "/profile")).status == 401


async def test_a_form_that_met_an_ended_session_is_not_sent_twice_and_says_so(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    street.portal.sessions.clear()
    body = b"room=quayside&" + b"x" * 20_000
    here = street.house.origin() + "/bookings"
    page = await browser.post_from(here, here, body)
    assert page.status == 409
    assert "had ended" in page.document.words
    assert [
        request.body for request in street.house.upstream.requests if request.line.startswith(b"POST /bookings")
    ] == [body]
    again = await browser.post_from(here, here, body)
    assert (again.status, again.text) == (200, f"/bookings of {MIA_MAIL}")


async def test_a_session_cookie_that_the_upstream_renews_goes_on_counting(open_street: OpenStreet) -> None:
    street = await open_street()
    street.portal.rotates = True
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/one")
    cookies = {street.cookie_of(browser)}
    for page in ("/two", "/three"):
        assert (await browser.open(street.house.origin() + page)).text == f"{page} of {MIA_MAIL}"
        cookies.add(street.cookie_of(browser))
    assert (len(cookies), street.hand_offs) == (3, 1)


async def test_tabs_that_meet_an_ended_session_together_share_one_hand_off(open_street: OpenStreet) -> None:
    street = await open_street()
    cookie = await street.house.session(email=MIA_MAIL)
    street.office.gate.clear()
    asked = [asyncio.create_task(street.house.ask(f"/{n}", cookie=cookie, fields=BROWSER)) for n in range(4)]
    await eventually(lambda: street.office_server.requests)
    street.office.gate.set()
    answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [302] * 4
    assert sorted(str(answer.value("Location")) for answer in answers) == [
        f"{street.house.origin()}/{n}" for n in range(4)
    ]
    assert street.hand_offs == 1
    assert sum(bool(answer.values("Set-Cookie")) for answer in answers) == 1


async def test_two_workers_share_one_hand_off_of_a_session(open_street: OpenStreet) -> None:
    """One at a time over the whole fleet."""
    street = await open_street()
    config = street.house.worker.config
    second = GatewayWorker(config, None, street.house.lines.append)
    await second.start()
    sock = socket.create_server(("127.0.0.1", 0))
    await second.listen(sock)
    await eventually(lambda: second.cache.trusted)
    cookie = await street.house.session(email=MIA_MAIL)
    street.office.gate.clear()
    head = f"GET / HTTP/1.1\r\nHost: {street.house.host()}\r\nCookie: {cookie}\r\n{BROWSER}\r\n".encode()
    ports = (street.house.port, sock.getsockname()[1]) * 3
    asked = [asyncio.create_task(exchange(port, head)) for port in ports]
    await eventually(lambda: street.office_server.requests)
    street.office.gate.set()
    answers = await asyncio.gather(*asked)
    await second.close(0.5)
    assert [answer.status for answer in answers] == [302] * 6
    assert street.hand_offs == 1


# --- the loop breaker -------------------------------------------------------------------------------------------------


async def test_an_upstream_that_asks_again_and_again_ends_on_a_clear_page(open_street: OpenStreet) -> None:
    street = await open_street(most=3)
    street.portal.closed = ("/admin",)
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/admin")
    assert page.status == 403
    assert "keeps asking for its own login" in page.document.title + page.document.words
    assert street.hand_offs == 3
    assert street.portal.forms == 0
    assert street.events("hand_off.failed")[-1]["reason"] == "loop"
    assert (await browser.open(street.house.origin() + "/bookings")).status == 200  # the session itself is good


async def test_a_browser_that_keeps_no_cookie_is_not_sent_round_for_ever(open_street: OpenStreet) -> None:
    street = await open_street(most=2)
    cookie = await street.house.session(email=MIA_MAIL)
    answers = [await street.house.ask("/", cookie=cookie, fields=BROWSER) for _ in range(4)]
    assert [answer.status for answer in answers] == [302, 302, 403, 403]
    assert street.hand_offs == 2


# --- whose session it is ----------------------------------------------------------------------------------------------


async def test_a_session_of_somebody_else_is_ended_and_never_relayed(open_street: OpenStreet) -> None:
    """A-59: the upstream mixes two persons up."""
    street = await open_street()
    street.portal.mixes_up_with = ADA_MAIL
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/bookings")
    assert page.status == 403
    assert "someone else" in page.document.title + page.document.words
    assert street.cookie_of(browser) == ""
    assert street.portal.logged_out == [ADA_MAIL]
    assert street.portal.pages == []
    assert [event["why"] for event in street.events("hand_off.ended")] == ["mismatch"]


async def test_a_session_that_becomes_somebody_elses_is_ended_at_the_next_look(open_street: OpenStreet) -> None:
    """A-59."""
    street = await open_street(who_am_i={"path": "/me", "pointer": "/Email", "every": "1ms"})
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    (session,) = street.portal.sessions
    street.portal.sessions[session] = ADA_MAIL

    async def looked() -> list[str]:
        await browser.open(street.house.origin() + "/profile")
        return street.portal.logged_out

    await eventually(looked)
    page = browser.page
    assert page.text == f"/profile of {MIA_MAIL}"
    assert street.portal.logged_out == [ADA_MAIL]
    assert street.hand_offs == 2


async def test_an_upstream_that_does_not_say_whose_session_it_is_gets_nobody(open_street: OpenStreet) -> None:
    street = await open_street(who_am_i={"path": "/nothing-there", "pointer": "/Email"})
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/bookings")
    assert page.status == 502
    assert street.cookie_of(browser) == ""


async def test_a_second_person_in_the_same_browser_gets_a_session_of_their_own(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    mias = street.cookie_of(browser)
    await browser.open(street.house.origin() + "/oauth2/sign_out")
    await browser.submit()
    page = await street.house.sign_in(browser, str(ADA["sub"]), at="/bookings")
    assert page.text == f"/bookings of {ADA_MAIL}"
    assert street.cookie_of(browser) not in ("", mias)


# --- signing out ------------------------------------------------------------------------------------------------------


async def test_who_signs_out_here_is_signed_out_at_the_upstream_too(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    await browser.open(street.house.origin() + "/oauth2/sign_out")
    await browser.submit()
    assert street.portal.logged_out == [MIA_MAIL]
    assert street.portal.sessions == {}
    assert street.cookie_of(browser) == ""
    assert [event["why"] for event in street.events("hand_off.ended")] == ["sign_out"]


async def test_signing_out_works_while_the_upstream_is_down(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    await street.house.upstream.close()
    await browser.open(street.house.origin() + "/oauth2/sign_out")
    assert (await browser.submit()).status == 200
    assert street.cookie_of(browser) == ""


async def test_the_upstreams_own_way_out_ends_our_session_too(open_street: OpenStreet) -> None:
    street = await open_street()
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    await browser.click("/logout", follow=False)
    assert browser.page.location == street.house.origin() + "/oauth2/sign_out"
    assert street.portal.logged_out == [MIA_MAIL]
    await browser.follow_all()
    page = await browser.open(street.house.origin() + "/bookings", follow=False)
    assert page.status == 302
    assert page.location.startswith(street.house.provider.issuer if street.house.provider else "")


async def sign_out(street: Street, cookie: str) -> None:
    fields = f"Origin: {street.house.origin()}\r\nSec-Fetch-Site: same-origin\r\n"
    answer = await street.house.ask("/oauth2/sign_out", method="POST", cookie=cookie, fields=fields)
    assert answer.status == 303


class Gate:
    """Holds up one path of the upstream. `met` is set when somebody stands before it."""

    def __init__(self, street: Street, path: str) -> None:
        self.met, self.open = asyncio.Event(), asyncio.Event()
        self._path, self._answer = path, street.house.upstream.answer
        street.house.upstream.answer = self

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target.partition("?")[0] == self._path:
            self.met.set()
            await self.open.wait()
        await self._answer(request, reader, writer)


@pytest.mark.parametrize("held_up", ["the token", "/sso", "/me"])
async def test_a_hand_off_that_is_under_way_at_sign_out_ends_the_session_that_it_opens(
    open_street: OpenStreet, held_up: str
) -> None:
    """C-75, C-44: wherever it is at that moment. The browser gets nothing of it, and is nobody at the next request."""
    street = await open_street(who_am_i={"path": "/me", "pointer": "/Email"})
    cookie = await street.house.session(email=MIA_MAIL)
    if held_up == "the token":
        street.office.gate.clear()
        go, met = street.office.gate.set, eventually(lambda: street.office_server.requests)
    else:
        gate = Gate(street, held_up)
        go, met = gate.open.set, gate.met.wait()
    page = asyncio.create_task(street.house.ask("/bookings", cookie=cookie, fields=BROWSER))
    await met
    await sign_out(street, cookie)
    go()
    answer = await page
    assert (answer.status, answer.value("Location")) == (302, street.house.origin() + "/bookings")
    assert answer.values("Set-Cookie") == []
    await eventually(lambda: MIA_MAIL in street.portal.logged_out)
    assert street.portal.sessions == {}
    assert [event["why"] for event in street.events("hand_off.ended")] == ["sign_out"]
    again = await street.house.ask("/bookings", cookie=cookie, fields=BROWSER)
    assert str(again.value("Location")).startswith(street.house.provider.issuer if street.house.provider else "")
    assert street.portal.pages == []


async def test_a_bearer_token_that_is_under_way_at_sign_out_is_given_back(open_street: OpenStreet) -> None:
    """C-75."""
    redeem = {"method": "POST", "path": "/api/exchange?token={token}"}
    street = await open_street(via="bearer", session_cookies=[], redeem=redeem)
    cookie = await street.house.session(email=MIA_MAIL)
    gate = Gate(street, "/api/exchange")
    page = asyncio.create_task(street.house.ask("/api/x", cookie=cookie))
    await gate.met.wait()
    await sign_out(street, cookie)
    gate.open.set()
    assert (await page).status == 401
    await eventually(lambda: street.portal.logged_out == [MIA_MAIL])
    assert street.portal.pages == []


async def test_a_session_whose_cookies_never_reached_the_browser_ends_at_sign_out_too(open_street: OpenStreet) -> None:
    """C-75: the answer was on its way when the person signed out in another tab."""
    street = await open_street()
    cookie = await street.house.session(email=MIA_MAIL)
    assert (await street.house.ask("/bookings", cookie=cookie, fields=BROWSER)).values("Set-Cookie")
    assert len(street.portal.sessions) == 1
    await sign_out(street, cookie)
    assert (street.portal.logged_out, street.portal.sessions) == ([MIA_MAIL], {})


async def test_a_session_that_a_link_opened_ends_at_sign_out_though_its_cookies_never_reached_the_browser(
    open_street: OpenStreet,
) -> None:
    """C-75: the same where the browser itself redeems the token."""
    street = await open_street(via="browser")
    cookie = await street.house.session(email=MIA_MAIL)
    link = str((await street.house.ask("/bookings", cookie=cookie, fields=BROWSER)).value("Location"))
    passed = await street.house.ask(link.removeprefix(street.house.origin()), cookie=cookie, fields=BROWSER)
    assert passed.values("Set-Cookie")

    async def signed_out() -> bool:
        # What the link opened is written down behind the answer: whoever signs out this quickly has it ended by whoever writes it.
        await sign_out(street, cookie)
        return MIA_MAIL in street.portal.logged_out

    await eventually(signed_out)
    assert street.portal.sessions == {}


@pytest.mark.parametrize("login_pages", [["/login"], ["/login", "/sso"]])
async def test_the_browser_is_sent_through_the_link_while_passwords_are_allowed_too(
    open_street: OpenStreet, login_pages: list[str]
) -> None:
    """Also where the link is one of the login pages, as in Nexudus."""
    street = await open_street(via="browser", doors=False, login_pages=login_pages)
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/bookings")
    assert (page.status, page.text) == (200, f"/ of {MIA_MAIL}")
    assert street.hand_offs == 1
    assert street.cookie_of(browser) not in ("", *street.portal.sessions)  # sealed
    await browser.open(street.house.origin() + "/oauth2/sign_out")
    await browser.submit()
    assert street.portal.sessions == {}


async def test_another_persons_link_gives_one_own_session_while_passwords_are_allowed(open_street: OpenStreet) -> None:
    """A-59: it is a login page like the others: whoever has a session here is handed off as that person."""
    street = await open_street(via="browser", doors=False)
    ticket = street.portal.ticket_for(ADA_MAIL)
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at=f"/sso?ticket={ticket}")
    assert MIA_MAIL in page.text
    assert ticket in street.portal.tickets


async def test_a_link_that_is_being_passed_at_sign_out_ends_the_session_that_it_opened(open_street: OpenStreet) -> None:
    """C-75: the upstream has answered, our session is gone, and this worker has not heard of it yet."""
    street = await open_street(via="browser")
    cookie = await street.house.session(email=MIA_MAIL)
    link = str((await street.house.ask("/bookings", cookie=cookie, fields=BROWSER)).value("Location"))
    store, portal = street.house.worker.store, street.portal

    async def ended_meanwhile(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await portal(request, reader, writer)
        if request.target.startswith("/sso"):
            await store.revoke(store.key_of(cookie.partition("=")[2]))

    street.house.upstream.answer = ended_meanwhile
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await street.house.ask(link.removeprefix(street.house.origin()), cookie=cookie, fields=BROWSER)
    await eventually(lambda: street.portal.logged_out == [MIA_MAIL])
    assert street.portal.sessions == {}


async def test_a_session_that_is_opened_for_a_connection_that_was_cut_is_ended(open_street: OpenStreet) -> None:
    """C-75: nobody has its cookies, so nobody could end it."""
    street = await open_street()
    cookie = await street.house.session(email=MIA_MAIL)
    gate = Gate(street, "/sso")
    wire = await Wire.open(street.house.port)
    await wire.send(f"GET / HTTP/1.1\r\nHost: {street.house.host()}\r\nCookie: {cookie}\r\n{BROWSER}\r\n".encode())
    await gate.met.wait()
    await street.house.worker.server.drain(0.0)  # as when the process ends: connections are cut
    await eventually(lambda: not street.house.worker.context.connections)
    await wire.close()
    gate.open.set()
    await eventually(lambda: street.portal.logged_out == [MIA_MAIL])
    assert street.portal.sessions == {}


async def test_a_session_that_is_opened_and_then_cannot_be_judged_is_ended(open_street: OpenStreet) -> None:
    """C-75: the upstream does not say whose it is within the hand-off's time."""
    street = await open_street(who_am_i={"path": "/me", "pointer": "/Email"}, timeout="1s")
    cookie = await street.house.session(email=MIA_MAIL)
    gate = Gate(street, "/me")
    assert (await street.house.ask("/", cookie=cookie, fields=BROWSER)).status in (502, 504)
    gate.open.set()
    await eventually(lambda: street.portal.logged_out == [MIA_MAIL])
    assert street.portal.sessions == {}


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda street: setattr(street.office, "status", 500),
        lambda street: setattr(street.office, "secret", "another"),
    ],
)
async def test_a_token_that_is_refused_says_so(open_street: OpenStreet, spoil: Callable[[Street], object]) -> None:
    street = await open_street()
    spoil(street)
    page = await street.house.sign_in(street.house.browser(), at="/bookings")
    assert page.status == 502
    assert [event["reason"] for event in street.events("hand_off.failed")] == ["token_refused"]
    assert page.document.link("Try again") == "/bookings"


async def test_an_upstream_that_answers_nothing_in_time_is_not_waited_for(open_street: OpenStreet) -> None:
    street = await open_street(timeout="300ms")
    street.office.gate.clear()
    page = await street.house.sign_in(street.house.browser(), at="/bookings")
    assert page.status == 502
    assert [event["reason"] for event in street.events("hand_off.failed")] == ["timeout"]
    street.office.gate.set()


async def test_a_redemption_without_the_cookies_that_were_named_says_which_came(
    open_street: OpenStreet, caplog: pytest.LogCaptureFixture
) -> None:
    street = await open_street(session_cookies=["OTHER"])
    street.portal.lands_on = "https://elsewhere.example/"
    page = await street.house.sign_in(street.house.browser(), at="/bookings")
    assert page.status == 502
    assert "elsewhere" in caplog.text


async def test_a_person_without_the_fact_that_the_login_needs_reads_why(open_street: OpenStreet) -> None:
    street = await open_street(redeem={"path": "/sso?ticket={token}&user={directory.user_id}"})
    page = await street.house.sign_in(street.house.browser(), at="/bookings")
    assert page.status == 403
    assert "You have no login" in page.document.title + page.document.words


@pytest.mark.parametrize("via", ["server", "bearer", "browser"])
async def test_no_secret_of_a_hand_off_is_written_down(
    open_street: OpenStreet, redis: Redis, prefix: str, caplog: pytest.LogCaptureFixture, via: str
) -> None:
    """C-48: not the token, not the upstream's session, not the service's secret; not in logs, events, pages or Redis."""
    caplog.set_level("DEBUG")
    redeem = (
        {"method": "POST", "path": "/api/exchange?token={token}"}
        if via == "bearer"
        else {"path": "/sso?ticket={token}"}
    )
    street = await open_street(via=via, redeem=redeem)
    browser = street.house.browser()
    await street.house.sign_in(browser, at="/bookings")
    opened = [*street.portal.sessions]
    street.portal.mixes_up_with = ADA_MAIL
    street.portal.sessions.clear()
    await browser.open(street.house.origin() + "/bookings")
    street.office.status = 500
    await browser.open(street.house.origin() + "/bookings")
    secrets = [*street.office.made, *opened, *street.portal.sessions, *street.portal.bearers, SERVICE]
    assert len(secrets) >= 3
    stored = [key + (await redis.get(key) or b"") async for key in redis.scan_iter(match=prefix + "handed:*")]
    assert stored
    written = caplog.text.encode() + b"".join(street.house.lines) + b"".join(stored)
    written += b"".join(answer.body for answer in browser.history)
    assert [secret for secret in secrets if secret.encode() in written] == []
