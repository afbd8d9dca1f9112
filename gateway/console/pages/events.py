"""The events of the fleet, as they come: filtered, page by page, as JSON lines for a program."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.errors.requests import BadRequest
from gateway.observability.events import EVENTS
from gateway.telemetry.event_log import LENGTH, STREAMS
from gateway.telemetry.event_reader import Cursor, EventReader

COUNT: Final = 50
MOST: Final = 1_000
_LIVE_SECONDS: Final = 2.0
_PERSON: Final = ("subject", "email", "session", "by")  # what a person is found by
_OUTCOME: Final = ("reason", "rule", "kind", "why")


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    """Parameters: `event`, `app`, `person`, `outcome`, `before`, `count`. Raises BadRequest, StoreUnavailable."""
    asked = _asked(request)
    reader = EventReader(parts.redis, parts.ring, parts.config.redis.key_prefix)
    page = await reader.page(_count(request), accepts(**asked), _before(request))
    return View(
        data={
            "asked": asked,
            "names": sorted(EVENTS),
            "apps": [*parts.config.apps, "console", "-"],
            "events": [event.to_json() for event in page.events],
            "older": None if page.older is None else str(page.older),
            "is_newest": not request.query.has("before"),
        }
    )


async def _export(request: ConsoleRequest, parts: ConsoleParts) -> View:
    """All that fit. Raises StoreUnavailable."""
    reader = EventReader(parts.redis, parts.ring, parts.config.redis.key_prefix)
    page = await reader.page(len(STREAMS) * LENGTH, accepts(**_asked(request)))
    return View(lines=[event.to_json() for event in page.events])


def _asked(request: ConsoleRequest) -> dict[str, str]:
    return {name: (request.query.one(name) or "").strip()[:200] for name in ("event", "app", "person", "outcome")}


def accepts(*, event: str, app: str, person: str, outcome: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an event is asked for. Empty: any. `event` may be a beginning with a dot, as `login.`; `person` and `outcome` a part of one."""

    def accepted(line: Mapping[str, Any]) -> bool:
        return (
            (not event or line["event"] == event or (event.endswith(".") and line["event"].startswith(event)))
            and (not app or line["app"] == app)
            and (not person or _has(line, _PERSON, person))
            and (not outcome or _has(line, _OUTCOME, outcome))
        )

    return accepted


def _has(line: Mapping[str, Any], names: tuple[str, ...], part: str) -> bool:
    return any(part.lower() in str(line[name]).lower() for name in names if line.get(name) is not None)


def _count(request: ConsoleRequest) -> int:
    given = request.query.one("count") or str(COUNT)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= MOST:
        raise BadRequest(f"count: {given[:20]!r}; allowed: 1 to {MOST}")
    return int(given)


def _before(request: ConsoleRequest) -> Cursor | None:
    given = request.query.one("before")
    if given is None:
        return None
    try:
        return Cursor.parse(given)
    except ValueError as error:
        raise BadRequest(f"before: {error}") from error


PAGES: Final = (
    Page(path="/console/events", title="Events", template="events.html", show=_show, menu="Events", live=_LIVE_SECONDS),
    Page(path="/console/events.jsonl", title="Events", template="", show=_export, section="/console/events"),
)
