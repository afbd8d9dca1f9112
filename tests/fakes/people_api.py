"""What the fakes of directory APIs have in common: a real server on loopback, scripted faults, everything seen and counted."""

import json
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any, Self

from aiohttp import web

from gateway.demo.nexudus.faults import Fault, Faults, render_fault

Person = dict[str, Any]


class PeopleApi:
    """`counters` has `create` (asked for) and `created` (done). Subclasses answer and know how the gateway is told of them."""

    #: `METHOD /path` globs of the look-up and of the creation, for faults; lower case.
    FIND = CREATE = FETCH = ""

    def __init__(self) -> None:
        self.numbers = count(1)  # never given twice
        self.faults = Faults()
        self.counters: Counter[str] = Counter()
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise AssertionError("to be answered by the API itself")

    def section(self, **changes: Any) -> dict[str, Any]:
        """The `directory` section of a configuration for this API."""
        raise AssertionError("to be told by the API itself")

    def add(self, email: str, name: str, /, *, active: bool = True, link: str | None = None) -> str:
        """Register somebody; the id, as text."""
        raise AssertionError("to be kept by the API itself")

    @property
    def ids(self) -> list[str]:
        """Of everybody, in the same order."""
        raise AssertionError("to be kept by the API itself")

    @property
    def addresses(self) -> list[str]:
        """Of everybody, in the order of registration."""
        raise AssertionError("to be kept by the API itself")

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.raw_path, dict(request.headers)))
        fault = self.faults.take(request.method, request.path.lower())
        if fault is not None and not fault.after:
            spoiled = await render_fault(fault, request)
            if spoiled is not None:
                return spoiled
        answer = await self.answer(request)
        if fault is not None and fault.after:
            return await render_fault(fault, request) or answer
        return answer


def throttling(match: str, *, status: int = 429, times: int | None = 1, retry_after: str | None = "1") -> Fault:
    return Fault(kind="throttle", match=match, status=status, times=times, retry_after=retry_after)


async def json_of(request: web.Request) -> Person:
    value = json.loads(await request.read() or b"null")
    assert isinstance(value, dict)
    return value
