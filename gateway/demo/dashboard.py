"""The sample dashboard of Harbour Desk: what the people who run the space look at.

An ordinary application like the portal, with a password login of its own at `GET /login?continue_to=`. It shares the
portal's bookings and guests, so that what a member does over there shows here.
"""

from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.demo.bookings import Bookings, local_now
from gateway.demo.harbour import CLOSES, EVENTS, MEMBERS, OPENS, ROOMS, ZONES, Member
from gateway.demo.listener import Listener
from gateway.demo.own_login import OwnLogin
from gateway.demo.pages import ASSETS, favicon, render
from gateway.demo.people import PEOPLE
from gateway.demo.visitor import VISITOR, Guest, Guests, Reception


class SampleDashboard:
    """The dashboard; `bookings` and `guests` are the portal's where both run."""

    def __init__(self, bookings: Bookings | None = None, guests: Guests | None = None) -> None:
        self.bookings = bookings or Bookings(local_now)
        self.guests = Guests() if guests is None else guests
        staff = tuple(person for person in PEOPLE if "staff" in person.groups)
        self.own_login = OwnLogin(_login_page, staff)
        # Its visitors are not noted: the guests are the portal's.
        self._reception = Reception(self.own_login, Guests(), self.bookings.clock, return_field="continue_to")
        self._listener = Listener(create_dashboard_app(self))

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        return (self.own_login.middleware, self._reception.middleware)

    @property
    def password_logins(self) -> int:
        """People who were signed in by a password door of the dashboard's own."""
        return self.own_login.logins

    @property
    def password_visits(self) -> int:
        """Requests that reached a password door of the dashboard's own, let in or not."""
        return self.own_login.visits

    @property
    def url(self) -> str:
        return self._listener.url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        await self._listener.start(host, port)

    async def close(self) -> None:
        await self._listener.close()


def create_dashboard_app(dashboard: SampleDashboard) -> web.Application:
    """The aiohttp application; its state is `dashboard`'s."""
    app = web.Application(middlewares=dashboard.middlewares)
    app.add_routes(DashboardPages(dashboard.bookings, dashboard.guests).routes())
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_static("/assets", ASSETS)
    return app


class DashboardPages:
    def __init__(self, bookings: Bookings, guests: Guests) -> None:
        self._bookings = bookings
        self._guests = guests

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/", self.now),
            web.get("/dashboards/now", self.now),
            web.get("/members", self.members),
            web.get("/bookings", self.todays_bookings),
            web.get("/api/occupancy", self.occupancy),
            web.get("/api/members", self.members_json),
        ]

    async def now(self, request: web.Request) -> web.Response:
        now = self._bookings.clock()
        today = self._bookings.on(now.date())
        zones = [(zone, zone.taken(now.hour)) for zone in ZONES]
        return render(
            request,
            "dashboard_now.html",
            visitor=request[VISITOR],
            now=now,
            zones=zones,
            taken=sum(taken for _, taken in zones),
            desks=sum(zone.desks for zone in ZONES),
            hours=_by_hour(),
            today=today,
            booked_hours=sum(booking.hours for booking in today),
            room_hours=len(ROOMS) * (CLOSES - OPENS),
            guests=self._guests.all()[::-1][:5],
            active=sum(member.active for member in MEMBERS),
            events=[(event, event.day(now.date())) for event in EVENTS[:3]],
        )

    async def members(self, request: web.Request) -> web.Response:
        wanted = request.query.get("q", "").strip()
        return render(
            request, "dashboard_members.html", visitor=request[VISITOR], wanted=wanted, rows=self._members(wanted)
        )

    async def todays_bookings(self, request: web.Request) -> web.Response:
        today = self._bookings.today
        bookings = sorted(self._bookings.on(today), key=lambda booking: (booking.start, booking.room.name))
        hour = self._bookings.clock().hour
        return render(
            request, "dashboard_bookings.html", visitor=request[VISITOR], today=today, bookings=bookings, hour=hour
        )

    async def occupancy(self, request: web.Request) -> web.Response:
        hour = self._bookings.clock().hour
        return web.json_response([{"zone": z.name, "desks": z.desks, "taken": z.taken(hour)} for z in ZONES])

    async def members_json(self, request: web.Request) -> web.Response:
        return web.json_response(self._members(request.query.get("q", "")))

    def _members(self, wanted: str) -> list[dict[str, str]]:
        """Members whose name, company or address holds `wanted`; who came through the gateway first."""
        guests = {guest.email: guest for guest in self._guests.all()}
        rows = [_row(member, "Here today" if member.email in guests else "") for member in MEMBERS]
        known = {member.email for member in MEMBERS}
        rows[:0] = [_new_row(guest) for guest in guests.values() if guest.email not in known]
        text = wanted.casefold()
        return [row for row in rows if text in f"{row['name']} {row['company']} {row['email']}".casefold()]


def _row(member: Member, state: str) -> dict[str, str]:
    return {
        "name": member.name,
        "email": member.email,
        "company": member.company,
        "plan": member.plan,
        "since": member.since,
        "state": state or ("Active" if member.active else "Paused"),
    }


def _new_row(guest: Guest) -> dict[str, str]:
    facts = {"company": "", "plan": "Contact", "since": "Today", "state": "New today"}
    return {"name": guest.name, "email": guest.email, **facts}


def _by_hour() -> list[tuple[int, int]]:
    """Percent of all desks taken, for each hour of the day."""
    desks = sum(zone.desks for zone in ZONES)
    return [(hour, 100 * sum(zone.taken(hour) for zone in ZONES) // desks) for hour in range(OPENS, CLOSES)]


def _login_page(request: web.Request, problem: str, status: int) -> web.Response:
    where = request.query.get("continue_to", "/")
    return render(
        request, "login.html", status=status, problem=problem, where=where, where_field="continue_to", operators=True
    )
