"""The samples' own sign-in: the password doors that a Nexudus-like application has, and each of them works.

The doors are here so that something real is lost when the gateway lets one through: a person who comes in gets a session
cookie, and `logins` counts it. The application reads paths, methods and bodies as leniently as the most lenient server
known: case, language prefix, double slashes, path parameters, trailing dots and page extensions are nothing to it, a
mislabelled body is read anyway. What the gateway does not refuse, this accepts.
"""

import base64
import binascii
import json
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from re import compile as pattern
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from yarl import URL

from gateway.demo.people import PEOPLE, Person

COOKIE = "harbour_session"
_MOST = 1000  # sessions, links
_LANGUAGE = pattern(r"/[a-z]{2}(-[a-z]{2,4})?(?=/|$)")
_EXTENSION = pattern(r"\.(aspx?|html?|json|php|do)$")
_ONE_PERSON = pattern(r"/api/public/coworkers/[^/]+/impersonate$")

Answer = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]
Page = Callable[[web.Request, str, int], web.Response]
Redeem = Callable[[str], tuple[str, int] | None]


def fold(path: str) -> str:
    """The path as a very lenient server reads it."""
    text = unicodedata.normalize("NFKC", unquote(unquote(path))).casefold().replace("\\", "/")
    segments = [segment.split(";")[0].rstrip(". \t\0") for segment in text.split("/")]
    plain = "/" + "/".join(segment for segment in segments if segment)
    return _EXTENSION.sub("", _LANGUAGE.sub("", plain, count=1)) or "/"


class OwnLogin:
    """The password doors of one application. `page(request, problem, status)` draws its sign-in form.

    `redeem` gives the person of a sign-in link's token that the directory made, by address and number, if any: once.
    """

    def __init__(
        self,
        page: Page,
        people: tuple[Person, ...] = PEOPLE,
        redeem: Redeem = lambda token: None,
        same_site: str = "Lax",
    ) -> None:
        self.logins = 0  # people who came in through one of these doors
        self.visits = 0  # requests that reached one of these doors
        self.handed_in = 0  # people who came in with a token of the directory's
        self._redeem = redeem
        self._same_site = same_site
        self._numbers: dict[str, int] = {}  # what the directory calls people, by address
        self._page = page
        self._people = {person.email.casefold(): person for person in people}
        self._sessions: OrderedDict[str, Person] = OrderedDict()
        self._links: OrderedDict[str, Person] = OrderedDict()
        self._doors: dict[tuple[str, str], Answer] = {
            **dict.fromkeys([("GET", path) for path in _FORMS], self._show),
            **dict.fromkeys([("POST", path) for path in _FORMS], self._form),
            **dict.fromkeys([("POST", path) for path in _JSON_LOGINS], self._token),
            **dict.fromkeys([(method, path) for path in _LINK_LOGINS for method in ("GET", "POST")], self._link),
            **dict.fromkeys([(method, path) for path in _LINK_REQUESTS for method in ("GET", "POST")], self._send_link),
            **dict.fromkeys([("POST", path) for path in _NEW_PASSWORDS], self._new_password),
            ("GET", "/login/logout"): self._leave,
            ("GET", "/api/public/coworkers/impersonate"): self._impersonate,
            ("GET", "/user/exists"): self._exists,
            ("GET", "/user/me"): self._me,
        }

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answers the doors in every spelling; other requests pass."""
        fields = await self._fields(request) if self._is_door(request) else {}
        method = request.headers.get("X-HTTP-Method-Override", fields.get("_method", request.method)).upper()
        path = _door(request)
        if path == "/user/login" and "t" not in fields and method == "GET":
            path = "/login"
        answer = self._doors.get(("GET" if method == "HEAD" else method, path))
        if answer is None:
            return await handler(request)
        handed_in = self.handed_in
        response = await answer(request, fields)
        if path not in _NO_DOORS and self.handed_in == handed_in:
            self.visits += 1
        return response

    def person(self, request: web.Request) -> Person | None:
        """Who a request belongs to by this application's own means: session cookie, bearer token, or Basic."""
        scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() == "basic":
            return self._basic(credentials.strip())
        token = credentials.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        return self._sessions.get(token)

    def link_for(self, email: str) -> str:
        """A single-use token for `/user/login?t=`."""
        token = secrets.token_urlsafe(12)
        _keep(self._links, token, self._people[email.casefold()])
        return token

    def end_sessions(self) -> None:
        """End every session of this application."""
        self._sessions.clear()

    def _is_door(self, request: web.Request) -> bool:
        path = _door(request)
        return any(door == path for _, door in self._doors)

    async def _fields(self, request: web.Request) -> Mapping[str, str]:
        """Query, form and JSON fields with lower-case names, for any Content-Type."""
        body = _text(await request.read(), request.charset)
        pairs = [*request.query.items(), *parse_qsl(body)]
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            pairs += [(name, str(value)) for name, value in parsed.items()]
        return {name.lower(): value for name, value in pairs}

    def _check(self, email: str, password: str) -> Person | None:
        person = self._people.get(email.strip().casefold())
        if person is None or not secrets.compare_digest(person.password.encode(), password.encode()):
            return None
        self.logins += 1
        return person

    def _basic(self, credentials: str) -> Person | None:
        try:
            email, _, password = base64.b64decode(credentials).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return self._check(email, password)

    def open_session(self, person: Person) -> str:
        token = secrets.token_urlsafe(24)
        _keep(self._sessions, token, person)
        return token

    def _enter(self, person: Person, where: str) -> web.StreamResponse:
        local = where if where.startswith("/") and not where.startswith("//") else "/"
        response = _see_other(local)
        response.set_cookie(COOKIE, self.open_session(person), httponly=True, samesite=self._same_site)
        return response

    async def _show(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        return self._page(request, "", 200)

    async def _form(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        person = self._check(fields.get("email", ""), fields.get("password", ""))
        if person is None:
            return self._page(request, "Invalid email or password.", 400)
        return self._enter(person, fields.get("returnurl") or fields.get("continue_to") or "/")

    async def _token(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        if fields.get("grant_type") == "refresh_token":
            person = self._sessions.get(fields.get("refresh_token", ""))
        else:
            person = self._check(fields.get("username") or fields.get("email", ""), fields.get("password", ""))
        if person is None:
            problem = {"error": "invalid_grant", "error_description": "The user name or password is incorrect."}
            return web.json_response(problem, status=400)
        token, renewal = self.open_session(person), self.open_session(person)
        return web.json_response(
            {"access_token": token, "token_type": "bearer", "expires_in": 86400, "refresh_token": renewal}
        )

    async def _link(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        token = fields.get("t") or fields.get("token", "")
        redeemed = self._redeem(token)
        if redeemed is not None:
            self.handed_in += 1
            email, self._numbers[redeemed[0].casefold()] = redeemed
            person: Person | None = self._people.get(email.casefold()) or _stranger(email, "")
        else:
            person = self._links.pop(token, None)
            self.logins += person is not None
        if person is None:
            return self._page(request, "This link has been used or has expired.", 400)
        return self._enter(person, fields.get("redirecturl") or "/")

    async def _send_link(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        return self._page(request, "If we know that address, a message is on its way.", 200)

    async def _new_password(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        """Sign-ups and completed resets: the person chooses a password and is signed in at once."""
        email = fields.get("email") or fields.get("coworker.email", "")
        password = fields.get("password") or fields.get("coworker.password") or fields.get("newpassword", "")
        if not email or not password:
            return self._page(request, "Please give an e-mail address and a password.", 400)
        self.logins += 1
        known = self._people.get(email.casefold())
        return self._enter(known or _stranger(email, password), "/")

    async def _impersonate(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        self.logins += 1
        return self._enter(next(iter(self._people.values())), "/")

    async def _leave(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)
        response = _see_other("/")
        response.del_cookie(COOKIE)
        return response

    async def _me(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        person = self.person(request)
        if person is None:
            return web.json_response({"error": "unauthorized"}, status=401)
        number = self._numbers.get(person.email.casefold())
        return web.json_response({"Id": number, "Email": person.email, "FullName": person.name})

    async def _exists(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        return web.json_response(fields.get("email", "").casefold() in self._people)


_NO_DOORS = ("/user/me", "/login/logout")
_FORMS = (
    "/login",
    "/signin",
    "/signup",
    "/signup/plans",
    "/join",
    "/checkout",
    "/forgot-password",
    "/reset-password",
    "/login/resetpassword",
)
_JSON_LOGINS = ("/api/token", "/api/sys/users/token", "/api/sys/users/validate", "/api/sys/users/token/refresh")
_LINK_LOGINS = ("/user/login", "/login/login", "/api/sys/users/exchange")
_LINK_REQUESTS = ("/api/sys/users/sendotp", "/api/sys/users/startpasswordreset")
_NEW_PASSWORDS = (
    "/signup",
    "/api/public/signup",
    "/api/sys/users/completepasswordreset",
    "/reset-password",
    "/login/resetpassword",
    "/profile",
    "/user/profile",
)


def _see_other(where: str) -> web.Response:
    return web.Response(status=303, headers={"Location": str(URL(where))})


def _door(request: web.Request) -> str:
    return _ONE_PERSON.sub("/api/public/coworkers/impersonate", fold(request.rel_url.raw_path))


def _text(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", "replace")
    except LookupError:
        return body.decode("latin-1")


def _keep(table: OrderedDict[str, Person], token: str, person: Person) -> None:
    table[token] = person
    while len(table) > _MOST:
        table.popitem(last=False)


def _stranger(email: str, password: str) -> Person:
    return Person(
        subject=f"local:{email}",
        email=email,
        name=email.partition("@")[0],
        preferred_username=email,
        password=password,
        groups=(),
        registered=False,
        role="signed up with a password",
    )
