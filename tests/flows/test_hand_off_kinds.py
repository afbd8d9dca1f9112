"""The kinds of hand-off: Nexudus by its own API, with cookies, with a bearer token, through the browser; and bearer tokens of other applications."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.demo.own_login import COOKIE as HARBOUR
from gateway.demo.portal import SamplePortal
from tests.fakes.house import BROWSER, House
from tests.fakes.own_sessions import COOKIE, OwnSessions
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.street import ADA_MAIL, MIA_MAIL
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse, OpenStreet

BEARER: dict[str, Any] = {
    "via": "bearer",
    "session_cookies": [],
    "redeem": {"method": "POST", "path": "/api/exchange?token={token}"},
}


@dataclass
class Place:
    """A house before a Nexudus: its API, and the portal that takes the tokens which the API makes."""

    house: House
    stub: NexudusStub
    portal: SamplePortal | OwnSessions

    def may_make_tokens(self) -> None:
        service = self.stub.world.user_by_email(SERVICE[0])
        assert service is not None
        service["IsAdmin"] = True


OpenPlace = Callable[..., Awaitable[Place]]


@pytest.fixture
async def open_place(open_house: OpenHouse, provider: MisbehavingProvider) -> AsyncIterator[OpenPlace]:
    """`open_place(portal?, **keys of hand_off)`; the portal is the sample one, unless there is another."""
    closing: list[Any] = []

    async def opening(other: OwnSessions | None = None, surface: str = "portal", **keys: Any) -> Place:
        user = {"email": MIA_MAIL, "password": "unknown", "full_name": "Mia"}
        stub = await NexudusStub(users=[user]).start()
        closing.append(stub)
        login = stub.world.user_by_email(MIA_MAIL)
        assert login is not None
        stub.world.add_coworker(MIA_MAIL, "Mia", UserId=login["Id"])
        portal = SamplePortal(keeps_sessions=True, redeem=stub.redeem)
        await portal.start()
        closing.append(portal)
        if other is not None:
            other.redeem = stub.redeem
        hand_off = {"kind": "nexudus", "session_cookies": [HARBOUR], **keys}
        directory = {
            "kind": "nexudus", "base_url": stub.url, "username": SERVICE[0], "password": SERVICE[1], "business_ids": [501],
            "country_id": 1113, "time_zone_id": 2029,
        }  # fmt: skip
        house = await open_house(
            apps={"portal": {"hand_off": hand_off, "password_routes": "nexudus", "surface": surface}},
            openid={
                "prevent_password_login": True, "prevent_dashboard_password_login": True, "create_users": True,
                "unregistered_when_sso_only": "create",
            },
            directory=directory,
            provider=provider,
            upstreams={} if other is not None else {"portal": portal.url},
        )  # fmt: skip
        if other is not None:
            house.upstream.answer = other
        place = Place(house, stub, other or portal)
        place.may_make_tokens()
        return place

    yield opening
    for each in closing:
        await each.close()


# --- Nexudus ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ["portal", "dashboard"])
async def test_a_member_opens_the_portal_that_knows_only_its_own_session(open_place: OpenPlace, surface: str) -> None:
    place = await open_place(surface=surface)
    portal = place.portal
    assert isinstance(portal, SamplePortal)
    browser = place.house.browser()
    page = await place.house.sign_in(browser, at="/profile")
    assert page.status == 200
    assert MIA_MAIL in page.text
    assert (portal.own_login.handed_in, portal.password_logins, portal.password_visits) == (1, 0, 0)
    portal.own_login.end_sessions()
    page = await browser.open(place.house.origin() + "/bookings")
    assert (page.status, portal.own_login.handed_in, portal.password_visits) == (200, 2, 0)


async def test_somebody_who_was_just_created_is_handed_off_too(open_place: OpenPlace) -> None:
    place = await open_place()
    page = await place.house.sign_in(place.house.browser(), "hd-1003", at="/profile")
    assert page.status == 200
    assert ADA_MAIL in page.text


async def test_a_customer_without_a_login_reads_why(open_place: OpenPlace) -> None:
    place = await open_place()
    for coworker in place.stub.coworkers:
        coworker["UserId"] = None
    page = await place.house.sign_in(place.house.browser(), at="/profile")
    assert page.status == 403
    assert "You have no login" in page.document.title + page.document.words
    login = place.stub.world.user_by_email(MIA_MAIL)
    assert login is not None
    place.stub.coworkers[0]["UserId"] = login["Id"]


async def test_a_service_account_without_the_role_lets_nobody_in(open_place: OpenPlace) -> None:
    place = await open_place()
    service = place.stub.world.user_by_email(SERVICE[0])
    assert service is not None
    service["IsAdmin"] = False
    page = await place.house.sign_in(place.house.browser(), at="/profile")
    assert page.status == 503
    assert b'"event":"hand_off.failed"' in b"".join(place.house.lines)


async def test_the_portals_own_login_page_is_a_hand_off_for_whoever_is_signed_in(open_place: OpenPlace) -> None:
    place = await open_place()
    browser = place.house.browser()
    await place.house.sign_in(browser, at="/profile")
    page = await browser.open(place.house.origin() + "/en/Login?ReturnUrl=%2Fbookings%3Fday%3D2030-01-01")
    assert page.url == place.house.origin() + "/bookings?day=2030-01-01"
    assert page.status == 200
    assert isinstance(place.portal, SamplePortal)
    assert place.portal.password_visits == 0


async def test_the_exchange_gives_a_bearer_token_that_only_the_upstream_sees(open_place: OpenPlace) -> None:
    """C-48."""
    portal = OwnSessions()
    place = await open_place(
        portal, via="bearer", session_cookies=[], who_am_i={"path": "/en/user/me", "pointer": "/Email"}
    )
    browser = place.house.browser()
    page = await place.house.sign_in(browser, at="/profile")
    assert page.text == f"/profile of {MIA_MAIL}"
    (bearer,) = portal.bearers
    assert [answer for answer in browser.history if bearer.encode() in answer.raw] == []
    asked = [request.target for request in place.house.upstream.requests]
    assert [target.partition("=")[0] for target in asked] == [
        "/api/sys/users/exchange?token",
        "/en/user/me",
        "/profile",
    ]


async def test_the_portals_session_is_known_by_its_number_where_the_directory_told_it(open_place: OpenPlace) -> None:
    """A-59: the address changed at the provider, the login is the same; and the other way round."""
    portal = OwnSessions()
    place = await open_place(portal, session_cookies=[COOKIE])
    login = place.stub.world.user_by_email(MIA_MAIL)
    assert login is not None
    portal.more[MIA_MAIL] = {"Id": login["Id"], "Email": "old@example.com"}
    assert (await place.house.sign_in(place.house.browser(), at="/profile")).text == f"/profile of {MIA_MAIL}"
    portal.more[MIA_MAIL] = {"Id": 7}
    assert (await place.house.sign_in(place.house.browser(), at="/profile")).status == 403


async def test_the_browser_may_be_sent_through_the_link(open_place: OpenPlace) -> None:
    place = await open_place(via="browser")
    browser = place.house.browser()
    page = await place.house.sign_in(browser, at="/profile")
    assert page.status == 200
    assert MIA_MAIL in page.text
    assert len([answer for answer in browser.history if "/user/login?t=" in answer.url]) == 1
    assert isinstance(place.portal, SamplePortal)
    assert place.portal.password_visits == 0


# --- bearer tokens ----------------------------------------------------------------------------------------------------


async def test_every_kind_of_request_carries_the_token_and_bodies_go_once(open_street: OpenStreet) -> None:
    street = await open_street(**BEARER)
    cookie = await street.house.session(email=MIA_MAIL)
    answer = await street.house.ask("/api/x", method="POST", body=b"whole", cookie=cookie)
    assert answer.body == f"/api/x of {MIA_MAIL}".encode()
    assert [request.body for request in street.house.upstream.requests if request.target == "/api/x"] == [b"whole"]
    assert street.hand_offs == 1


async def test_requests_that_come_together_share_one_token(open_street: OpenStreet) -> None:
    street = await open_street(**BEARER)
    cookie = await street.house.session(email=MIA_MAIL)
    street.office.gate.clear()
    asked = [asyncio.create_task(street.house.ask(f"/{n}", cookie=cookie)) for n in range(5)]
    await eventually(lambda: street.office_server.requests)
    street.office.gate.set()
    assert [answer.body for answer in await asyncio.gather(*asked)] == [
        f"/{n} of {MIA_MAIL}".encode() for n in range(5)
    ]
    assert (street.hand_offs, len(street.portal.bearers)) == (1, 1)


async def test_a_token_that_the_upstream_does_not_take_any_more_is_renewed_within_the_request(
    open_street: OpenStreet,
) -> None:
    street = await open_street(**BEARER)
    street.portal.unauthorized = 401
    cookie = await street.house.session(email=MIA_MAIL)
    assert (await street.house.ask("/one", cookie=cookie)).status == 200
    street.portal.bearers.clear()
    assert (await street.house.ask("/two", cookie=cookie)).body == f"/two of {MIA_MAIL}".encode()
    street.portal.bearers.clear()
    assert (await street.house.ask("/three", method="POST", body=b"x", cookie=cookie)).status == 401
    assert len([target for target in street.seen if target == "/three"]) == 1
    assert street.hand_offs == 2


async def test_an_upstream_that_takes_no_token_is_asked_twice_and_no_more(open_street: OpenStreet) -> None:
    street = await open_street(**BEARER)
    street.portal.unauthorized = 401
    street.portal.closed = ("/closed",)
    cookie = await street.house.session(email=MIA_MAIL)
    assert (await street.house.ask("/closed", cookie=cookie)).status == 401
    assert [target for target in street.seen if target == "/closed"] == ["/closed"] * 2


async def test_a_token_of_somebody_else_is_not_used(open_street: OpenStreet) -> None:
    """A-59."""
    street = await open_street(**BEARER)
    street.portal.mixes_up_with = ADA_MAIL
    answer = await street.house.ask("/page", cookie=await street.house.session(email=MIA_MAIL), fields=BROWSER)
    assert answer.status == 403
    assert street.portal.pages == []


async def test_an_endpoint_that_opens_a_session_at_once_needs_no_token(open_street: OpenStreet) -> None:
    redeem = {
        "method": "POST",
        "path": "/internal",
        "headers": {"X-Api-Key": "internal-key"},
        "json": {"email": "{email}"},
    }
    street = await open_street(token=None, redeem=redeem, who_am_i=None)
    opened: list[bytes] = []

    async def answer(request: Any, reader: Any, writer: Any) -> None:
        if request.target != "/internal":
            await street.portal(request, reader, writer)
            return
        opened.append(request.body)
        assert request.values("X-Api-Key") == [b"internal-key"]
        session = street.portal.open_session(MIA_MAIL)
        writer.write(f"HTTP/1.1 200 OK\r\nSet-Cookie: {COOKIE}={session}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    street.house.upstream.answer = answer
    page = await street.house.sign_in(street.house.browser(), str(MIA["sub"]), at="/bookings")
    assert page.text == f"/bookings of {MIA_MAIL}"
    assert opened == [b'{"email": "mia@example.com"}']
    assert street.hand_offs == 0
