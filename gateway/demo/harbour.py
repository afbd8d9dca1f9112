"""Harbour Desk, the made-up coworking space: its rooms, desks, events, plans, invoices and members.

Pure data, the same for the sample portal and the sample dashboard. Days are relative to the day that is asked for, so
that the demo never looks old.
"""

from dataclasses import dataclass
from datetime import date, timedelta

OPENS, CLOSES = 8, 20  # hours of the day; rooms are booked by the hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    id: str
    name: str
    seats: int
    floor: str
    credits: int  # an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    name: str
    note: str
    desks: int
    share: int  # percent taken at the busiest hour

    def taken(self, hour: int) -> int:
        """Desks in use at `hour`: the tide comes in until noon and goes out until the evening."""
        tide = 100 - 7 * abs(hour - 12) if OPENS <= hour < CLOSES else 14
        return self.desks * self.share * tide // 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    id: str
    in_days: int
    time: str
    title: str
    host: str
    place: str
    text: str
    going: int

    def day(self, today: date) -> date:
        return today + timedelta(days=self.in_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    number: str
    issued: date
    lines: str
    amount: str
    paid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    name: str
    email: str
    company: str
    plan: str
    since: str
    active: bool


ROOMS = tuple(
    Room(id=id, name=name, seats=seats, floor=floor, credits=credits)
    for id, name, seats, floor, credits in (
        ("crows-nest", "Crow's Nest", 2, "Third floor", 1),
        ("lantern", "Lantern", 4, "First floor", 2),
        ("quayside", "Quayside", 8, "First floor", 3),
        ("chart-room", "Chart Room", 12, "Second floor", 4),
        ("boathouse", "Boathouse", 40, "Waterside", 8),
    )
)

ZONES = (
    Zone(name="Window bay", note="Ground floor, morning sun", desks=14, share=92),
    Zone(name="Long tables", note="Ground floor, by the coffee", desks=24, share=78),
    Zone(name="Quiet deck", note="Second floor, no calls", desks=18, share=66),
    Zone(name="Loft studios", note="Third floor, teams", desks=32, share=84),
)

EVENTS = (
    Event(
        id="breakfast",
        in_days=1,
        time="08:30",
        title="Breakfast on the pontoon",
        host="Ines, front desk",
        place="Waterside terrace",
        text="Rye bread, good butter, and the week's introductions. Newcomers get the seat nearest to the coffee.",
        going=23,
    ),
    Event(
        id="clinic",
        in_days=3,
        time="12:30",
        title="Contract clinic",
        host="Tamsin Webb, solicitor",
        place="Chart Room",
        text="Bring the clause that you keep re-reading. Fifteen minutes each, free for members.",
        going=9,
    ),
    Event(
        id="show-and-tell",
        in_days=6,
        time="18:00",
        title="Show and tell: small tools",
        host="Jonas Reiter",
        place="Boathouse",
        text="Five members, five minutes each, one thing they made to save themselves an hour a week.",
        going=41,
    ),
    Event(
        id="row",
        in_days=9,
        time="17:15",
        title="Evening row",
        host="Harbour rowing club",
        place="Slipway",
        text="No experience needed. Dry clothes advised.",
        going=12,
    ),
)

NOTICES = (
    (
        "Lift out of service on Thursday",
        "Between 07:00 and 10:00, while the cables are checked. The ramp at the east door stays open.",
    ),
    ("Second espresso machine", "It stands on the third floor now. It answers to the name of Bertha."),
)

MEMBERS = tuple(
    Member(name=name, email=email, company=company, plan=plan, since=since, active=plan != "Paused")
    for name, email, company, plan, since in (
        ("Mia Lindqvist", "mia@harbourdesk.example", "Lindqvist Type", "Fixed desk", "March 2023"),
        ("Ada Marsh", "ada@harbourdesk.example", "Harbour Desk", "Staff", "June 2019"),
        ("Jonas Reiter", "jonas@smalltools.example", "Small Tools", "Fixed desk", "May 2021"),
        ("Tamsin Webb", "tamsin@webb-law.example", "Webb Law", "Studio", "January 2020"),
        ("Priya Raman", "priya@lowtide.example", "Low Tide Films", "Studio", "October 2022"),
        ("Oskar Nygård", "oskar@nordvind.example", "Nordvind Energy", "Hot desk", "August 2024"),
        ("Leila Haddad", "leila@haddad.example", "Haddad & Daughters", "Fixed desk", "April 2022"),
        ("Tom Achterberg", "tom@cartograph.example", "Cartograph", "Hot desk", "February 2025"),
        ("Wen Zhao", "wen@paperboat.example", "Paper Boat", "Studio", "November 2023"),
        ("Bea Fontaine", "bea@fontaine.example", "Fontaine Ceramics", "Paused", "July 2020"),
    )
)


def invoices(today: date) -> tuple[Invoice, ...]:
    """The last five monthly invoices, newest first."""
    rows = []
    first = today.replace(day=1)
    for back in range(5):
        extras = ("Meeting credits", "Locker 14", "Print credit", "Meeting credits", "Guest passes")[back]
        amount = ("286.00", "262.00", "249.50", "286.00", "270.00")[back]
        number = f"HD-{first:%Y%m}-0{417 + back * 3}"
        rows.append(Invoice(number=number, issued=first, lines=f"Fixed desk, {extras}", amount=amount, paid=back > 0))
        first = (first - timedelta(days=1)).replace(day=1)
    return tuple(rows)


def room(room_id: str) -> Room | None:
    return next((room for room in ROOMS if room.id == room_id), None)
