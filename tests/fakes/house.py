"""The whole product in one process: a worker with its door open, before upstreams that record."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.config.loader import Resolved, build
from gateway.config.providers import offered, providers_of
from gateway.demo.provider import DemoClient
from gateway.identity.claims import Identity
from gateway.runtime.composition import GatewayWorker, utc_now
from gateway.runtime.console import ConsoleWorker
from gateway.runtime.console_listener import ConsoleListener
from gateway.sessions.keyring import new_key
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.fakes.browser import Answer, Browser
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse

BROWSER = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens there


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _client(worker: GatewayWorker, secret: str | None, callback: str = "") -> DemoClient:
    """The house, as its provider knows it."""
    config = worker.config
    origins = [f"{config.external_url_scheme}://{host}" for app in config.apps.values() for host in app.hosts]
    return DemoClient(
        client_id=config.openid.client_id,
        client_secret=secret,
        redirect_uris=tuple(f"{origin}/oauth2/callback{callback}" for origin in origins),
        post_logout_redirect_uris=tuple(f"{origin}/oauth2/signed_out" for origin in origins),
    )


@dataclass
class House:
    """`worker` behind `port`; `lines` is all it wrote. Hosts are `NAME.localhost:PORT`."""

    worker: GatewayWorker
    port: int
    upstreams: dict[str, RecordingUpstream]
    lines: list[bytes] = field(default_factory=list)
    provider: MisbehavingProvider | None = None
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    console: ConsoleWorker | None = None
    console_listener: ConsoleListener | None = None

    @classmethod
    async def open(
        cls,
        valkey: str,
        prefix: str,
        *,
        apps: Mapping[str, Mapping[str, Any]] | None = None,
        openid: Mapping[str, Any] | None = None,
        upstreams: Mapping[str, str] | None = None,
        provider: MisbehavingProvider | None = None,
        others: Mapping[str, MisbehavingProvider] | None = None,
        **sections: Any,
    ) -> "House":
        """`apps` gives keys besides hosts and upstream; every app without an entry in `upstreams` gets a recorder.

        A `provider` gets to know the house as a client, running or not; `others` stand in the section `providers`.
        """
        # Bound from the start: a port that was merely free a moment ago may be another program's by now.
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        recorders: dict[str, RecordingUpstream] = {}
        described: dict[str, Any] = {}
        for name, keys in (apps or {"portal": {}}).items():
            url = (upstreams or {}).get(name)
            if url is None:
                recorders[name] = RecordingUpstream()
                await recorders[name].start()
                url = recorders[name].url
            described[name] = {"hosts": [f"{name}.localhost:{port}"], "upstream": url, **keys}
        data = {
            "listen": f"127.0.0.1:{port}",
            "external_url_scheme": "http",
            "redis": {"url": valkey, "key_prefix": prefix},
            "keys": [new_key()],
            "openid": {
                "authority_url": provider.issuer if provider is not None else NOBODY,
                "client_id": "doorward",
                "client_secret": "secret",
                **(openid or {}),
            },
            "apps": described,
            **sections,
        }
        for name, other in (others or {}).items():
            keys = {"authority_url": other.issuer, "client_id": "doorward", "client_secret": "secret"}
            data.setdefault("providers", {})[name] = {**keys, **data.get("providers", {}).get(name, {})}
        lines: list[bytes] = []
        console = ConsoleListener({}) if "console" in data else None
        if console is not None:
            data["console"] = {"hosts": [f"console.localhost:{port}"], **data["console"]}
        try:
            listening = console.open() if console is not None else None
            upstream = console.upstream if console is not None else None
            worker = GatewayWorker(build(data), None, lines.append, console=upstream)
        except BaseException:
            sock.close()
            raise
        if provider is not None:
            provider.register(_client(worker, data["openid"]["client_secret"]))
        for name, other in (others or {}).items():
            other.register(_client(worker, "secret", f"/{name}"))
        await worker.start()
        await worker.listen(sock)
        house = cls(worker, port, recorders, lines, provider, data)
        if console is not None and listening is not None:
            house.console, house.console_listener = (
                ConsoleWorker(build(data), None, lines.append, Resolved(data=data)),
                console,
            )
            await house.console.start()
            await house.console.listen(listening.dup())
        await eventually(lambda: worker.cache.trusted)
        if provider is not None and provider.running and worker.config.openid.enabled:
            await eventually(
                lambda: (
                    worker.providers["openid"].provider.ready
                    or worker.providers["openid"].provider.problem != "not asked yet"
                )
            )
        return house

    async def close(self) -> None:
        await self.worker.close(0.5)
        if self.console is not None and self.console_listener is not None:
            await self.console.close(0.5)
            self.console_listener.close()
        await asyncio.gather(*(upstream.close() for upstream in self.upstreams.values()))

    @property
    def upstream(self) -> RecordingUpstream:
        """The portal's."""
        return self.upstreams["portal"]

    def host(self, app: str = "portal") -> str:
        return self.worker.config.apps[app].hosts[0]

    def origin(self, app: str = "portal") -> str:
        return f"{self.worker.config.external_url_scheme}://{self.host(app)}"

    def browser(self) -> Browser:
        return Browser({self.origin(app): self.port for app in self.worker.config.apps})

    async def sign_in(
        self, browser: Browser, person: object = MIA["sub"], *, at: str = "/", app: str = "portal"
    ) -> Answer:
        """Open `at` and choose a person where the provider asks; ends on the last answer."""
        return await self.choose(browser, await browser.open(self.origin(app) + at), person)

    async def choose(
        self, browser: Browser, page: Answer, person: object = MIA["sub"], *, follow: bool = True
    ) -> Answer:
        """At the provider's login page, if that is where the browser is."""
        asked = self.provider is not None and page.url.startswith(self.provider.issuer)
        return await browser.submit(0, follow=follow, person=str(person)) if asked else page

    async def session(
        self, app: str = "portal", *, email: str | None = "bob@example.com", groups: Sequence[str] = (), **more: Any
    ) -> str:
        """A session as the callback would issue it; returns the Cookie field's value."""
        limits = self.worker.config.apps[app].session
        config = self.worker.config
        provider = more.get("provider", next(iter(offered(config, config.apps[app])), "openid"))
        identity = Identity(
            issuer=providers_of(config)[provider].authority_url, subject=more.pop("subject", "bob"), email=email, name=more.pop("name", "Bob"),
            groups=tuple(groups), preferred_username=None, directory={},
        )  # fmt: skip
        facts: dict[str, Any] = {
            "key_host": self.host(app), "app": app, "sid": SessionStore.new_sid(), "identity": identity, "provider_sid": None,
            "auth_time": utc_now(), "acr": None, "created_at": utc_now(), "idle": limits.idle, "lifetime": limits.lifetime,
            "id_token": None, "access_token": None, "refresh_token": None, "provider": provider,
        }  # fmt: skip
        token = await self.worker.store.issue(Session(**{**facts, **more}))
        return f"doorward_session={token}"

    async def ask(
        self,
        target: str,
        *,
        app: str = "portal",
        method: str = "GET",
        cookie: str | None = None,
        fields: str = "",
        body: bytes | None = None,
    ) -> WireResponse:
        """One request on a connection of its own. `fields` are whole lines; a body gets its Content-Length."""
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.host(app)}\r\n{fields}"
        head += f"Cookie: {cookie}\r\n" if cookie is not None else ""
        head += f"Content-Length: {len(body)}\r\n" if body is not None else ""
        return await self.raw(head.encode("latin-1") + b"\r\n" + (body or b""), head_only=method == "HEAD")

    async def raw(self, data: bytes, *, head_only: bool = False) -> WireResponse:
        wire = await Wire.open(self.port)
        try:
            await wire.send(data)
            return await wire.response(head_only=head_only)
        finally:
            await wire.close()
