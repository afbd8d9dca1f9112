"""Ways in which the API misbehaves, switched on by tests and shown by the demo.

`Fault`s are scripted: the next `times` requests that match are answered so. `Switches` are standing habits of one
installation.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from aiohttp import web

Kind = Literal["throttle", "error", "html", "slow", "unsuccessful", "cut", "redirect", "big", "answer"]


@dataclass(slots=True, kw_only=True)
class Fault:
    """One misbehaviour. `match` is a glob over `METHOD /path` in lower-case path; `times` None means always.

    `after`: the request takes effect first and only its answer is spoiled. `seconds`: how long `slow` takes. `status`,
    `retry_after` and `body` shape the answers of `throttle`, `error`, `html` and `answer`.
    """

    kind: Kind
    match: str = "* /*"
    times: int | None = 1
    after: bool = False
    status: int = 409
    retry_after: str | None = None
    body: str = ""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Switches:
    """`strict`: 14 required fields, not 4. `missing_status`: 404 or 401 with "Not found". `exact_case`: filters tell
    case apart. `deaf_filters`: lists ignore every filter.
    """

    strict: bool = True
    missing_status: int = 404
    exact_case: bool = False
    deaf_filters: bool = False


@dataclass(slots=True)
class Faults:
    """The script: faults in the order in which they are tried."""

    pending: list[Fault] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        self.pending.extend(faults)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, used up by one."""
        for fault in self.pending:
            if fault.times == 0 or not fnmatchcase(f"{method} {path}", fault.match):
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.pending)


async def render_fault(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """The spoiled answer, or None when the fault (slowness) leaves the answer as it is."""
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return None
    if fault.kind == "cut":
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    return _spoiled(fault)


def _spoiled(fault: Fault) -> web.Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    match fault.kind:
        case "throttle":
            reason = "You must wait before accessing this url again." if fault.status == 409 else "Too Many Requests"
            return web.Response(status=fault.status, reason=reason, headers=headers, text=fault.body)
        case "error":
            body = {"Message": fault.body or "An error has occurred."}
            return web.json_response(body, status=fault.status if fault.status >= 500 else 500)
        case "html":
            markup = (
                "<!DOCTYPE html><html><head><title>Request blocked</title></head><body><h1>403 ERROR</h1></body></html>"
            )
            return web.Response(
                text=markup, status=fault.status if fault.status != 409 else 403, content_type="text/html"
            )
        case "unsuccessful":
            return web.json_response(
                {"Status": 500, "Message": fault.body, "Value": None, "Errors": None, "WasSuccessful": False}
            )
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.body or "/api/elsewhere"})
        case "big":
            none_found = {"Records": [], "CurrentPage": 1, "TotalItems": 0, "HasNextPage": False}
            return web.json_response(none_found | {"Padding": "x" * (4 * 1024 * 1024)})
        case _:  # "answer"
            return web.Response(text=fault.body, status=fault.status, headers=headers, content_type="application/json")
