"""Sessions as an operator reads them: a table, JSON lines, CSV. Never a token, a cookie's value or its hash (C-48)."""

import csv
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import IO, Any, Final, Literal

from rich.console import Console
from rich.table import Table

from gateway.cli.printing import show_table
from gateway.operations.sessions import Facts, facts_of
from gateway.sessions.scan import Entry
from gateway.sessions.session import Session

Form = Literal["table", "json", "csv"]

_COLUMNS: Final = ("sid", "app", "person", "address", "signed in", "idle ends in", "lifetime ends in")


class Listing:
    """Collects sessions. JSON and CSV are written at once; a table holds the newest `limit`."""

    def __init__(self, form: Form, to: IO[str], now: datetime, *, emails: bool, limit: int) -> None:
        self.apps: Counter[str] = Counter()
        self._now = now
        self._emails = emails
        self._limit = limit
        self._newest: list[tuple[datetime, int, Entry]] = []
        self._order = count()
        self._write = None if form == "table" else _json_lines(to) if form == "json" else _csv_rows(to)

    @property
    def total(self) -> int:
        return self.apps.total()

    def add(self, entry: Entry, session: Session) -> None:
        """Add one session."""
        self.apps[session.app] += 1
        if self._write is not None:
            self._write(facts_of(session, entry.idle_left, self._now, emails=self._emails))
        elif self._limit > 0:
            push = heapq.heappush if len(self._newest) < self._limit else heapq.heappushpop
            push(self._newest, (session.created_at, next(self._order), entry))

    def show_table(self, console: Console) -> None:
        """The newest first."""
        if not self._newest:
            return
        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for _, _, entry in sorted(self._newest, reverse=True):
            if entry.session is not None:
                table.add_row(*self._cells(entry.session, entry.idle_left))
        table.columns[0].no_wrap = True  # a handle is to be copied
        show_table(table, console)
        if self.total > len(self._newest):
            console.print(f"... the newest {len(self._newest)} of them; --json and --csv write all")

    def _cells(self, session: Session, idle_left: timedelta) -> Iterable[str]:
        who, remaining = session.identity, session.remaining(self._now)
        person = who.email if self._emails and who.email else who.subject
        yield session.sid
        yield session.app
        yield plain(person)
        yield session.address or "-"
        yield session.created_at.strftime("%Y-%m-%d %H:%M:%S")
        yield in_words(min(idle_left, remaining))
        yield in_words(remaining)


def show_counts(console: Console, apps: Counter[str], unreadable: int, what: str = "") -> None:
    """`3 sessions: portal 2, dashboard 1`, and what no key of the file opens. `what`: as " would end"."""
    by_app = ", ".join(f"{app} {number}" for app, number in sorted(apps.items()))
    console.print(f"{_counted(apps.total(), 'session')}{what}{': ' + by_app if by_app else ''}")
    if unreadable:
        console.print(
            f"{_counted(unreadable, 'record')} that no key in `keys` opens: no person is signed in by them{what and ', they go too'}"
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def plain(text: str) -> str:
    """Text from outside, for a terminal: control characters must not move its cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def in_words(span: timedelta) -> str:
    """`6d 3h`, `2h 5m`, `40s`."""
    seconds = max(0, int(span.total_seconds()))
    units = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    while len(units) > 1 and units[0][0] == 0:
        units.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in units[:2] if number or len(units) == 1)


def _json_lines(to: IO[str]) -> Callable[[Facts], None]:
    def write(facts: Facts) -> None:
        to.write(json.dumps(facts) + "\n")

    return write


def _csv_rows(to: IO[str]) -> Callable[[Facts], None]:
    writer: Any = csv.writer(to)
    headed: list[bool] = []

    def write(facts: Facts) -> None:
        if not headed:
            headed.append(True)
            writer.writerow(facts)
        writer.writerow("" if value is None else value for value in facts.values())

    return write
