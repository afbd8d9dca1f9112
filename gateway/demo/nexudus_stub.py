"""A Nexudus-like API on loopback: what the demo provisions people in, and what the tests make misbehave.

A real aiohttp server with one `World` of state. `faults` are scripted misbehaviours, `switches` standing habits,
`counters` what was asked and who got in. Start it, give `url` to the gateway's `directory.base_url`, and close it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Self

from aiohttp import web

from gateway.demo.nexudus.answers import RouteTable, folded, json_answer, text_answer
from gateway.demo.nexudus.auth import Auth
from gateway.demo.nexudus.coworkers import Coworkers
from gateway.demo.nexudus.doors import ApiDoors, PortalDoors, redeem
from gateway.demo.nexudus.faults import Fault, Faults, Switches, render_fault
from gateway.demo.nexudus.system import System
from gateway.demo.nexudus.world import Record, World

__all__ = ["Fault", "NexudusStub", "Switches"]

SERVICE = ("sso@ops.example", "service-password")


class NexudusStub:
    """The API. `coworkers` and `users` are keyword arguments of `World.add_coworker` and `World.add_user`, one
    mapping a record.

    `service` is the login that the gateway uses. `list_lag` seconds pass before a new coworker shows in lists.
    """

    def __init__(
        self,
        *,
        service: tuple[str, str] = SERVICE,
        coworkers: Iterable[Mapping[str, Any]] = (),
        users: Iterable[Mapping[str, Any]] = (),
        switches: Switches | None = None,
        list_lag: float = 0.0,
        token_lifetime: float = 604_799,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.world = World(service=service, clock=clock, list_lag=list_lag, token_lifetime=token_lifetime)
        self.switches = switches or Switches()
        self.faults = Faults()
        self.seen: deque[tuple[str, str, Mapping[str, str]]] = deque(maxlen=10_000)  # method, path with query, headers
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._routes = self._table()
        for user in users:
            self.world.add_user(**user)
        for coworker in coworkers:
            self.world.add_coworker(**coworker)

    @property
    def counters(self) -> Counter[str]:
        return self.world.counters

    @property
    def coworkers(self) -> list[Record]:
        """All live customer records, lagging ones too."""
        return list(self.world.coworkers.values())

    @property
    def outbox(self) -> list[Record]:
        return self.world.outbox

    def redeem(self, token: str) -> tuple[str, int] | None:
        """Whose one-time token this is, by address and number of the login; it is used up by that."""
        user = redeem(self.world, token)
        return None if user is None else (user["Email"], user["Id"])

    def create_app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        return app

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        runner = web.AppRunner(self.create_app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        self._runner = runner
        bound = runner.addresses[0]
        self.url = f"http://{host}:{bound[1]}"
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _table(self) -> RouteTable:
        routes = RouteTable()
        auth = Auth(self.world)
        ApiDoors(self.world, auth).mount(routes)
        Coworkers(self.world, auth, self.switches).mount(routes)
        System(self.world, auth, self.switches).mount(routes)
        PortalDoors(self.world, auth).mount(routes)
        routes.add("GET", "/__stub/outbox", self._show_outbox)
        routes.add("GET", "/__stub/counters", self._show_counters)
        return routes

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = folded(request.raw_path)
        self.counters["requests"] += 1
        self.seen.append((request.method, request.raw_path, dict(request.headers)))
        fault = self.faults.take(request.method, path)
        if fault is not None and not fault.after:
            spoiled = await render_fault(fault, request)
            if spoiled is not None:
                return spoiled
        answer = await self._answer(request)
        if fault is not None and fault.after:
            return await render_fault(fault, request) or answer
        return answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        found = self._routes.find(request.method, request.raw_path)
        if isinstance(found, int):
            return text_answer("Not found", found) if found == 404 else web.Response(status=found)
        handler, segments = found
        return await handler(request, segments)

    async def _show_outbox(self, _: web.Request, __: dict[str, str]) -> web.Response:
        return json_answer(self.outbox)

    async def _show_counters(self, _: web.Request, __: dict[str, str]) -> web.Response:
        return json_answer(dict(self.counters))
