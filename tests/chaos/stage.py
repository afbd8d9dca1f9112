"""Everything that takes part, started once: a Valkey, a provider, a directory, an application, the links, two replicas of four workers.

What misbehaves by being told (provider, directory, links) lives in this process, as does the load; Doorward and Valkey are processes of their own.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.config import schema
from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.demo.provider import DemoClient
from gateway.identity.claims import Identity
from gateway.redis_client.client import connect
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from tests.bench.children import free_port
from tests.chaos.links import Link
from tests.chaos.people import Person
from tests.chaos.replica import Replica
from tests.chaos.upstream import Application
from tests.fakes.provider import MisbehavingProvider
from tests.fakes.redis_servers import SentinelSet, ValkeyCluster, running_cluster, running_sentinels

HOST: Final = "portal.localhost"
ORIGIN: Final = f"http://{HOST}"
PREFIX: Final = "doorward:"
CLIENT_ID: Final = "chaos"
_CLIENT_SECRET: Final = "a secret of the chaos run"
WORKERS: Final = 4


class ChaosFailed(Exception):
    """The run itself could not be done."""


Kind = Literal["one", "sentinel", "cluster"]


class Stage:
    """`async with Stage() as stage`. `store`, `client` and `redis` reach the sessions past every link: they are the run's own eyes.

    `kind`: what keeps the sessions: one Valkey (`valkey`, behind a link; `redis` is a plain client of it), a Sentinel set or a cluster
    (`servers`, without a link: their servers say themselves where they are). `environ(folder)`: what the replicas find in their environment.
    """

    servers: SentinelSet | ValkeyCluster

    def __init__(
        self,
        kind: Kind = "one",
        *,
        outage: str = "refuse",
        environ: Callable[[Path], Mapping[str, str]] = lambda folder: {},
    ) -> None:
        self.kind = kind
        self._outage, self._environ = outage, environ
        self._open = ExitStack()
        self.links: dict[str, Link] = {}
        self.replicas: list[Replica] = []
        self.provider_ahead = timedelta(0)

    async def __aenter__(self) -> "Stage":
        self.folder = Path(tempfile.mkdtemp(prefix="doorward-chaos-"))
        try:
            await asyncio.to_thread(self._start_store)
            await self._open_parties()
            await self._open_replicas()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    def _start_store(self) -> None:
        if self.kind == "one":
            self.valkey = EmbeddedValkey(self.folder / "store")
            self._open.callback(self.valkey.stop)
            self.valkey.start()
            self.store_url = self.valkey.url
        else:
            running: Any = running_sentinels() if self.kind == "sentinel" else running_cluster()
            self.servers = self._open.enter_context(running)
            self.store_url = self.servers.url

    async def _open_parties(self) -> None:
        self.client: Redis = connect(schema.Redis(), self.store_url)
        self.key = new_key()
        self.ring = KeyRing([self.key])
        self.store = SessionStore(self.client, self.ring, PREFIX, utc_now)
        if self.kind == "one":
            path = self.store_url.removeprefix("unix://")
            self.redis = Redis(unix_socket_path=path)
            self.links["redis"] = await Link.to_socket("redis", path).open()
        self.application = await Application().start()
        self.directory = await NexudusStub().start()
        provider_port = free_port()
        self.links |= {
            "provider": await Link("provider", "127.0.0.1", provider_port).open(),
            "directory": await Link("directory", "127.0.0.1", int(self.directory.url.rpartition(":")[2])).open(),
            "upstream": await Link("upstream", "127.0.0.1", self.application.port).open(),
        }
        self.provider = MisbehavingProvider(
            issuer=f"http://127.0.0.1:{self.links['provider'].port}", now=lambda: utc_now() + self.provider_ahead
        )
        self.provider.register(
            DemoClient(
                client_id=CLIENT_ID,
                client_secret=_CLIENT_SECRET,
                redirect_uris=(f"{ORIGIN}/oauth2/callback",),
                post_logout_redirect_uris=(f"{ORIGIN}/oauth2/signed_out",),
            )
        )
        await self.provider.start(port=provider_port)
        self.provider_port = provider_port

    async def _open_replicas(self) -> None:
        environ = await asyncio.to_thread(self._environ, self.folder)
        self.replicas = [Replica(name, self.folder, self.settings(), environ) for name in ("a", "b")]
        for one in self.replicas:
            one.begin()
        await asyncio.gather(*(one.wait_started() for one in self.replicas))
        await self.until(self.all_ready, "the replicas do not become ready", 60)
        for one in self.replicas:
            self.links[f"client-{one.name}"] = await Link(f"client-{one.name}", "127.0.0.1", one.port).open()

    def settings(self) -> dict[str, Any]:
        """The configuration of a replica, without its ports."""
        return {
            "external_url_scheme": "http",
            "workers": WORKERS,
            "log": {"queue": "16KiB"},
            "redis": {"url": self._redis_url(), "key_prefix": PREFIX, "outage": self._outage},
            "keys": [self.key],
            "openid": {
                "authority_url": self.provider.issuer,
                "client_id": CLIENT_ID,
                "client_secret": _CLIENT_SECRET,
                "scopes": ["openid", "email", "profile", "offline_access"],
                "create_users": True,
                "unregistered_when_sso_only": "create",
            },
            "apps": {
                "portal": {
                    "hosts": [HOST],
                    "upstream": f"http://127.0.0.1:{self.links['upstream'].port}",
                    "timeouts": {"connect": "2s", "response_headers": "4s"},
                }
            },
            "directory": {
                "kind": "nexudus",
                "base_url": f"http://127.0.0.1:{self.links['directory'].port}",
                "username": SERVICE[0],
                "password": SERVICE[1],
                "business_ids": [501],
                "country_id": 1113,
                "time_zone_id": 2029,
                "timeout": "3s",
                "budget": dict.fromkeys(
                    ("per_second", "per_minute", "per_hour", "per_day", "writes_per_minute", "writes_per_day"), 0
                ),
            },
            "shutdown": {"notice": "1500ms", "drain": "4s"},
        }

    def _redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.links['redis'].port}" if self.kind == "one" else self.store_url

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in self.replicas if hasattr(one, "_child")))
        for link in self.links.values():
            await link.close()
        for party in ("provider", "directory", "application"):
            if hasattr(self, party):
                await getattr(self, party).close()
        for client in ("redis", "client"):
            if hasattr(self, client):
                await getattr(self, client).aclose()
        await asyncio.to_thread(self._open.close)
        if os.environ.get("CHAOS_KEEPS") is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- waiting ---

    async def all_ready(self) -> bool:
        return all(await asyncio.gather(*(one.all_ready() for one in self.replicas)))

    @staticmethod
    async def until(condition: Callable[[], Awaitable[bool]], otherwise: str, seconds: float = 30.0) -> None:
        """Raises ChaosFailed."""
        end = asyncio.get_running_loop().time() + seconds
        while not await condition():
            if asyncio.get_running_loop().time() > end:
                raise ChaosFailed(otherwise)
            await asyncio.sleep(0.1)

    # --- people ---

    def session(self, name: str, **facts: Any) -> Session:
        """As the callback would issue it, without the provider's tokens."""
        limits = schema.SessionLimits()
        identity = Identity(
            issuer=self.provider.issuer, subject=name, email=f"{name}@example.com", name=name.title(), groups=("members",),
            preferred_username=name, directory={},
        )  # fmt: skip
        now = utc_now()
        session = Session(
            key_host=HOST, app="portal", sid=SessionStore.new_sid(), identity=identity, provider_sid=None, auth_time=now,
            acr=None, created_at=now, idle=limits.idle, lifetime=limits.lifetime,
        )  # fmt: skip
        return replace(session, **facts)

    async def seat(self, name: str) -> Person:
        """Somebody with a session, issued by the real store."""
        token = await self.store.issue(self.session(name))
        return Person(name=name, cookie=f"doorward_session={token}", key=self.store.key_of(token))

    async def seat_many(self, lead: str, count: int) -> list[Person]:
        return await asyncio.gather(*(self.seat(f"{lead}-{number:04}") for number in range(count)))
