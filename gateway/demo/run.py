"""`doorward demo`: provider, portal, dashboard and directory in this process, and Doorward in front as a child.

Everything listens on 127.0.0.1. The configuration and the log live in a temporary folder that goes when the demo ends; it
ends on Ctrl-C, SIGTERM or SIGHUP, or when Doorward does.
"""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from rich.console import Console

from gateway.demo.bookings import local_now
from gateway.demo.dashboard import SampleDashboard
from gateway.demo.gateway_process import GatewayFailed, GatewayProcess
from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.demo.pages import ASSETS
from gateway.demo.people import PEOPLE, Person
from gateway.demo.portal import SamplePortal
from gateway.demo.provider import DemoClient, DemoProvider
from gateway.demo.settings import (
    CLIENT_ID,
    CLIENT_SECRET_VARIABLE,
    DIRECTORY_PASSWORD_VARIABLE,
    HIGHEST,
    KEY_VARIABLE,
    LOWEST,
    Ports,
    Upstreams,
    render_settings,
)
from gateway.demo.welcome import print_welcome
from gateway.sessions.keyring import new_key

DEFAULT_PORT = 4180
_HOST = "127.0.0.1"
_READY_WITHIN = 60.0  # seconds; two or three are usual


class PortRefused(Exception):
    """A port that the demo cannot have; names it, and what wanted it."""


def main(port: int = DEFAULT_PORT) -> int:
    """Runs the demo until a signal ends it; the exit status."""
    return asyncio.run(run_demo(port))


async def run_demo(port: int = DEFAULT_PORT, console: Console | None = None) -> int:
    """Starts all, prints what there is, waits for a signal, ends all. 0 after a signal, 1 when something failed."""
    console = console or Console()
    stop = _stop_on_signals()
    ports = Ports(gateway=port)
    try:
        async with AsyncExitStack() as stack:
            with console.status("Starting Doorward and the applications behind it"):
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="doorward-demo-")))
                running = asyncio.create_task(_start_all(stack, ports, folder))
                gateway = await _unless_stopped(running, stop)
            if gateway is not None:
                print_welcome(console, ports, local_now().date(), folder)
                await _until_the_end(gateway, stop)
            console.print("Ending.")
    except (PortRefused, GatewayFailed) as problem:
        console.print(f"doorward demo: {problem}", style="bold red", markup=False, soft_wrap=True)
        return 1
    return 0


async def _start_all(stack: AsyncExitStack, ports: Ports, folder: Path) -> GatewayProcess:
    """Everything that starts is closed by `stack`, the gateway first."""
    _refuse_taken_ports(ports)
    client_secret = secrets.token_urlsafe(24)
    upstreams = await _start_upstreams(stack, ports, client_secret)
    config = folder / "doorward.yaml"
    config.write_text(yaml.safe_dump(render_settings(ports, upstreams, ASSETS / "favicon.svg"), sort_keys=False))
    environ = _child_environ(os.environ, client_secret)
    ready = f"http://{_HOST}:{ports.admin}/ready"
    gateway = GatewayProcess(config, folder / "doorward.log", environ, ready)
    stack.push_async_callback(gateway.stop)
    await gateway.start()
    await gateway.wait_ready(_READY_WITHIN)
    return gateway


async def _start_upstreams(stack: AsyncExitStack, ports: Ports, client_secret: str) -> Upstreams:
    portal = SamplePortal()
    dashboard = SampleDashboard(portal.bookings, portal.guests)
    members = [{"email": person.email, "full_name": person.name} for person in PEOPLE if person.registered]
    directory = NexudusStub(coworkers=members)
    provider = _provider(ports, client_secret)
    for server in (portal, dashboard, directory):
        await server.start(_HOST, 0)
        stack.push_async_callback(server.close)
    await provider.start(_HOST, ports.provider)
    stack.push_async_callback(provider.close)
    return Upstreams(portal=portal.url, dashboard=dashboard.url, directory=directory.url, directory_user=SERVICE[0])


def _provider(ports: Ports, client_secret: str) -> DemoProvider:
    origins = [f"http://{host}" for host in (ports.portal_host, ports.dashboard_host, ports.console_host)]
    client = DemoClient(
        client_id=CLIENT_ID,
        client_secret=client_secret,
        redirect_uris=tuple(f"{origin}/oauth2/callback" for origin in origins),
        post_logout_redirect_uris=tuple(f"{origin}/oauth2/signed_out" for origin in origins),
        name="Harbour Desk",
    )
    return DemoProvider([client], [_claims(person) for person in PEOPLE], issuer=ports.issuer)


def _claims(person: Person) -> dict[str, Any]:
    return {
        "sub": person.subject,
        "email": person.email,
        "email_verified": True,
        "name": person.name,
        "preferred_username": person.preferred_username,
        "groups": list(person.groups),
        "note": person.role,
    }


def _child_environ(environ: Mapping[str, str], client_secret: str) -> dict[str, str]:
    """This process's environment without overrides that were meant for another Doorward, and with the secrets."""
    inherited = {name: value for name, value in environ.items() if not name.startswith("DOORWARD_")}
    return {
        **inherited,
        KEY_VARIABLE: new_key(),
        CLIENT_SECRET_VARIABLE: client_secret,
        DIRECTORY_PASSWORD_VARIABLE: SERVICE[1],
    }


def _refuse_taken_ports(ports: Ports) -> None:
    """Raises PortRefused before anything is started."""
    if not LOWEST <= ports.gateway <= HIGHEST:
        raise PortRefused(f"port {ports.gateway} is not one for this; allowed: {LOWEST} to {HIGHEST}.")
    for wanted_by, port in ports.all().items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError as error:
                raise PortRefused(
                    f"port {port}, for {wanted_by}, is in use ({error.strerror}). End what uses it, or give --port N:"
                    f" then the demo takes N, N+1 and N+10."
                ) from error


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless_stopped(running: asyncio.Task[GatewayProcess], stop: asyncio.Event) -> GatewayProcess | None:
    """The started gateway, or None when a signal came first."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        return await running
    running.cancel()
    await asyncio.wait((running,))
    return None


async def _until_the_end(gateway: GatewayProcess, stop: asyncio.Event) -> None:
    """Returns on a signal; raises GatewayFailed when the gateway ends by itself."""
    stopped = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(gateway.wait_failed())
    done, _ = await asyncio.wait((stopped, ended), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    ended.cancel()
    if ended in done:
        await ended
