"""The portal's pages: home, bookings, community, invoices, live, profile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode

from aiohttp import web

from gateway.demo.bookings import DAYS_AHEAD, MOST_HOURS, Booking, BookingRefused, Bookings
from gateway.demo.harbour import CLOSES, EVENTS, NOTICES, OPENS, ROOMS, ZONES, Room, invoices
from gateway.demo.pages import render
from gateway.demo.visitor import VISITOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One stretch of a room's day: an hour that is free, or a whole booking."""

    start: int
    hours: int
    booking: Booking | None
    mine: bool = False
    over: bool = False


class PortalPages:
    def __init__(self, bookings: Bookings) -> None:
        self._bookings = bookings

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/", self.home),
            web.get("/bookings", self.show_bookings),
            web.post("/bookings", self.book),
            web.post("/bookings/{id}/cancel", self.cancel),
            web.get("/community", self.community),
            web.get("/invoices", self.show_invoices),
            web.get("/live", self.live),
            web.get("/profile", self.profile),
        ]

    async def home(self, request: web.Request) -> web.Response:
        visitor, now = request[VISITOR], self._bookings.clock()
        coming = [b for b in self._bookings.of(visitor.email) if b.day > now.date() or b.end > now.hour]
        desks = [(zone, zone.desks - zone.taken(now.hour)) for zone in ZONES]
        return render(
            request,
            "home.html",
            visitor=visitor,
            greeting=greeting(now.hour),
            now=now,
            coming=coming[:3],
            free=[found for room in ROOMS[: max(0, 3 - len(coming))] if (found := self._next_free(room))],
            desks=desks,
            events=[(event, event.day(now.date())) for event in EVENTS[:3]],
            notices=NOTICES,
            high_water=high_water(now.date()),
            spent=sum(b.room.credits * b.hours for b in coming),
        )

    async def show_bookings(self, request: web.Request) -> web.Response:
        return self._bookings_page(request, self._day(request.query.get("day", "")), request.query)

    async def book(self, request: web.Request) -> web.Response:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        visitor, day = request[VISITOR], self._day(form.get("day", ""))
        try:
            booking = self._bookings.book(
                room_id=form.get("room", ""),
                day=day,
                start=_number(form.get("at", "")),
                hours=_number(form.get("hours", "")),
                title=form.get("title", ""),
                email=visitor.email,
                name=visitor.name,
            )
        except BookingRefused as refused:
            return self._bookings_page(request, day, form, problem=str(refused), status=409)
        raise web.HTTPSeeOther(f"/bookings?{urlencode({'day': day.isoformat(), 'booked': booking.id})}")

    async def cancel(self, request: web.Request) -> web.Response:
        cancelled = self._bookings.cancel(request.match_info["id"], request[VISITOR].email)
        if cancelled is None:
            raise web.HTTPNotFound(text="You have no such booking.")
        raise web.HTTPSeeOther(f"/bookings?{urlencode({'day': cancelled.day.isoformat(), 'cancelled': 'yes'})}")

    async def community(self, request: web.Request) -> web.Response:
        today = self._bookings.today
        events = [(event, event.day(today)) for event in EVENTS]
        return render(request, "community.html", visitor=request[VISITOR], events=events, notices=NOTICES)

    async def show_invoices(self, request: web.Request) -> web.Response:
        return render(request, "invoices.html", visitor=request[VISITOR], invoices=invoices(self._bookings.today))

    async def live(self, request: web.Request) -> web.Response:
        return render(request, "live.html", visitor=request[VISITOR], receipt=None)

    async def profile(self, request: web.Request) -> web.Response:
        visitor = request[VISITOR]
        return render(request, "profile.html", visitor=visitor, bookings=self._bookings.of(visitor.email))

    def _next_free(self, room: Room) -> tuple[Room, date, int] | None:
        """The first hour of today or tomorrow at which `room` is free."""
        now = self._bookings.clock()
        for day, after in ((now.date(), now.hour), (now.date() + timedelta(days=1), OPENS - 1)):
            for slot in slots(room, self._bookings.on(day), "", after + 1):
                if slot.booking is None and not slot.over:
                    return room, day, slot.start
        return None

    def _day(self, text: str) -> date:
        try:
            return date.fromisoformat(text)
        except ValueError:
            return self._bookings.today

    def _bookings_page(
        self, request: web.Request, day: date, wish: Mapping[str, str], problem: str = "", status: int = 200
    ) -> web.Response:
        """The board of one day with the booking form; `wish` fills the form in."""
        visitor, now = request[VISITOR], self._bookings.clock()
        on_day = self._bookings.on(day)
        past_hour = now.hour if day == now.date() else OPENS if day > now.date() else CLOSES
        mine = self._bookings.of(visitor.email)
        return render(
            request,
            "bookings.html",
            status=status,
            visitor=visitor,
            day=day,
            days=[now.date() + timedelta(days=ahead) for ahead in range(DAYS_AHEAD)],
            today=now.date(),
            board=[(room, slots(room, on_day, visitor.email, past_hour)) for room in ROOMS],
            hours=range(OPENS, CLOSES),
            lengths=range(1, MOST_HOURS + 1),
            mine=mine,
            booked=next((b for b in mine if b.id == request.query.get("booked")), None),
            cancelled="cancelled" in request.query,
            problem=problem,
            wish={"room": wish.get("room", ""), "at": _number(wish.get("at", "10")), "title": wish.get("title", "")},
        )


def slots(room: Room, bookings: Iterable[Booking], email: str, past_hour: int) -> list[Slot]:
    """One room's day in order, without gaps. Hours before `past_hour` are over."""
    row: list[Slot] = []
    mine = {booking.start: booking for booking in bookings if booking.room is room}
    hour = OPENS
    while hour < CLOSES:
        booking = mine.get(hour)
        hours = booking.hours if booking else 1
        is_mine = booking is not None and booking.email == email
        row.append(Slot(start=hour, hours=hours, booking=booking, mine=is_mine, over=hour < past_hour))
        hour += hours
    return row


def greeting(hour: int) -> str:
    return "Good morning" if 4 <= hour < 12 else "Good afternoon" if 12 <= hour < 18 else "Good evening"


def high_water(day: date) -> str:
    """The next afternoon's high water, fifty minutes later each day as tides are."""
    minutes = 12 * 60 + day.toordinal() * 50 % (12 * 60 + 25)
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _number(text: str) -> int:
    digits = text.partition(":")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else -1
