"""The sample portal: a real application that believes the gateway's headers, and whose own password login really works."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

import gateway.demo
from gateway.demo.bookings import DAYS_AHEAD, Bookings
from gateway.demo.own_login import COOKIE, fold
from gateway.demo.people import MEMBER, NEWCOMER
from gateway.demo.portal import SamplePortal

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
TODAY, TOMORROW = "2026-11-23", "2026-11-24"
PAGES = ("/", "/bookings", "/community", "/invoices", "/live", "/profile")


def assertion(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


MIA = {
    "X-Forwarded-User": "hd-1001",
    "X-Forwarded-Email": MEMBER.email,
    "X-Forwarded-Name": "Mia Lindqvist",
    "X-Forwarded-Preferred-Username": "mia",
    "X-Forwarded-Groups": "members,night%2C owls",
    "X-Doorward-Jwt-Assertion": assertion(
        iss="http://portal.localhost:4180", aud="portal", sid="handle-7", exp=1795425300
    ),
    "X-Portal-Customer": "87654321",
    "X-Request-Id": "req-42",
}
NOAH = {"X-Forwarded-User": "hd-1002", "X-Forwarded-Email": NEWCOMER.email, "X-Forwarded-Name": "Noah Okafor"}


@pytest_asyncio.fixture
async def portal() -> AsyncIterator[SamplePortal]:
    running = SamplePortal(clock=lambda: NOW)
    await running.start()
    yield running
    await running.close()


@pytest_asyncio.fixture
async def http(portal: SamplePortal) -> AsyncIterator[aiohttp.ClientSession]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(portal.url, cookie_jar=jar) as session:
        yield session


async def book(http: aiohttp.ClientSession, headers: dict[str, str], **wish: str) -> aiohttp.ClientResponse:
    form = {"room": "lantern", "day": TOMORROW, "at": "16", "hours": "1", "title": "Type review"} | wish
    return await http.post("/bookings", data=form, headers=headers, allow_redirects=False)


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_shows_which_identity_headers_it_received(http: aiohttp.ClientSession, path: str) -> None:
    page = await (await http.get(path, headers=MIA)).text()
    for shown in (
        "What the gateway told us",
        "X-Forwarded-User",
        "hd-1001",
        MEMBER.email,
        "87654321",
        "req-42",
        "handle-7",
    ):
        assert shown in page


async def test_the_home_page_greets_the_person_by_the_name_in_the_headers(http: aiohttp.ClientSession) -> None:
    assert "Good morning, Mia." in await (await http.get("/", headers=MIA)).text()


async def test_percent_encoded_header_values_are_shown_decoded_and_escaped(http: aiohttp.ClientSession) -> None:
    headers = MIA | {"X-Forwarded-Name": "Zo%C3%AB %3Cb%3E"}
    page = await (await http.get("/", headers=headers)).text()
    assert "Good morning, Zoë." in page
    assert "Zoë &lt;b&gt;" in page


async def test_a_group_with_a_comma_stays_one_group(http: aiohttp.ClientSession) -> None:
    answer = await (await http.get("/api/whoami", headers=MIA)).json()
    assert answer["groups"] == ["members", "night, owls"]
    assert answer["signed_in_by"] == "gateway"
    assert answer["assertion"]["aud"] == "portal"


@pytest.mark.parametrize("junk", ["x", "a.b.c", "a.!!.c", assertion(exp=10**30), "a.W10.c", "a.MQ.c"])
async def test_an_assertion_that_is_none_is_not_shown_and_breaks_nothing(
    http: aiohttp.ClientSession, junk: str
) -> None:
    assert (await http.get("/", headers=MIA | {"X-Doorward-Jwt-Assertion": junk})).status == 200


@pytest.mark.parametrize("path", PAGES)
async def test_pages_load_nothing_from_elsewhere_and_hold_no_inline_code(
    http: aiohttp.ClientSession, path: str
) -> None:
    response = await http.get(path, headers=MIA)
    page = await response.text()
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", page)
    assert not re.search(r"<style| style=|<script(?! src=\"/assets/)| on\w+=\"", page)


async def test_the_assets_need_no_sign_in(http: aiohttp.ClientSession) -> None:
    for path, kind in (("/assets/harbour.css", "text/css"), ("/assets/live.js", "javascript"), ("/favicon.ico", "svg")):
        response = await http.get(path)
        assert (response.status, kind in response.headers["Content-Type"]) == (200, True)


async def test_a_stranger_is_sent_to_the_portals_own_login_and_a_program_gets_401(http: aiohttp.ClientSession) -> None:
    page = await http.get(f"/bookings?day={TOMORROW}", allow_redirects=False)
    assert page.headers["Location"] == f"/login?ReturnUrl=/bookings?day%3D{TOMORROW}"
    assert (await http.get("/api/bookings")).status == 401


async def test_a_room_is_booked_and_cancelled_with_forms(http: aiohttp.ClientSession) -> None:
    booked = await book(http, MIA)
    assert booked.status == 303
    page = await (await http.get(booked.headers["Location"], headers=MIA)).text()
    assert "Lantern is yours" in page
    number = booked.headers["Location"].rpartition("=")[2]
    gone = await http.post(f"/bookings/{number}/cancel", headers=MIA)
    assert "The booking is cancelled" in await gone.text()
    assert "None yet" in await gone.text()


async def test_a_room_that_is_taken_is_refused_and_the_form_keeps_the_wish(http: aiohttp.ClientSession) -> None:
    await book(http, MIA)
    refused = await book(http, NOAH, hours="2", at="15", title="Mine & only mine")
    assert refused.status == 409
    page = await refused.text()
    assert "Lantern is taken 16:00–17:00" in page
    assert 'value="Mine &amp; only mine"' in page


async def test_nobody_cancels_the_booking_of_somebody_else(http: aiohttp.ClientSession) -> None:
    number = (await book(http, MIA)).headers["Location"].rpartition("=")[2]
    assert (await http.post(f"/bookings/{number}/cancel", headers=NOAH)).status == 404
    assert (await http.delete(f"/api/bookings/{number}", headers=NOAH)).status == 404
    assert (await http.delete(f"/api/bookings/{number}", headers=MIA)).status == 204


@pytest.mark.parametrize(
    "wish",
    [
        {"day": "2026-11-22"},
        {"day": (NOW.date() + timedelta(days=DAYS_AHEAD)).isoformat()},
        {"at": "7"},
        {"at": "19", "hours": "2"},
        {"hours": "0"},
        {"hours": "99999999999999999999"},
        {"room": "ballroom"},
    ],
)
async def test_a_wish_outside_the_rules_is_refused(http: aiohttp.ClientSession, wish: dict[str, str]) -> None:
    assert (await book(http, MIA, **wish)).status == 409


@pytest.mark.parametrize("day", [TODAY, TOMORROW, "2026-11-29", "1999-01-01", "not-a-day"])
async def test_the_bookings_page_shows_any_day_that_is_asked_for(http: aiohttp.ClientSession, day: str) -> None:
    assert (await http.get("/bookings", params={"day": day}, headers=MIA)).status == 200


def bookings_on(now: datetime) -> Bookings:
    return SamplePortal(clock=lambda: now).bookings


def test_the_usual_bookings_of_a_room_never_overlap() -> None:
    for start in range(0, 700, DAYS_AHEAD):
        bookings = bookings_on(NOW + timedelta(days=start))
        for ahead in range(DAYS_AHEAD):
            rows = bookings.on(bookings.today + timedelta(days=ahead))
            taken = [(row.room.id, hour) for row in rows for hour in range(row.start, row.end)]
            assert len(taken) == len(set(taken))
            assert all(row.end <= 20 for row in rows)


async def test_the_api_books_lists_and_names_what_is_wrong(http: aiohttp.ClientSession) -> None:
    wish = {"room": "lantern", "day": TOMORROW, "start": 16, "hours": 2, "title": "Type review"}
    made = await http.post("/api/bookings", json=wish, headers=MIA)
    assert made.status == 201
    listed = await (await http.get("/api/bookings", params={"day": TOMORROW}, headers=MIA)).json()
    assert await made.json() in listed
    assert (await http.post("/api/bookings", json=wish, headers=MIA)).status == 409
    assert (await http.post("/api/bookings", json=[1], headers=MIA)).status == 400
    assert (await http.get("/api/bookings?day=x", headers=MIA)).status == 400


async def test_an_upload_is_counted_and_hashed_raw_and_as_a_form(http: aiohttp.ClientSession) -> None:
    blob = bytes(range(256)) * 9000
    digest = hashlib.sha256(blob).hexdigest()
    receipt = {"size": len(blob), "sha256": digest}
    assert await (await http.post("/upload", data=blob, headers=MIA)).json() == receipt
    form = aiohttp.FormData()
    form.add_field("file", blob, filename="map.bin")
    page = await (await http.post("/upload", data=form, headers=MIA | {"Accept": "text/html"})).text()
    assert digest in page
    assert f"{len(blob):,} bytes" in page


async def test_the_socket_echoes_text_and_bytes(http: aiohttp.ClientSession) -> None:
    async with http.ws_connect("/ws", headers=MIA) as socket:
        await socket.send_str("ahoy")
        await socket.send_bytes(b"\x00\xff")
        assert [(await socket.receive()).data, (await socket.receive()).data] == ["ahoy", b"\x00\xff"]


async def test_the_clock_ticks_as_server_sent_events(http: aiohttp.ClientSession) -> None:
    async with http.get("/clock", headers=MIA) as response:
        assert response.content_type == "text/event-stream"
        event = await response.content.readuntil(b"\n\n")
    assert event == b'id: 1\nevent: tick\ndata: {"time": "09:30:00"}\n\n'


async def test_open_streams_do_not_hold_up_the_end() -> None:
    portal = SamplePortal()
    await portal.start()
    async with aiohttp.ClientSession(portal.url, headers=MIA) as http, http.ws_connect("/ws") as socket:
        async with http.get("/clock") as clock:
            await clock.content.readuntil(b"\n\n")
            await asyncio.wait_for(portal.close(), 30)
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


PASSWORD_LOGINS = [
    ("/login", {"Email": MEMBER.email, "Password": MEMBER.password}),
    ("/en/login", {"Email": MEMBER.email, "Password": MEMBER.password}),
    ("/signin", {"email": MEMBER.email, "password": MEMBER.password}),
    ("/api/token", {"grant_type": "password", "username": MEMBER.email, "password": MEMBER.password}),
    ("/api/sys/users/token", {"email": MEMBER.email, "password": MEMBER.password}),
    ("/api/sys/users/validate", {"Email": MEMBER.email, "Password": MEMBER.password}),
    ("/api/sys/users/completePasswordReset", {"Email": MEMBER.email, "Password": "new"}),
    ("/api/public/signup", {"Email": "new@tenant.example", "Password": "new"}),
    ("/en/signup", {"Coworker.Email": "new@tenant.example", "Coworker.Password": "new"}),
]


@pytest.mark.parametrize(("path", "fields"), PASSWORD_LOGINS)
async def test_every_password_door_of_its_own_works_and_is_counted(
    portal: SamplePortal, http: aiohttp.ClientSession, path: str, fields: dict[str, str]
) -> None:
    response = await http.post(path, data=fields, allow_redirects=False)
    assert response.status in (200, 303)
    assert portal.password_logins == 1
    if response.status == 303:
        assert (await http.get("/profile")).status == 200


async def test_a_password_session_is_shown_as_such_and_ends(portal: SamplePortal, http: aiohttp.ClientSession) -> None:
    fields = {"Email": MEMBER.email, "Password": MEMBER.password, "ReturnUrl": "/profile"}
    page = await (await http.post("/en/login", data=fields)).text()
    assert "With a Harbour Desk password" in page
    assert "came without identity headers" in page
    await http.get("/login/logout")
    assert (await http.get("/api/whoami")).status == 401


@pytest.mark.parametrize("where", ["https://evil.example/", "//evil.example/", "\\\\evil.example"])
async def test_the_portals_own_login_does_not_redirect_elsewhere(http: aiohttp.ClientSession, where: str) -> None:
    fields = {"Email": MEMBER.email, "Password": MEMBER.password, "ReturnUrl": where}
    response = await http.post("/login", data=fields, allow_redirects=False)
    assert response.headers["Location"] == "/"


async def test_a_wrong_password_and_a_used_link_let_nobody_in(
    portal: SamplePortal, http: aiohttp.ClientSession
) -> None:
    assert (await http.post("/login", data={"Email": MEMBER.email, "Password": "x"})).status == 400
    link = f"/en/user/login?t={portal.own_login.link_for(MEMBER.email)}"
    assert (await http.get(link, allow_redirects=False)).status == 303
    assert (await http.get(link, allow_redirects=False)).status == 400
    assert (portal.password_logins, portal.password_visits) == (1, 3)


async def test_basic_credentials_are_a_password_login_too(portal: SamplePortal, http: aiohttp.ClientSession) -> None:
    login = aiohttp.encode_basic_auth(MEMBER.email, MEMBER.password)
    answer = await (await http.get("/api/whoami", headers={"Authorization": login})).json()
    assert (answer["signed_in_by"], portal.password_logins) == ("password", 1)


async def test_a_token_opens_the_api_and_renews(http: aiohttp.ClientSession) -> None:
    fields = {"grant_type": "password", "username": MEMBER.email, "password": MEMBER.password}
    tokens = await (await http.post("/api/token", data=fields)).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await http.get("/api/whoami", headers=bearer)).status == 200
    renewal = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await http.post("/api/token", data=renewal)).status == 200


@pytest.mark.parametrize(
    "spelling",
    [
        "/LOGIN",
        "/login/",
        "//login",
        "/login.",
        "/login%20",
        "/login%09",
        "/login%00",
        "/login;x=1",
        "/login%3bx",
        "/%6cogin",
        "/%256cogin",
        "/login.aspx",
        "/login.json",
        "/en-GB/Login",
        "/ｌｏｇｉｎ",
        "/en;x/login/",
    ],
)
def test_the_portal_reads_paths_as_leniently_as_the_most_lenient_server(spelling: str) -> None:
    """C-12: behind the gateway these spellings must never arrive; here they reach the login."""
    assert fold(spelling) == "/login"


async def test_a_lenient_spelling_with_a_mislabelled_body_signs_in(
    portal: SamplePortal, http: aiohttp.ClientSession
) -> None:
    body = json.dumps({"Username": MEMBER.email, "PASSWORD": MEMBER.password})
    response = await http.post("/API//Token/;x", data=body, headers={"Content-Type": "text/plain; charset=nonsense"})
    assert (response.status, portal.password_logins) == (200, 1)


async def test_the_portals_own_sessions_are_bounded(portal: SamplePortal, http: aiohttp.ClientSession) -> None:
    first = portal.own_login.open_session(MEMBER)
    assert (await http.get("/api/whoami", cookies={COOKIE: first})).status == 200
    for _ in range(1000):
        portal.own_login.open_session(MEMBER)
    assert (await http.get("/api/whoami", cookies={COOKIE: first})).status == 401


def test_no_template_names_another_site() -> None:
    folder = Path(gateway.demo.__file__).parent
    for file in (*folder.glob("templates/*"), *folder.glob("assets/*")):
        text = file.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://\w", text), file.name
