"""Password doors that are shut stay shut in every spelling, before applications whose doors really work; open ones are open.

The sample portal and dashboard read paths, methods and bodies as leniently as the most lenient server known, and count who comes in. Both
are configured here with `unauthenticated: pass`, so that nothing but the door stands before them.
"""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import aiohttp
import pytest

from gateway.demo.dashboard import SampleDashboard
from gateway.demo.nexudus_stub import NexudusStub
from gateway.demo.people import ADMIN, MEMBER
from gateway.demo.portal import SamplePortal
from gateway.operations.probe.spellings import Spelling, spellings
from tests.fakes.browser import Answer
from tests.fakes.house import BROWSER, House
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"
DOOR: dict[str, Any] = {"unauthenticated": "pass", "password_routes": ["nexudus"]}
CLOSED = {"prevent_password_login": True, "prevent_dashboard_password_login": True}
#: Known to the portal's, the dashboard's and the API's own logins.
WHO = {"email": ADMIN.email, "password": ADMIN.password}


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One request at a password door. `opens`: it lets somebody in where it arrives."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    kind: bytes = FORM
    opens: bool = True

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}{'?' + self.query if self.query else ''}"


def form(path: str, text: str) -> Knock:
    return Knock(method="POST", path=path, body=text.format(**WHO).replace("@", "%40").encode())


def as_json(path: str, **members: str) -> Knock:
    return Knock(method="POST", path=path, body=json.dumps(members).encode(), kind=JSON)


def shown(path: str, query: str = "") -> Knock:
    return Knock(method="GET", path=path, query=query, opens=False)


#: What the samples serve of the nexudus pack: the doors that let somebody in ...
LOGINS = [
    form("/login", "Email={email}&Password={password}"),
    form("/signin", "Email={email}&Password={password}"),
    form("/api/token", "grant_type=password&username={email}&password={password}"),
    as_json("/api/sys/users/token", **WHO),
    as_json("/api/sys/users/validate", Email=WHO["email"], Password=WHO["password"]),
    as_json("/api/sys/users/completePasswordReset", Email=WHO["email"], Password="new"),
    Knock(method="GET", path="/user/login", query="t={link}"),
    Knock(method="GET", path="/login/login", query="t={link}"),
    Knock(method="POST", path="/api/sys/users/exchange", query="token={link}"),
    Knock(method="GET", path="/api/public/coworkers/77/impersonate"),
    as_json("/api/public/signup", Email="new@example.com", Password="new"),
    form("/signup", "Coworker.Email=new%40example.com&Coworker.Password=new"),
    form("/reset-password", "Email={email}&Password=new"),
    form("/login/ResetPassword", "Email={email}&Password=new"),
    form("/profile", "Email={email}&NewPassword=new&OldPassword=old"),
    form("/user/profile", "Email={email}&NewPassword=new&OldPassword=old"),
]
#: ... and those that show a form, send a link, or tell whether somebody has an account.
PAGES = [
    shown("/login"), shown("/signin"), shown("/signup"), shown("/signup/plans"), shown("/join"), shown("/checkout"),
    shown("/forgot-password"), shown("/reset-password"), shown("/login/ResetPassword"), shown("/user/login"),
    shown("/api/sys/users/sendOtp", "email=a"), replace(form("/api/sys/users/startPasswordReset", "email=a"), opens=False),
    shown("/user/exists", "email=a"),
]  # fmt: skip


@dataclass
class Street:
    """The samples behind one house. `api` is the Nexudus stub as an API host."""

    house: House
    portal: SamplePortal
    dashboard: SampleDashboard
    api: NexudusStub

    def sample(self, app: str) -> SamplePortal | SampleDashboard:
        return self.portal if app == "portal" else self.dashboard

    @property
    def logins(self) -> int:
        return self.portal.password_logins + self.dashboard.password_logins

    @property
    def visits(self) -> int:
        return self.portal.password_visits + self.dashboard.password_visits

    @property
    def knocks_at_the_api(self) -> dict[str, int]:
        names = ("door.", "token.", "signed_in", "passwords_set", "accounts_made")
        return {name: count for name, count in self.api.counters.items() if name.startswith(names)}


OpenStreet = Callable[..., Awaitable[Street]]


@pytest.fixture
async def open_street(open_house: OpenHouse) -> AsyncIterator[OpenStreet]:
    async with AsyncExitStack() as stack:

        async def opening(*, app_keys: dict[str, Any] | None = None, **sections: Any) -> Street:
            portal = SamplePortal()
            dashboard = SampleDashboard(portal.bookings, portal.guests)
            api = NexudusStub(users=[{"email": ADMIN.email, "password": ADMIN.password, "full_name": ADMIN.name}])
            for server in (portal, dashboard, api):
                await server.start()
                stack.push_async_callback(server.close)
            apps = {
                "portal": {**DOOR, "surface": "portal", **(app_keys or {})},
                "dashboard": {**DOOR, "surface": "dashboard", **(app_keys or {})},
                "api": {**DOOR, "surface": "shared", "client_headers": ["client_id"]},
            }
            urls = {"portal": portal.url, "dashboard": dashboard.url, "api": api.url}
            return Street(await open_house(apps=apps, upstreams=urls, **sections), portal, dashboard, api)

        yield opening


@pytest.fixture
async def shut(open_street: OpenStreet) -> Street:
    """All doors shut."""
    return await open_street(openid=CLOSED)


class Knocker:
    """Knocks at the doors of one app over a connection that is kept where the gateway keeps it."""

    def __init__(self, street: Street, app: str) -> None:
        self._host = street.house.host(app).encode()
        self._port = street.house.port
        self._links = street.sample(app).own_login if app != "api" else None
        self._wire: Wire | None = None

    async def knock(self, knock: Knock, spelling: Spelling | None = None) -> WireResponse:
        target, method, fields = f"{knock.path}?{knock.query}".rstrip("?").encode(), knock.method, b""
        if spelling is not None:
            target, method = spelling.target, spelling.method or knock.method
            fields = b"".join(b"%b: %b\r\n" % field for field in spelling.fields)
        if b"{link}" in target and self._links is not None:
            target = target.replace(b"{link}", self._links.link_for(ADMIN.email).encode())
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (method.encode(), target, self._host, fields)
        if knock.body or method == "POST":
            head += b"Content-Type: %b\r\nContent-Length: %d\r\n" % (knock.kind, len(knock.body))
        if self._wire is None:
            self._wire = await Wire.open(self._port)
        await self._wire.send(head + b"\r\n" + knock.body)
        response = await self._wire.response()
        if response.value("connection") == "close":
            await self.close()
        return response

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        self._wire = None


def each_spelling(knock: Knock) -> Iterator[Spelling]:
    return spellings(knock.path, knock.query, method=knock.method, languages=("/en", "/pt-br"))


# --- shut -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knock", LOGINS, ids=lambda knock: knock.name)
async def test_no_spelling_of_a_login_lets_anybody_in(shut: Street, knock: Knock) -> None:
    """C-12, B-35: every spelling, in turns on the two surfaces; no request even reaches the application's door."""
    knockers = [Knocker(shut, app) for app in ("portal", "dashboard")]
    for number, spelling in enumerate(each_spelling(knock)):
        await knockers[number % 2].knock(knock, spelling)
        assert (shut.logins, shut.visits) == (0, 0), spelling
    for knocker in knockers:
        response = await knocker.knock(knock)
        assert response.status == 403
        assert json.loads(response.body)["code"] == "password_login_disabled"
        await knocker.close()
    assert (shut.logins, shut.visits) == (0, 0)


@pytest.mark.parametrize("knock", PAGES, ids=lambda knock: knock.name)
async def test_no_spelling_of_a_password_page_reaches_the_application(shut: Street, knock: Knock) -> None:
    """C-12: every fourth spelling; the rule pack's own tests have all of them."""
    knockers = [Knocker(shut, app) for app in ("portal", "dashboard")]
    for number, spelling in enumerate(islice(each_spelling(knock), 0, None, 4)):
        await knockers[number % 2].knock(knock, spelling)
        assert shut.visits == 0, spelling
    for knocker in knockers:
        assert (await knocker.knock(knock)).status == 403
        await knocker.close()
    assert shut.visits == 0


async def test_no_spelling_reaches_the_doors_of_the_api_host(shut: Street) -> None:
    """C-12: every sixth spelling of what the API serves, and of what it alone serves."""
    knocker = Knocker(shut, "api")
    only_here = [
        Knock(method="GET", path="/api/sys/users/1/token/refresh"),
        form("/api/sys/users/token/refresh", "a=b"),
    ]
    for knock in [knock for knock in LOGINS + PAGES if knock.path.startswith("/api/")] + only_here:
        for spelling in islice(each_spelling(knock), 0, None, 6):
            await knocker.knock(knock, spelling)
            assert shut.knocks_at_the_api == {}, spelling
    await knocker.close()


@pytest.mark.parametrize("app", ["portal", "dashboard", "api"])
async def test_http_basic_is_a_password_on_every_path(shut: Street, app: str) -> None:
    """C-12: in any case and spacing, beside other credentials, and in a second field."""
    credentials = base64.b64encode(f"{ADMIN.email}:{ADMIN.password}".encode()).decode()
    for value in (
        f"Basic {credentials}",
        f"basic   {credentials}",
        f"BASIC\t{credentials}",
        f"Bearer x, Basic {credentials}",
    ):
        for path in ("/api/whoami", "/", "/api/spaces/coworkers", "/assets/harbour.css"):
            response = await shut.house.ask(path, app=app, fields=f"Authorization: {value}\r\n")
            assert response.status == 403, (value, path)
            assert json.loads(response.body)["code"] == "password_login_disabled"
    twice = f"Authorization: Bearer x\r\nAuthorization: Basic {credentials}\r\n"
    assert (await shut.house.ask("/api/whoami", app=app, fields=twice)).status in (400, 403)
    assert shut.logins == 0
    assert shut.knocks_at_the_api == {}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param("Content-Encoding: gzip\r\n", b"grant_type=refresh_token", id="encoded"),
        pytest.param("", b"grant_type=refresh_token&grant_type=password", id="twice"),
        pytest.param("", b"grant_type=refresh_token&x=" + b"x" * 70_000, id="too long"),
        pytest.param("", b"grant_type=urn:unknown", id="unknown grant"),
        pytest.param("", b"username=a&password=b", id="no grant"),
        pytest.param("", b"", id="no body"),
        pytest.param("", b'{"grant_type": "password"}', id="mislabelled"),
        pytest.param("", b"x=1;grant_type=password&grant_type=refresh_token", id="semicolon"),
        pytest.param("", b"grant_type%00=x&grant_type=password", id="nul"),
        pytest.param("", b"grant_type=refresh_token&password=b", id="password beside"),
    ],
)
async def test_a_token_request_that_can_be_read_in_two_ways_is_refused(shut: Street, fields: str, body: bytes) -> None:
    """C-12."""
    fields += "Content-Type: application/x-www-form-urlencoded\r\n"
    response = await shut.house.ask("/api/token", app="api", method="POST", fields=fields, body=body)
    assert response.status == 403
    assert json.loads(response.body)["code"] == "password_login_disabled"
    assert shut.knocks_at_the_api == {}


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded; charset=utf-16", "text/plain", "multipart/form-data; boundary=x", ""]
)
async def test_a_token_request_of_another_type_is_refused(shut: Street, kind: str) -> None:
    """C-12."""
    fields = f"Content-Type: {kind}\r\n" if kind else ""
    response = await shut.house.ask(
        "/api/token", app="api", method="POST", fields=fields, body=b"grant_type=refresh_token&refresh_token=x"
    )
    assert response.status == 403
    assert shut.knocks_at_the_api == {}


async def test_a_chunked_body_over_the_limit_is_refused_before_it_ends(shut: Street) -> None:
    head = f"POST /api/token HTTP/1.1\r\nHost: {shut.house.host('api')}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    wire = await Wire.open(shut.house.port)
    await wire.send((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
    await wire.send(b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(5)))
    assert (await wire.response()).status == 403
    await wire.close()
    assert shut.knocks_at_the_api == {}


async def test_an_allowed_grant_arrives_byte_for_byte(open_house: OpenHouse) -> None:
    """The body that the door read goes on as it came, however it was framed."""
    house = await open_house(apps={"portal": DOOR}, openid=CLOSED)
    body = b"refresh_token=a%2Bb%20c&grant_type=refresh_token&client_id=%C3%A9&&x"
    fields = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nAuthorization: Bearer abc\r\n"
    assert (await house.ask("/api/token?x=1", method="POST", fields=fields, body=body)).status == 200
    chunked = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    head = f"POST /api/token HTTP/1.1\r\nHost: {house.host()}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
    assert (await house.raw(head.encode() + chunked)).status == 200
    assert [request.body for request in house.upstream.requests] == [body, body]
    first = house.upstream.requests[0]
    assert first.values("content-type") == [b"application/x-www-form-urlencoded; charset=UTF-8"]
    assert first.values("authorization") == [b"Bearer abc"]
    assert first.target == "/api/token?x=1"


async def test_a_real_refresh_goes_through_the_closed_door(shut: Street) -> None:
    """People who hold tokens of the API keep working; its `client_id` header field travels too."""
    who = {"grant_type": "password", "username": ADMIN.email, "password": ADMIN.password}
    url, headers = shut.api.url + "/api/token", {"client_id": "app"}
    async with aiohttp.request("POST", url, data=who, headers=headers) as issued:
        tokens = await issued.json()
    fields = "Content-Type: application/x-www-form-urlencoded\r\nclient_id: app\r\n"
    body = f"grant_type=refresh_token&refresh_token={tokens['refresh_token']}".encode()
    response = await shut.house.ask("/api/token", app="api", method="POST", fields=fields, body=body)
    assert response.status == 200
    assert json.loads(response.body)["access_token"] != tokens["access_token"]


# --- what people see --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", ["portal", "dashboard"])
@pytest.mark.parametrize("path", ["/login?ReturnUrl=%2fprofile", "/en/Login", "/signin", "/login;x=1?continue_to=/"])
async def test_the_login_page_leads_into_single_sign_on(
    open_street: OpenStreet, provider: MisbehavingProvider, app: str, path: str
) -> None:
    street = await open_street(openid=CLOSED, provider=provider)
    browser = street.house.browser()
    answer = await browser.open(street.house.origin(app) + path, follow=False)
    assert answer.status == 302
    assert answer.location.startswith(provider.issuer)
    page = await street.house.choose(browser, await browser.follow())
    assert page.url == street.house.origin(app) + "/"
    assert page.status == 200
    assert "mia@example.com" in page.text
    assert street.visits == 0


@pytest.mark.parametrize("app", ["portal", "dashboard"])
async def test_with_a_live_session_the_login_page_says_that_the_application_wants_its_own(
    open_street: OpenStreet, provider: MisbehavingProvider, app: str
) -> None:
    """It never goes to the provider again: that would be a circle."""
    street = await open_street(openid=CLOSED, provider=provider)
    browser = street.house.browser()
    page = await street.house.sign_in(browser, app=app, at="/oauth2/start")
    assert page.status == 200
    asked = provider.count("authorize")
    page = await browser.open(street.house.origin(app) + "/login")
    assert page.status == 403
    assert "asks for its own login" in page.text
    assert "mia@example.com" in page.text
    assert provider.count("authorize") == asked
    assert street.visits == 0
    assert (await browser.click(page.document.link("Go to the home page"))).status == 200


async def test_a_person_at_a_closed_door_reads_how_to_sign_in_and_a_program_gets_a_code(shut: Street) -> None:
    page = await shut.house.ask("/forgot-password", fields=BROWSER)
    assert page.status == 403
    assert b"Password sign-in is turned off" in page.body
    answer = Answer("", "GET", 403, [], page.body, b"", "")
    assert answer.document.link("Sign in") == shut.house.origin() + "/oauth2/start"
    problem = json.loads((await shut.house.ask("/forgot-password")).body)
    assert problem["code"] == "password_login_disabled"
    assert problem["kind"] == "account"
    assert shut.house.worker.audit.counts["route.blocked", "portal"] == 2


async def test_the_way_back_never_ends_on_a_closed_door(open_street: OpenStreet, provider: MisbehavingProvider) -> None:
    street = await open_street(openid=CLOSED, provider=provider)
    browser = street.house.browser()
    page = await browser.open(street.house.origin() + "/oauth2/start?rd=/login")
    assert (await street.house.choose(browser, page)).url == street.house.origin() + "/"


async def test_what_is_no_password_request_passes_the_closed_doors(shut: Street) -> None:
    for method, path, status in (
        ("GET", "/assets/harbour.css", 200), ("GET", "/login/logout", 303), ("OPTIONS", "/api/token", 401), ("GET", "/", 302),
    ):  # fmt: skip
        preflight = (
            "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n" if method == "OPTIONS" else ""
        )
        response = await shut.house.ask(path, method=method, fields=preflight)
        assert response.status == status, path
        assert b"password_login_disabled" not in response.body


# --- open -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knock", LOGINS, ids=lambda knock: knock.name)
async def test_with_the_toggles_off_each_door_lets_people_in(open_street: OpenStreet, knock: Knock) -> None:
    """Which also shows that the requests of the other tests would have come in."""
    street = await open_street()
    for app in ("portal", "dashboard"):
        knocker = Knocker(street, app)
        before = street.sample(app).password_logins
        assert (await knocker.knock(knock)).status in (200, 303)
        assert street.sample(app).password_logins == before + 1
        await knocker.close()


@pytest.mark.parametrize(
    ("toggles", "shut_apps"),
    [
        ({}, set()),
        ({"prevent_password_login": True}, {"portal", "api"}),
        ({"prevent_dashboard_password_login": True}, {"dashboard", "api"}),
        (CLOSED, {"portal", "dashboard", "api"}),
        ({**CLOSED, "enabled": False}, set()),
    ],
)
async def test_each_toggle_shuts_the_doors_of_its_surface(
    open_street: OpenStreet, toggles: dict[str, Any], shut_apps: set[str]
) -> None:
    """docs/interface.md: a `shared` app is shut when either toggle is on; off means a plain proxy."""
    street = await open_street(openid=toggles)
    knock = LOGINS[2]
    for app in ("portal", "dashboard", "api"):
        knocker = Knocker(street, app)
        assert (await knocker.knock(knock)).status == (403 if app in shut_apps else 200), app
        await knocker.close()
    assert street.portal.password_logins == ("portal" not in shut_apps)
    assert street.dashboard.password_logins == ("dashboard" not in shut_apps)
    assert street.api.counters["signed_in"] == ("api" not in shut_apps)


async def test_open_doors_are_for_those_who_are_signed_in_unless_strangers_may_pass(open_street: OpenStreet) -> None:
    street = await open_street(app_keys={"unauthenticated": "sign_in"})
    login = LOGINS[0]
    knocker = Knocker(street, "portal")
    assert (await knocker.knock(login)).status == 401
    assert street.logins == 0
    cookie = await street.house.session(email=MEMBER.email)
    fields = "Content-Type: application/x-www-form-urlencoded\r\n"
    response = await street.house.ask("/login", method="POST", cookie=cookie, fields=fields, body=login.body)
    assert response.status == 303
    assert street.logins == 1
    await knocker.close()


async def test_surfaces_are_told_apart_by_a_header_only_where_a_rule_says_so_and_only_for_honest_clients(
    open_house: OpenHouse,
) -> None:
    """C-15: opt-in, as the guide has it. Every value is judged, in every spelling of the name; leaving it out is a way around, and documented."""
    when: dict[str, Any] = {"form": {"grant_type": "password"}}
    rules = [
        {"match": "* /api/token", "when": {**when, "header": {"client_id": "members-portal"}}},
        {"match": "* /api/token", "when": {**when, "header": {"Origin": "https://portal.example.com"}}},
    ]
    api = {"surface": "shared", "unauthenticated": "pass", "password_routes": rules}
    house = await open_house(openid={"prevent_password_login": True}, apps={"portal": api})
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"

    async def ask(fields: str) -> int:
        body = b"grant_type=password&username=a&password=b"
        return (await house.ask("/api/token", method="POST", fields=kind + fields, body=body)).status

    for said in (
        "client_id: members-portal", "Client-Id: MEMBERS-PORTAL", "CLIENT.ID: members-portal ", "client_id: x\r\nclient_id: members-portal",
        "Origin: https://portal.example.com", "origin: HTTPS://PORTAL.example.com",
    ):  # fmt: skip
        assert await ask(f"{said}\r\n") == 403, said
    for said in ("client_id: dashboard", "Origin: https://dashboard.example.com", "X-Other: 1"):
        assert await ask(f"{said}\r\n") == 200, said
