"""Room bookings of the sample space, in memory.

Bounded by construction: an hour of a room is booked once, only the next fourteen days can be booked, and days that are
over are dropped. Each day opens with a few bookings of other members.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway.demo.harbour import CLOSES, MEMBERS, OPENS, ROOMS, Member, Room, room

DAYS_AHEAD = 14
MOST_HOURS = 4

_TITLES = (
    "Client call",
    "Stand-up",
    "Interviews",
    "Budget round",
    "Design review",
    "Rehearsal",
    "Board prep",
    "Reading group",
)


class BookingRefused(Exception):
    """The reason why a room could not be booked, for the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    id: str
    room: Room
    day: date
    start: int  # hour of the day
    hours: int
    title: str
    email: str
    name: str

    @property
    def end(self) -> int:
        return self.start + self.hours

    @property
    def times(self) -> str:
        return f"{self.start:02}:00–{self.end:02}:00"

    def to_json(self) -> dict[str, str | int]:
        return {
            "id": self.id,
            "room": self.room.id,
            "day": self.day.isoformat(),
            "start": self.start,
            "hours": self.hours,
            "title": self.title,
            "booked_by": self.name,
        }


def local_now() -> datetime:
    return datetime.now().astimezone()


class Bookings:
    """Who has which room when."""

    def __init__(self, clock: Callable[[], datetime] = local_now) -> None:
        self.clock = clock
        self._days: dict[date, dict[str, Booking]] = {}
        self._issued = 0

    @property
    def today(self) -> date:
        return self.clock().date()

    def on(self, day: date) -> list[Booking]:
        """The bookings of one day, by room and hour; empty for a day that cannot be booked."""
        return sorted(self._open(day).values(), key=lambda booking: (booking.room.name, booking.start))

    def of(self, email: str) -> list[Booking]:
        """One person's bookings from today on, in order of time."""
        mine = [booking for day in self._days.values() for booking in day.values() if booking.email == email]
        return sorted((b for b in mine if b.day >= self.today), key=lambda b: (b.day, b.start, b.room.name))

    def book(self, *, room_id: str, day: date, start: int, hours: int, title: str, email: str, name: str) -> Booking:
        """Raises BookingRefused."""
        wanted = room(room_id)
        if wanted is None:
            raise BookingRefused("There is no such room.")
        if not (OPENS <= start < CLOSES and 1 <= hours <= MOST_HOURS and start + hours <= CLOSES):
            raise BookingRefused(
                f"Rooms can be booked from {OPENS:02}:00 to {CLOSES}:00, for up to {MOST_HOURS} hours."
            )
        if not self.today <= day < self.today + timedelta(days=DAYS_AHEAD):
            raise BookingRefused(f"Rooms can be booked for the next {DAYS_AHEAD} days.")
        taken = next((b for b in self.on(day) if b.room is wanted and b.start < start + hours and start < b.end), None)
        if taken is not None:
            raise BookingRefused(f"{wanted.name} is taken {taken.times}. Another hour or another room?")
        return self._add(wanted, day, start, hours, title.strip()[:60] or "Meeting", email, name)

    def cancel(self, booking_id: str, email: str) -> Booking | None:
        """The cancelled booking, or None when this person has no such booking."""
        for day in self._days.values():
            booking = day.get(booking_id)
            if booking is not None and booking.email == email:
                return day.pop(booking_id)
        return None

    def _open(self, day: date) -> dict[str, Booking]:
        today = self.today
        for over in [known for known in self._days if known < today]:
            del self._days[over]
        if not today <= day < today + timedelta(days=DAYS_AHEAD):
            return {}
        if day not in self._days:
            self._days[day] = {}
            for wanted, start, hours, title, member in _usual(day):
                self._add(wanted, day, start, hours, title, member.email, member.name)
        return self._days[day]

    def _add(self, wanted: Room, day: date, start: int, hours: int, title: str, email: str, name: str) -> Booking:
        self._issued += 1
        booking = Booking(
            id=f"b{self._issued}", room=wanted, day=day, start=start, hours=hours, title=title, email=email, name=name
        )
        self._open(day)[booking.id] = booking
        return booking


def _usual(day: date) -> Iterator[tuple[Room, int, int, str, Member]]:
    """What other members have booked on `day`: the same at every start of the demo, fewer at the weekend."""
    seed = day.toordinal()
    others = [member for member in MEMBERS[2:] if member.active]
    for index, wanted in enumerate(ROOMS):
        busy = 1 if day.weekday() >= 5 else 2
        for turn in range(busy):
            start = OPENS + (seed * 3 + index * 5 + turn * 6) % 11 // 2 + turn * 6
            hours = min(1 + (seed + index + turn) % 2, CLOSES - start)
            number = seed + index * 2 + turn * 3
            yield wanted, start, hours, _TITLES[number % len(_TITLES)], others[number % len(others)]
