"""The composition root: a Config in, a running worker out. The only module that sees all of Config.

Nothing outside has to be up for a worker to start: what is missing is retried, reported by /ready, and missed only by the requests that need it.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway import audit
from gateway.audit import Audit
from gateway.config.addresses import canonical_host
from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.account import Directory
from gateway.directory.nexudus import NexudusDirectory
from gateway.directory.notes import Notes
from gateway.directory.provisioner import Provisioner
from gateway.errors import ProviderUnavailable, Refusal
from gateway.gate import Gate, SignIn
from gateway.identity import AssertionSigner, normalise_name
from gateway.leases import Leases
from gateway.message import is_navigation
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.oidc.tokens import TokenClient
from gateway.proxy.access_log import AccessLog
from gateway.proxy.door import Door, Parts
from gateway.proxy.heads import ParsedRequest
from gateway.proxy.refusals import Page
from gateway.proxy.server import Server
from gateway.sessions.cache import SessionCache
from gateway.sessions.client import connect, connect_for_pushes
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession
from gateway.sessions.marks import Marks
from gateway.sessions.store import SessionStore
from gateway.sites import AppRoute, Site
from gateway.tls import server_tls, watch_certificate
from gateway.web.app import WebParts, build_app
from gateway.web.pages import Pages
from gateway.web.sign_in import SignIn as SignInPages

_log = logging.getLogger("doorward.app")
_HEALTH_SECONDS: Final = 2.0
_OURS: Final = (500, 502, 503, 504)
_ASK_EVERY: Final = 30  # health rounds: provider and directory are asked once a minute
_TOLD_ONCE: Final = timedelta(minutes=5)
_ABOUT_TO_END: Final = timedelta(seconds=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def app_routes(config: Config) -> list[AppRoute]:
    """One route for each app and host."""
    scheme = config.external_url_scheme
    return [
        AppRoute(name=name, config=app, host=host, origin=f"{scheme}://{host}", secure=scheme == "https")
        for name, app in config.apps.items()
        for host in (canonical_host(given, scheme) for given in app.hosts)
    ]


class Worker:
    """Everything one worker process is made of. `write` takes log lines; `redis_url` is the embedded server's, if there is one."""

    def __init__(self, config: Config, redis_url: str | None, write: Callable[[bytes], None]) -> None:
        self.config = config
        self.audit = Audit(write, pii_full=config.log.pii == "full")
        self._write = write
        self._redis_url = redis_url
        self._dependencies: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Build the parts and begin their background work. Nothing outside has to be up for that."""
        config = self.config
        ring = KeyRing(config.keys)
        self.redis = connect(config.redis, self._redis_url)
        self.store = SessionStore(self.redis, ring, config.redis.key_prefix, utc_now)
        self.cache = SessionCache(
            self.store,
            lambda: connect_for_pushes(config.redis, self._redis_url),
            time.monotonic,
            expired=self._session_expired,
        )
        self.http = open_session(config.openid.ca)  # the private CA is the provider's alone
        self.directory_http = open_session()
        self.provider = Provider(config.openid, self.http, allow_insecure_http=config.allow_insecure_http)
        self.directory = self._directory()
        signer = AssertionSigner(ring.raw)
        gate = self.gate = Gate(app_routes(config), config)
        pages = Pages(config.pages)
        sign_in = SignInPages(
            openid=config.openid,
            provider=self.provider,
            sites=gate.sites,
            ring=ring,
            pages=pages,
            audit=self.audit,
            now=utc_now,
        )
        pages_of_ours = build_app(self._web_parts(ring, pages, sign_in, signer))
        pages_of_ours.middlewares.append(self._told)
        pages_of_ours.on_response_prepare.append(_without_banner)
        limit = 2 * config.limits.head  # the data plane judged the head; its re-serialised form is somewhat longer
        self._runner = web.AppRunner(
            pages_of_ours,
            handle_signals=False,
            access_log=None,
            auto_decompress=False,
            max_line_size=limit,
            max_field_size=limit,
            max_headers=config.limits.headers + 32,
        )
        await self._runner.setup()
        self.door = Door(self._parts(gate, pages, sign_in, signer))
        self.server = Server(self.door)
        self.cache.start()
        if config.openid.enabled:
            self.provider.start()
        self._tasks = [asyncio.create_task(self._watch_health())]

    def _directory(self) -> Directory | None:
        settings = self.config.directory
        return NexudusDirectory(settings, self.directory_http) if settings.kind == "nexudus" else None

    async def listen(self, sock: socket.socket) -> None:
        """Serve a socket that is bound already, with TLS where the configuration says so."""
        tls = self.config.tls
        if tls.certificate is not None and tls.key is not None:
            self._tls = server_tls(str(tls.certificate), str(tls.key))
            self._tasks.append(asyncio.create_task(watch_certificate(self._tls, str(tls.certificate), str(tls.key))))
        await self.server.listen(sock, self._tls, announced=self.config.listen_proxy_protocol)

    async def close(self, seconds: float = 30.0) -> None:
        """Drain, then let go of everything."""
        await self.server.drain(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self.cache.close()
        await self.provider.close()
        if self.directory is not None:
            await self.directory.close()
        await self.http.close()
        await self.directory_http.close()
        await self.redis.aclose()

    def report(self) -> dict[str, Any]:
        """This worker's numbers and health, JSON-able: what the admin listener sums up."""
        numbers = self.door.counters.snapshot()
        upstreams = [
            [name, state, count]
            for name, pool in self.door.pools.items()
            for state, count in (("idle", len(pool.idle)), ("active", pool.open - len(pool.idle)))
        ]
        return {
            **numbers,
            "events": [[event, app, count] for (event, app), count in self.audit.counts.items()],
            "sessions_cached": self.cache.size,
            "upstreams": upstreams,
            "redis_durations": {"session": list(self.store.durations.counts)},
            "redis_seconds": {"session": self.store.durations.seconds},
            "dependencies": self._dependencies,
        }

    # --- composition ---

    def _web_parts(self, ring: KeyRing, pages: Pages, sign_in: SignInPages, signer: AssertionSigner) -> WebParts:
        config = self.config
        prefix = config.redis.key_prefix
        leases, notes = Leases(self.redis, prefix, time.monotonic), Notes(self.redis, prefix)
        return WebParts(
            openid=config.openid,
            sites=self.gate.sites,
            ring=ring,
            pages=pages,
            audit=self.audit,
            sign_in=sign_in,
            provider=self.provider,
            tokens=TokenClient(self.provider, config.openid, now=utc_now),
            provisioner=Provisioner(self.directory, leases, self.audit, notes=notes, timeout=config.directory.timeout),
            registration=lambda surface: registration(config.openid, surface, config.directory.kind),
            store=self.store,
            cache=self.cache,
            marks=Marks(self.redis, prefix),
            signer=signer,
            now=utc_now,
        )

    def _parts(self, gate: Gate, pages: Pages, sign_in: SignInPages, signer: AssertionSigner) -> Parts:
        config = self.config

        def render(refusal: Refusal, request: ParsedRequest | None, request_id: str, site: Site | None) -> Page:
            if refusal.detail:
                level = logging.WARNING if refusal.status in _OURS else logging.INFO  # strangers' mistakes wake nobody
                _log.log(level, "%s: %.200s (request %s)", refusal.code, refusal.detail, request_id)
            html = request is not None and is_navigation(request)
            return pages.render(refusal, html=html, request_id=request_id, app=site.route if site is not None else None)

        def begin_sign_in(route: AppRoute, request: ParsedRequest, decision: SignIn, request_id: str) -> Page:
            return sign_in.begin(
                route, route.host, decision.return_to, request.cookies, request_id,
                method=request.method, max_age=decision.max_age, acr=decision.acr,
            )  # fmt: skip

        self._access_log = AccessLog(self._write, text=config.log.format == "text") if config.log.access else None
        return Parts(
            config=config,
            gate=gate,
            cache=self.cache,
            key_of=self.store.key_of,
            signer=signer,
            audit=self.audit,
            access_log=self._access_log,
            render=render,
            begin_sign_in=begin_sign_in,
            web_handler=self._web_handler,
            now=utc_now,
            extra_names=frozenset(
                normalise_name(name.encode()) for app in config.apps.values() for name in app.headers
            ),
        )

    def _web_handler(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        return server()

    @web.middleware
    async def _told(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A page of ours is counted and logged like everything else."""
        began = time.monotonic()
        response = await handler(request)
        seconds = time.monotonic() - began
        site = self.gate.sites.get(request.headers["Host"])
        app = site.route.name if site is not None else "-"
        self.door.counters.finished(app, response.status, seconds)
        if self._access_log is not None:
            path, _, _ = request.raw_path.partition("?")
            client, request_id = request.headers["X-Real-IP"], request.headers["X-Request-Id"]
            size = response.content_length or 0
            self._access_log.request(
                app, request.method, path, response.status, size, seconds, client, "", request_id, "own"
            )
        return response

    # --- in the background ---

    def _session_expired(self, live: LiveSession, why: str) -> None:
        task = asyncio.create_task(self._tell_expiry(live, why))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_expiry(self, live: LiveSession, why: str) -> None:
        """Every worker that knew the session sees it end; one of them tells, when Redis agrees that it is over."""
        session = live.session
        with contextlib.suppress(Refusal):
            while (left := await self.store.fetch(live.key, live.host, session.app)) is not None:
                if left.ttl > _ABOUT_TO_END:
                    return  # it was used elsewhere meanwhile
                await asyncio.sleep(left.ttl.total_seconds() + 0.01)
            if await self.store.consume(f"expired:{live.key}", _TOLD_ONCE):
                self.audit.event(
                    audit.SESSION_EXPIRED, app=session.app, session=session.sid, email=session.identity.email, why=why
                )

    async def _watch_health(self) -> None:
        """What /ready tells of each dependency."""
        rounds = 0
        while True:
            await self._check("redis", self.store.ping())
            if self.config.openid.enabled:
                await self._check("provider", self._ask_provider(now=rounds % _ASK_EVERY == 0))
            if self.directory is not None and rounds % _ASK_EVERY == 0:
                await self._check("directory", self.directory.ping())
            rounds += 1
            await asyncio.sleep(_HEALTH_SECONDS)

    async def _ask_provider(self, *, now: bool) -> None:
        """What was heard last; asked anew now and then. Raises ProviderUnavailable or ProviderFault."""
        if now and self.provider.ready:
            await self.provider.ping()
        elif not self.provider.ready or self.provider.problem is not None:
            raise ProviderUnavailable(self.provider.problem or "keys not fetched yet")

    async def _check(self, name: str, question: Coroutine[Any, Any, object]) -> None:
        try:
            await question
        except Refusal as refusal:
            self._dependencies[name] = refusal.code
        else:
            self._dependencies[name] = "ok"


async def _without_banner(request: web.Request, response: web.StreamResponse) -> None:
    """No version of ours in any answer (B-46)."""
    response.headers.popall("Server", None)
