"""Attacks on hand-offs: other people's links and cookies, the token's way, redirects of the upstream's, records copied in Redis."""

import asyncio
from urllib.parse import quote, urlsplit

import pytest
from redis.asyncio import Redis

from gateway.demo.nexudus_stub import SERVICE as ACCOUNT
from gateway.demo.nexudus_stub import NexudusStub
from gateway.operations.probe.spellings import spellings
from tests.fakes.house import BROWSER
from tests.fakes.own_sessions import COOKIE, OwnSessions
from tests.fakes.recorder import Recorded
from tests.fakes.redirects import EVIL
from tests.fakes.redirects import spellings as redirects
from tests.fakes.street import ADA_MAIL, MIA_MAIL, Street
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse, OpenStreet

BROWSER_LINK = {"via": "browser", "who_am_i": None, "redeem": {"path": "/sso?ticket={token}&to={return_to}"}}


async def signed_in(street: Street, email: str = MIA_MAIL) -> str:
    """A session whose browser was handed off: its Cookie field."""
    cookie = await street.house.session(email=email, subject=email)
    answer = await street.house.ask("/", cookie=cookie, fields=BROWSER)
    assert answer.status == 302
    sealed = [value.partition(";")[0] for value in answer.values("Set-Cookie") if value.startswith(COOKIE)]
    return f"{cookie}; {sealed[0]}"


# --- the link that redeems a token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["server", "bearer", "browser"])
@pytest.mark.parametrize("who", ["stranger", "person"])
async def test_the_link_stays_shut_in_every_spelling(open_street: OpenStreet, via: str, who: str) -> None:
    """C-12: a ticket that leaked opens nothing through the gateway, whoever sends it and however it is spelled."""
    link = (
        {**BROWSER_LINK, "redeem": {"path": "/sso?ticket={token}"}}
        if via == "browser"
        else {"via": via, "who_am_i": None}
    )
    street = await open_street(app={"unauthenticated": "pass"}, **link)
    cookie = await street.house.session(email=MIA_MAIL) if who == "person" else None
    ticket = street.portal.ticket_for(ADA_MAIL)
    tried = list(spellings("/sso", f"ticket={ticket}", method="GET", languages=("/en", "/pt-br")))
    for spelling in tried:
        lines = [
            b"%b %b HTTP/1.1" % ((spelling.method or "GET").encode(), spelling.target),
            b"Host: " + street.house.host().encode(),
        ]
        lines += [name + b": " + value for name, value in spelling.fields]
        lines += [b"Cookie: " + cookie.encode()] if cookie else []
        answer = await street.house.raw(b"\r\n".join((*lines, BROWSER.encode(), b"")))
        assert answer.status != 200, spelling
    assert len(tried) > 100
    assert ticket in street.portal.tickets
    assert not [
        request.target
        for request in street.house.upstream.requests
        if "/sso" in request.target.lower() and ticket in request.target
    ]


async def test_the_link_is_refused_with_every_method_and_place_of_the_parameter(open_street: OpenStreet) -> None:
    """C-12."""
    street = await open_street(app={"unauthenticated": "pass"})
    ticket = street.portal.ticket_for(ADA_MAIL)
    for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "QUERY"):
        for query in (
            f"ticket={ticket}",
            f"a=1&ticket={ticket}",
            f"TICKET={ticket}",
            f"%74icket={ticket}",
            f"a;ticket={ticket}",
        ):
            answer = await street.house.ask(f"/sso?{query}", method=method, body=b"" if method != "GET" else None)
            assert answer.status in (302, 303, 400, 403), (method, query)
    assert ticket in street.portal.tickets
    assert street.seen == []


async def test_a_browser_passes_the_link_that_it_was_sent_through_once(open_street: OpenStreet) -> None:
    """C-12."""
    street = await open_street(**BROWSER_LINK)
    browser = street.house.browser()
    page = await street.house.sign_in(browser, at="/bookings?day=2")
    (ticket,) = street.office.made
    link = f"/sso?ticket={ticket}&to=%2Fbookings%3Fday%3D2"
    assert [answer.url for answer in browser.history if "/sso" in answer.url] == [street.house.origin() + link]
    assert page.status == 200
    assert street.portal.forms == 0
    street.portal.tickets[ticket] = ADA_MAIL
    again = await browser.open(street.house.origin() + link)
    assert again.status == 403
    assert ticket in street.portal.tickets


async def test_two_tabs_have_a_link_each(open_street: OpenStreet) -> None:
    street = await open_street(**BROWSER_LINK)
    cookie = await street.house.session(email=MIA_MAIL)
    sent = [
        urlsplit(str((await street.house.ask(f"/{n}", cookie=cookie, fields=BROWSER)).value("Location")))
        for n in (1, 2)
    ]
    for link in sent:
        assert (await street.house.ask(f"{link.path}?{link.query}", cookie=cookie, fields=BROWSER)).values("Set-Cookie")
    for link in sent:
        assert (await street.house.ask(f"{link.path}?{link.query}", cookie=cookie, fields=BROWSER)).status == 403


async def test_the_link_of_one_person_is_nothing_in_another_ones_browser(open_street: OpenStreet) -> None:
    """C-12: mailed, copied from a history, or read from a log of somebody's proxy."""
    street = await open_street(**BROWSER_LINK)
    mia, ada = await street.house.session(email=MIA_MAIL), await street.house.session(email=ADA_MAIL, subject="ada")
    sent = await street.house.ask("/", cookie=mia, fields=BROWSER)
    link = urlsplit(str(sent.value("Location")))
    assert "ticket=" in link.query
    for cookie in (ada, None):
        answer = await street.house.ask(f"{link.path}?{link.query}", cookie=cookie, fields=BROWSER)
        assert answer.status == (403 if cookie else 302)
        assert answer.values("Set-Cookie") == [] or not cookie
    assert not [target for target in street.seen if target.startswith("/sso")]
    theirs = await street.house.ask(f"{link.path}?{link.query}", cookie=mia, fields=BROWSER)
    assert theirs.status == 302
    assert [target for target in street.seen if target.startswith("/sso")]


async def test_a_link_of_our_own_does_not_go_around_a_rule(open_street: OpenStreet) -> None:
    """C-18: the door opens for the link, and the app's rules still hold."""
    rules = [{"match": ["* /sso"], "require": {"groups": ["staff"]}}]
    doors = [{"match": "* /login", "answer": "sign_in"}, {"match": "GET /sso", "answer": "sign_in"}]
    street = await open_street(app={"rules": rules, "password_routes": doors}, **BROWSER_LINK)
    cookie = await street.house.session(email=MIA_MAIL)
    link = urlsplit(str((await street.house.ask("/", cookie=cookie, fields=BROWSER)).value("Location")))
    assert (await street.house.ask(f"{link.path}?{link.query}", cookie=cookie, fields=BROWSER)).status == 403
    assert street.seen == []


# --- other people's cookies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [COOKIE, COOKIE.lower(), f"%50{COOKIE[1:]}", f"a=1,{COOKIE}", f'"{COOKIE}"'])
async def test_a_cookie_of_another_persons_session_does_not_pass(open_street: OpenStreet, name: str) -> None:
    """C-37, C-44: sealed for another session, or bare as the upstream made it; in any spelling of its name."""
    street = await open_street()
    adas = (await signed_in(street, ADA_MAIL)).partition(f"{COOKIE}=")[2]
    bare = street.portal.open_session(ADA_MAIL)
    mia = await street.house.session(email=MIA_MAIL)
    street.house.upstream.requests.clear()
    for value in (adas, bare, f"{bare}.{'A' * 22}", f"{adas.rpartition('.')[0]}"):
        answer = await street.house.ask("/api", cookie=f"{mia}; {name}={value}", fields="Sec-Fetch-Mode: cors\r\n")
        assert answer.status == 302  # the upstream's answer to nobody
    sent = [request.values("Cookie") for request in street.house.upstream.requests]
    assert len(sent) == 4
    assert bare.encode() not in b"".join(value for values in sent for value in values)
    assert street.portal.pages == []


async def test_a_second_cookie_beside_the_own_one_does_not_win(open_street: OpenStreet) -> None:
    """C-37: cookie tossing, before and behind."""
    street = await open_street()
    own = await signed_in(street)
    planted = street.portal.open_session(ADA_MAIL)
    for cookies in (f"{COOKIE}={planted}; {own}", f"{own}; {COOKIE}={planted}"):
        answer = await street.house.ask("/page", cookie=cookies, fields=BROWSER)
        assert answer.body == f"/page of {MIA_MAIL}".encode()


async def test_without_a_session_of_ours_no_session_of_the_upstreams_passes(open_street: OpenStreet) -> None:
    """C-44: after a sign-out, an expiry, or a back-channel log-out the browser still holds the cookie."""
    street = await open_street(app={"unauthenticated": "pass", "public": ["GET /open/**"]})
    cookies = await signed_in(street)
    sealed = cookies.partition("; ")[2]
    bare = street.portal.open_session(MIA_MAIL)
    for cookie in (sealed, f"{COOKIE}={bare}"):
        for target in ("/page", "/open/page"):
            assert (await street.house.ask(target, cookie=cookie, fields="Accept: */*\r\n")).status == 302
    key = street.house.worker.store.key_of(cookies.partition("=")[2].partition(";")[0])
    await street.house.worker.store.revoke(key)
    answer = await street.house.ask("/page", cookie=cookies, fields="Accept: */*\r\n")
    assert answer.status == 302
    assert street.portal.pages == []


async def test_a_session_that_the_upstream_opens_for_nobody_does_not_replace_a_persons(open_street: OpenStreet) -> None:
    """C-36: session fixation by a public page."""
    street = await open_street(app={"public": ["GET /sso-open/**", "GET /open"]})
    own = await signed_in(street)

    async def sets(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 200 OK\r\nSet-Cookie: {COOKIE}=fixed; Path=/\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n".encode()
        )

    street.house.upstream.answer = sets
    answer = await street.house.ask("/open", cookie=own, fields=BROWSER)
    assert answer.values("Set-Cookie") == ["a=1"]


@pytest.mark.parametrize("planted", [f"={COOKIE}=fixed", f" = {COOKIE}=fixed; Path=/"])
async def test_a_nameless_cookie_that_reads_like_a_session_is_not_passed_on(
    open_street: OpenStreet, planted: str
) -> None:
    """C-37: it would come back as its bare value."""
    street = await open_street()
    own = await signed_in(street)

    async def sets(request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 200 OK\r\nSet-Cookie: {planted}\r\nSet-Cookie: =a\r\nContent-Length: 0\r\n\r\n".encode()
        )

    street.house.upstream.answer = sets
    answer = await street.house.ask("/open", cookie=own, fields="Accept: */*\r\n")
    assert [value for value in answer.values("Set-Cookie") if "fixed" in value] == []
    assert "=a" in answer.values("Set-Cookie")


async def test_where_passwords_are_allowed_strangers_sign_in_as_ever(open_street: OpenStreet) -> None:
    street = await open_street(app={"unauthenticated": "pass"}, doors=False)
    session = street.portal.open_session(MIA_MAIL)
    answer = await street.house.ask("/page", cookie=f"{COOKIE}={session}", fields=BROWSER)
    assert answer.body == f"/page of {MIA_MAIL}".encode()


async def test_a_record_copied_under_another_sessions_key_is_nothing(
    open_street: OpenStreet, redis: Redis, prefix: str
) -> None:
    """C-08: whoever can write to Redis gives nobody another person's bearer token."""
    street = await open_street(
        via="bearer", session_cookies=[], redeem={"method": "POST", "path": "/api/exchange?token={token}"}
    )
    ada, mia = await street.house.session(email=ADA_MAIL, subject="ada"), await street.house.session(email=MIA_MAIL)
    assert (await street.house.ask("/page", cookie=ada)).body == f"/page of {ADA_MAIL}".encode()
    (name,) = [key async for key in redis.scan_iter(match=prefix + "handed:*")]
    mias = street.house.worker.store.key_of(mia.partition("=")[2])
    await redis.set(f"{prefix}handed:{mias}", await redis.get(name) or b"")
    assert (await street.house.ask("/page", cookie=mia)).body == f"/page of {MIA_MAIL}".encode()


async def test_a_bearer_token_stays_with_its_person_on_one_connection(open_street: OpenStreet) -> None:
    """B-54: the same connection carries one person, another, and nobody."""
    street = await open_street(
        via="bearer", session_cookies=[], redeem={"method": "POST", "path": "/api/exchange?token={token}"}, app={"public": ["GET /open"]}
    )  # fmt: skip
    wire = await Wire.open(street.house.port)
    people = {email: await street.house.session(email=email, subject=email) for email in (MIA_MAIL, ADA_MAIL)}
    for email in (MIA_MAIL, MIA_MAIL, ADA_MAIL, MIA_MAIL):
        head = f"GET /page HTTP/1.1\r\nHost: {street.house.host()}\r\nCookie: {people[email]}\r\nAuthorization: Bearer stolen\r\n\r\n"
        await wire.send(head.encode())
        assert (await wire.response()).body == f"/page of {email}".encode()
        await wire.send(head.replace("/page", "/open").encode())
        assert (await wire.response()).status == 302
    await wire.close()
    sent = [request.values("Authorization") for request in street.house.upstream.requests if request.target == "/open"]
    assert sent == [[b"Bearer stolen"]] * 4


# --- redirects --------------------------------------------------------------------------------------------------------


async def test_where_the_upstream_redirects_to_is_nothing_to_the_browser(open_street: OpenStreet) -> None:
    """A-50: the redemption leads elsewhere; the browser stays."""
    street = await open_street()
    for location in (f"https://{EVIL}/", f"//{EVIL}/", f"/\\{EVIL}", "/elsewhere"):
        street.portal.lands_on = location
        cookie = await street.house.session(email=MIA_MAIL)
        answer = await street.house.ask("/bookings?x=1", cookie=cookie, fields=BROWSER)
        assert answer.value("Location") == street.house.origin() + "/bookings?x=1"


async def test_an_upstream_that_leads_elsewhere_before_its_session_is_there_is_not_followed(
    open_street: OpenStreet,
) -> None:
    """A-50."""
    street = await open_street(session_cookies=["NEVERSET"])
    street.portal.lands_on = f"https://{EVIL}/step"
    answer = await street.house.ask("/bookings", cookie=await street.house.session(email=MIA_MAIL), fields=BROWSER)
    assert answer.status == 502
    assert [target.partition("?")[0] for target in street.seen] == ["/sso"]


async def test_a_login_page_leads_nowhere_but_here(open_street: OpenStreet) -> None:
    """A-50: `ReturnUrl` of a login page that somebody was sent to, in every trick of the corpus."""
    street = await open_street(most=100)
    cookie = await street.house.session(email=MIA_MAIL)
    here = urlsplit(street.house.origin()).netloc
    values = redirects(here)
    for value in values[:: max(1, len(values) // 60)]:
        sent = quote(value.encode("utf-8", "surrogatepass"), safe="")
        answer = await street.house.ask(f"/login?ReturnUrl={sent}", cookie=cookie, fields=BROWSER)
        assert answer.status == 302, value
        location = str(answer.value("Location"))
        assert location.startswith(street.house.origin() + "/"), value
        assert urlsplit(location).netloc == here


async def test_a_page_whose_path_looks_like_a_host_stays_here(open_street: OpenStreet) -> None:
    """A-50."""
    street = await open_street()
    cookie = await street.house.session(email=MIA_MAIL)
    answer = await street.house.ask(f"//{EVIL}/x", cookie=cookie, fields=BROWSER)
    assert str(answer.value("Location")).startswith(street.house.origin() + "/")


# --- Nexudus ----------------------------------------------------------------------------------------------------------


async def test_somebody_elses_login_of_the_directory_is_refused(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    """A-59, C-48: the directory's record names another person's login; nothing of it is relayed, and no token is written down."""
    async with NexudusStub(users=[{"email": ADA_MAIL, "password": "x"}]) as stub:
        service, ada = stub.world.user_by_email(ACCOUNT[0]), stub.world.user_by_email(ADA_MAIL)
        assert service is not None
        assert ada is not None
        service["IsAdmin"] = True
        stub.world.add_coworker(MIA_MAIL, "Mia", UserId=ada["Id"])
        portal = OwnSessions(redeem=stub.redeem)
        hand_off = {"kind": "nexudus", "session_cookies": [COOKIE], "log_out": "/logout"}
        directory = {
            "kind": "nexudus", "base_url": stub.url, "username": ACCOUNT[0], "password": ACCOUNT[1], "business_ids": [501],
        }  # fmt: skip
        house = await open_house(
            apps={"portal": {"hand_off": hand_off}}, directory=directory, openid={"create_users": False}
        )
        house.upstream.answer = portal
        caplog.set_level("DEBUG")

        answer = await house.ask("/", cookie=await house.session(email=MIA_MAIL), fields=BROWSER)
        assert answer.status == 403
        assert answer.values("Set-Cookie") == []
        assert portal.logged_out == [ADA_MAIL]
    assert "jwt." not in caplog.text
    assert b"jwt." not in b"".join(house.lines)


async def test_a_name_asks_about_no_other_session(open_street: OpenStreet) -> None:
    """A-59: a fact in the path of `who_am_i` adds no parameter and no segment."""
    street = await open_street(who_am_i={"path": "/me?as={name}", "pointer": "/Email"})
    cookie = await street.house.session(email=MIA_MAIL, name="mia&as=/../ada ü")
    assert (await street.house.ask("/", cookie=cookie, fields=BROWSER)).status == 302
    (asked,) = (target for target in street.seen if target.startswith("/me"))
    assert asked == "/me?as=mia%26as%3D%2F..%2Fada%20%C3%BC"
