"""The operators' listener: `/ping`, `/ready`, `/metrics`. It is never on the public port, and ignores the cookies of apps.

The parent process owns it. For each scrape it requests a report of every worker, and `metrics` renders the sum.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.config.addresses import parse_listen
from gateway.config.schema import Config
from gateway.observability.counters import WorkerReport
from gateway.runtime.metrics import ParentFacts, WorkerCollector
from gateway.runtime.readiness import readiness
from gateway.runtime.sockets import remove_socket, unix_socket


def build_admin(
    reports: Callable[[], Awaitable[Sequence[WorkerReport]]],
    facts: Callable[[], Awaitable[ParentFacts]],
    wanted: Callable[[], int],
    stopping: Callable[[], bool],
    own: Callable[[], Mapping[str, Mapping[str, Any]]],
    process: Callable[[], Mapping[str, Any]],
) -> web.Application:
    """The admin application.

    `reports()` requests one of every worker, `facts()` gives what the parent knows, `wanted()` is how many workers there
    should be, `stopping()` whether the process is stopping, `own()` the dependencies that the parent reports itself,
    `process()` its process id and its reloads.
    """

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    async def ready(request: web.Request) -> web.Response:
        status, body = readiness(await reports(), wanted(), stopping=stopping(), own=own())
        body["process"] = process()
        return web.json_response(body, status=status, headers={"Cache-Control": "no-store"})

    async def metrics(request: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(WorkerCollector(await reports(), await facts()))
        # OpenMetrics for those that ask for it.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/ping", ping)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def listening(app: web.Application, config: Config) -> AsyncIterator[None]:
    """Serve the admin application on `admin_listen`. Raises OSError."""
    runner = web.AppRunner(app, access_log=None)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(runner.cleanup)
        await runner.setup()
        address = parse_listen(config.admin_listen)
        site: web.BaseSite
        if address.path is not None:
            site = web.SockSite(runner, unix_socket(address.path, config.listen_mode))
            opened.callback(remove_socket, address.path)
        else:
            site = web.TCPSite(runner, address.host, address.port)
        await site.start()
        yield
