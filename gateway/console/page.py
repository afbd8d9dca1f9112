"""What a page of the console is made of."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from gateway.config.loader import Resolved
from gateway.config.schema import Config
from gateway.console.check_up_run import CheckUpRun
from gateway.console.probe_run import ProbeRun
from gateway.console.request import ConsoleRequest
from gateway.observability.events import Audit
from gateway.sessions.keyring import KeyRing

#: Plain JSON: text, numbers, booleans, None, lists and mappings of them. Moments are ISO 8601 in UTC.
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleParts:
    """What the pages share. `config` is without the console's own app, `source` the file that it was made of, without what is saved over it.

    `stopping` is set when the process drains, and ends what streams.
    """

    config: Config
    redis: Redis
    ring: KeyRing
    audit: Audit
    now: Callable[[], datetime]
    source: Resolved = field(default_factory=lambda: Resolved(data={}))
    probe: ProbeRun = field(default_factory=ProbeRun)
    check_up: CheckUpRun = field(default_factory=CheckUpRun)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a handler answers. `location`: where a browser goes on (303), while a program gets the data; `template`: another than the page's.

    `lines`: JSON lines to be saved, in place of a page.
    """

    data: Data = field(default_factory=dict)
    status: int = 200
    location: str = ""
    template: str = ""
    lines: Sequence[Data] | None = None


Handler = Callable[[ConsoleRequest, ConsoleParts], Awaitable[View]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address. `show` answers GET and HEAD, `change` POST. `menu`: its name in the menu; "" where it is not in it.

    `section` is the path of the page that the menu marks while this one is open. `live`: every how many seconds `Accept: text/event-stream`
    gets the template's block of this name anew; 0.0 for a page that stands still.
    """

    path: str
    title: str
    template: str
    show: Handler
    change: Handler | None = None
    menu: str = ""
    section: str = ""
    live: float = 0.0

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.change is None else ("GET", "HEAD", "POST")
