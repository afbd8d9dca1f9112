"""Who is looking at a sample application, and who has been.

A visitor is known by the gateway's identity headers, or by the application's own session where the gateway names
nothing.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from aiohttp import web

from gateway.demo.own_login import OwnLogin
from gateway.demo.people import Person
from gateway.demo.told import Told, read_told

_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    email: str
    name: str
    groups: tuple[str, ...]
    member_number: str
    by_gateway: bool

    @property
    def first_name(self) -> str:
        return self.name.split()[0]

    @property
    def initials(self) -> str:
        words = self.name.replace("@", " ").split()
        return "".join(word[0] for word in (words[0], *words[1:][-1:])).upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    name: str
    email: str
    member_number: str
    first_seen: datetime
    last_seen: datetime


class Guests:
    """The people whom the gateway brought, newest last; bounded."""

    def __init__(self) -> None:
        self._guests: OrderedDict[str, Guest] = OrderedDict()

    def note(self, visitor: Visitor, now: datetime) -> None:
        known = self._guests.pop(visitor.email, None)
        guest = Guest(
            name=visitor.name, email=visitor.email, member_number=visitor.member_number, first_seen=now, last_seen=now
        )
        self._guests[visitor.email] = guest if known is None else replace(guest, first_seen=known.first_seen)
        while len(self._guests) > _MOST:
            self._guests.popitem(last=False)

    def all(self) -> list[Guest]:
        return list(self._guests.values())


TOLD = web.RequestKey("told", Told)
VISITOR = web.RequestKey("visitor", Visitor)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def read_visitor(told: Told, own: Person | None) -> Visitor | None:
    """Raises nothing: None for a visitor who is not known."""
    user = told.email or told.user
    if user:
        name = (
            told.name or told.identity.get("X-Forwarded-Preferred-Username") or user.partition("@")[0]
        ).strip() or user
        number = told.extra.get("X-Portal-Customer", "")
        return Visitor(email=user, name=name, groups=told.groups, member_number=number, by_gateway=True)
    return read_own(own)


def read_own(own: Person | None) -> Visitor | None:
    """Who the application's own session belongs to."""
    if own is None:
        return None
    return Visitor(email=own.email, name=own.name, groups=own.groups, member_number="", by_gateway=False)


class Reception:
    """Refuses visitors who are not known. `keeps_sessions`: they are known by the application's own session alone."""

    def __init__(
        self,
        own_login: OwnLogin,
        guests: Guests,
        clock: Callable[[], datetime],
        return_field: str,
        *,
        keeps_sessions: bool = False,
    ) -> None:
        self._keeps_sessions = keeps_sessions
        self._own_login = own_login
        self._guests = guests
        self._clock = clock
        self._return_field = return_field

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        told = request[TOLD] = read_told(request.headers, request.cookies)
        if request.path.startswith(("/assets/", "/favicon.ico")):
            return await handler(request)
        own = self._own_login.person(request)
        visitor = read_own(own) if self._keeps_sessions else read_visitor(told, own)
        if visitor is None:
            return self._turn_away(request)
        request[VISITOR] = visitor
        if visitor.by_gateway:
            self._guests.note(visitor, self._clock())
        return await handler(request)

    def _turn_away(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/api/"):
            return web.json_response({"error": "unauthorized"}, status=401)
        raise web.HTTPFound(f"/login?{self._return_field}={quote(request.path_qs, safe='')}")
