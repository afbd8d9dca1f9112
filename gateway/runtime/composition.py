"""The composition root: a Config in, a running worker out. The only module that reads all of Config.

A worker starts without Redis, the providers and the directory: it retries, /ready reports the failure, and only the requests that
need the missing one are refused.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.bearer.factory import open_tokens
from gateway.bearer.issuers import TokenIssuers
from gateway.break_glass.admission import BreakGlass
from gateway.break_glass.store import Openings
from gateway.break_glass.watcher import WatcherParts
from gateway.config.console import with_console
from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.factory import open_directory, open_provisioner
from gateway.directory.provisioner import recheck_of
from gateway.errors.refusal import Refusal
from gateway.gate.site import Sites, app_routes
from gateway.hand_off.broker import Broker, HandOffParts, build_brokers
from gateway.hand_off.filter import HandOffFilter
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.held_forms.holding import FormHolding
from gateway.held_forms.store import HeldForms
from gateway.identity.assertion import AssertionSigner
from gateway.identity.headers import normalise_name
from gateway.observability import events as audit
from gateway.observability.access_log import AccessLog
from gateway.observability.background import repeat
from gateway.observability.counters import Durations, WorkerCounts, WorkerReport
from gateway.observability.events import Audit
from gateway.oidc.authorization import ATTEMPT_LIFETIME
from gateway.oidc.calls import open_session
from gateway.oidc.providers import open_providers
from gateway.operations.certificates import certificate_ends
from gateway.pages.renderer import Pages
from gateway.proxy.context import ProxyContext, ProxyParts
from gateway.proxy.filters import AppFilter
from gateway.proxy.server import Server
from gateway.redis_client.client import connect, push_sources, record_reader
from gateway.redis_client.invalidation import Sources
from gateway.redis_client.leases import Leases
from gateway.redis_client.once import Once
from gateway.redis_client.sightings import Sightings
from gateway.rewriting.rewriter import ResponseRewriter
from gateway.runtime.health import Health
from gateway.runtime.tls import server_tls, watch_certificate
from gateway.sessions.cache import SessionCache
from gateway.sessions.fleet_time import FleetTime
from gateway.sessions.key_ages import KeyAges
from gateway.sessions.keyring import KeyRing
from gateway.sessions.live import LiveSession
from gateway.sessions.login_tests import LoginTests
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.long_links import LongLinks
from gateway.sessions.pending_sign_in import PendingSignIns
from gateway.sessions.redemptions import Redemptions
from gateway.sessions.renewal_hook import Recheck
from gateway.sessions.scan import SessionScan
from gateway.sessions.session_count import SessionCount
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.shared_headers import SharedHeaders
from gateway.sessions.store import SessionStore
from gateway.sign_in.address_rate import AddressRate
from gateway.sign_in.begin import SignInStarter
from gateway.telemetry.event_log import losses, open_event_log
from gateway.token_refresh.attempts import Attempts
from gateway.token_refresh.refresher import Refresher
from gateway.token_refresh.renewal import Renewal
from gateway.web.app import WebParts, build_app, runner_of
from gateway.web.page_log import PageLog

_log = logging.getLogger("doorward.app")
_EMITTED_LIFETIME: Final = timedelta(minutes=5)
_LAST_EVENTS_SECONDS: Final = 1.0
_ABOUT_TO_END: Final = timedelta(seconds=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


class ExpiryEvents:
    """Emits `session.expired` once for all workers, when Redis agrees that the session is over."""

    def __init__(self, store: SessionStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit
        self._tasks: set[asyncio.Task[None]] = set()

    def on_expired(self, session: LiveSession, why: str) -> None:
        """This worker's copy of the session expired; `why` is for the event."""
        task = asyncio.create_task(self._emit(session, why))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _emit(self, live: LiveSession, why: str) -> None:
        session = live.session
        with contextlib.suppress(Refusal):
            while (left := await self._store.fetch(live.key, live.host, session.app)) is not None:
                if left.ttl > _ABOUT_TO_END:
                    return  # another worker prolonged it
                await asyncio.sleep(left.ttl.total_seconds() + 0.01)
            if await self._store.consume(f"expired:{live.key}", _EMITTED_LIFETIME):
                self._audit.emit(
                    audit.SESSION_EXPIRED, app=session.app, session=session.sid, email=session.identity.email, why=why
                )


def filters_of(config: Config, context: ProxyContext, brokers: Mapping[str, Broker]) -> dict[str, list[AppFilter]]:
    """By app; an app whose settings need only forwarding has none."""
    filters: dict[str, list[AppFilter]] = {}
    for name, app in config.apps.items():
        if name in brokers:
            filters.setdefault(name, []).append(HandOffFilter(context, brokers[name]))
        if app.responses.hide or app.responses.drop_cookies:
            filters.setdefault(name, []).append(ResponseRewriter(name, app.responses))
    return filters


class GatewayWorker:
    """All parts of one worker process. `write` takes log lines; `redis_url` is the embedded server's, if there is one.

    Raises OSError or ssl.SSLError for a certificate that cannot be used.

    `console` is the address of the console's process, `unix:PATH`, where there is one.
    `gateway` as in WatcherParts; `ended_openings` are IDs of break-glass openings that ended before the worker started, and
    `on_opening_ended(id)` is called for each that it sees end.
    """

    def __init__(
        self,
        config: Config,
        redis_url: str | None,
        write: Callable[[bytes], None],
        *,
        console: str | None = None,
        gateway: str = "",
        ended_openings: Sequence[str] = (),
        on_opening_ended: Callable[[str], None] = lambda opening_id: None,
    ) -> None:
        self.config = config = with_console(config, console)
        self.audit = Audit(write, pii_full=config.log.pii == "full")
        self._write = write
        self._redis_url = redis_url
        self._gateway = gateway
        self._ended_openings = ended_openings
        self._on_opening_ended = on_opening_ended
        self._tasks: list[asyncio.Task[None]] = []
        self.durations = Durations()
        self._tls = server_tls(config.tls)
        self._read_certificates()

    async def start(self) -> None:
        """Build the parts and start their background tasks. No other server has to be up for that."""
        config = self.config
        ring = KeyRing(config.keys)
        self.redis = connect(config.redis, self._redis_url, durations=self.durations)
        self.event_log = open_event_log(config, self.redis, ring, self.audit)
        self._fleet_time = FleetTime(self.redis, config.redis.key_prefix, time.monotonic, time.time)
        sightings = Sightings(self.redis, config.redis.key_prefix, utc_now)
        self.providers = open_providers(config, utc_now, self.durations, sightings)
        self._reader = record_reader(config.redis, self._redis_url, time.monotonic)
        prefix, directory = config.redis.key_prefix, config.directory
        self.store = SessionStore(
            self.redis, ring, prefix, utc_now, accepts=self.providers.accepts, reader=self._reader
        )
        self._leases = Leases(self.redis, prefix, time.monotonic)
        self.directory_http = open_session(None if directory.kind == "none" else directory.ca)
        self.directory = open_directory(directory, self.directory_http, self.redis, prefix, durations=self.durations)
        self.provisioner = open_provisioner(directory, self.directory, self.redis, prefix, ring, self.audit, utc_now)
        self.refresher = self._build_refresher(recheck_of(config, self.provisioner))
        sources = push_sources(self.redis, config.redis, self._redis_url, self._reader)
        self.tokens = open_tokens(config, self.redis, ring, self.provisioner.known, sources)
        self.cache = SessionCache(
            self.store, sources, time.monotonic, outage=config.redis.outage.total_seconds(),
            on_expired=ExpiryEvents(self.store, self.audit).on_expired, renewal=self.refresher, token_again=self.tokens.again,
        )  # fmt: skip
        signer = AssertionSigner(ring.raw)
        sites = self.sites = Sites(app_routes(config), config)
        self.break_glass = self._build_break_glass(ring, sites, sources)
        pages = Pages(config.pages, {name: app.pages for name, app in config.apps.items()})
        sign_in = SignInStarter(
            providers=self.providers, sites=sites.by_host, ring=ring, pages=pages, audit=self.audit,
            links=LongLinks(self.redis, config.redis.key_prefix, ring, ATTEMPT_LIFETIME, time.monotonic),
            now=utc_now, moment=self._fleet_time.now, pushed_requests=AddressRate(config.limits.pushed_requests_per_address, time.monotonic),
        )  # fmt: skip
        self.brokers = self._build_brokers(ring)
        self._forms = HeldForms(self.redis, ring, prefix)
        self.context = ProxyContext(self._proxy_parts(ring, sites, pages, sign_in, signer))
        await self._set_up_pages(self._web_parts(ring, pages, sign_in, signer))
        self.context.admit = self.break_glass.admit
        self.context.on_sweep.append(self.break_glass.sweep)
        self.context.filters.update(filters_of(config, self.context, self.brokers))
        self.context.on_refusal = FormHolding(self.context, self.store, self._forms, self.audit).on_refusal
        self.server = Server(self.context)
        self.cache.start()
        self.break_glass.start()
        self.providers.start()
        self.health = Health(
            SessionCount(self.redis, prefix), self.store, self.cache, self.providers, self.directory, self.context, self.audit, utc_now,
        )  # fmt: skip
        self._start_tasks(KeyAges(self.redis, ring, prefix, utc_now))

    def _start_tasks(self, ages: KeyAges) -> None:
        issuers = TokenIssuers(self.config, self.providers, self.tokens.drop)
        self.tokens.start(issuers, self.cache.recheck_tokens)
        certificate = watch_certificate(self._tls, self.config.tls, self._read_certificates)
        work = (self.health.watch(), self._fleet_time.run(), certificate, repeat("key ages", ages.note))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def _set_up_pages(self, parts: WebParts) -> None:
        pages = build_app(parts)
        pages.middlewares.append(PageLog(self.sites, self.context.counters, self.context.access_log).observe)
        self._runner = runner_of(pages, self.config.limits)
        await self._runner.setup()

    def _build_break_glass(self, ring: KeyRing, sites: Sites, sources: Sources) -> BreakGlass:
        config = self.config
        parts = WatcherParts(
            openings=Openings(self.redis, ring, config.redis.key_prefix), sources=sources, once=self.store.consume,
            clock=time.monotonic, now=utc_now, on_ended=self._on_opening_ended, gateway=self._gateway,
        )  # fmt: skip
        # SECURITY: no opening, not even a sealed one, admits a request to the console without a session (C-92).
        openable = {host: site for host, site in sites.by_host.items() if not site.is_console}
        break_glass = BreakGlass(parts, openable, config.trusted_proxies, self.audit)
        break_glass.mark_ended(self._ended_openings)
        return break_glass

    def _build_brokers(self, ring: KeyRing) -> dict[str, Broker]:
        parts = HandOffParts(
            ring=ring, redis=self.redis, leases=self._leases, directory=self.directory,
            find_account=self.provisioner.known, http=self.directory_http, audit=self.audit, now=utc_now,
            is_alive=self._is_alive,
        )  # fmt: skip
        return build_brokers(self.config, parts)

    async def _is_alive(self, session: LiveSession) -> bool:
        """Whether Redis still holds the session. Raises StoreUnavailable."""
        return await self.store.fetch(session.key, session.host, session.session.app, tokens=False) is not None

    def _build_refresher(self, recheck: Recheck) -> Refresher:
        """`recheck` is called for each person whose tokens were renewed."""
        return Refresher(
            store=self.store,
            leases=self._leases,
            attempts=Attempts(self.redis, self.config.redis.key_prefix),
            renewal=Renewal(self.store, recheck, time.monotonic, utc_now),
            client_of=self.providers.refresh_client_of,
            on_change=lambda key: self.cache.forget(key),
            audit=self.audit,
            clock=time.monotonic,
            now=utc_now,
        )

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections from a bound socket, with TLS where it is configured. The worker closes it."""
        await self.server.listen(sock, self._tls, announced=self.config.listen_proxy_protocol)

    def ignore(self, sock: socket.socket) -> None:
        """Accept from this socket no more, and close it. Its connections stay."""
        self.server.ignore(sock)

    def _read_certificates(self) -> None:
        self._certificates = certificate_ends(self.config)

    def mark_opening_ended(self, opening_id: str) -> None:
        """Another worker saw this break-glass opening end."""
        self.break_glass.mark_ended([opening_id])

    def give_notice(self) -> None:
        """Serve on, but close each connection after its next response, because the process stops soon."""
        self.context.draining = True

    async def close(self, seconds: float = 30.0) -> None:
        """Drain for at most `seconds`, then stop the background tasks and close all connections."""
        await self.server.drain(seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self.refresher.close()
        await self.tokens.close()
        await self.cache.close()
        await self.break_glass.close()
        if self.event_log is not None:
            await self.event_log.close(_LAST_EVENTS_SECONDS)
        await self.providers.close()
        if self.directory is not None:
            await self.directory.close()
        await self.directory_http.close()
        if self._reader is not None:
            self._reader.close()
        await self.redis.aclose()

    def report(self) -> WorkerReport:
        """This worker's numbers and health. It shares the counters, which go on counting: serialize it at once."""
        counters = self.context.counters
        counts = WorkerCounts(
            requests=counters.requests, durations=self.durations.by_labels | counters.durations,
            events=self.audit.counts, outcomes=self.audit.outcomes, log_lines_dropped=losses(self.event_log),
            break_glass_uses=self.break_glass.uses, cpu_seconds=time.process_time(),
        )  # fmt: skip
        upstreams = {
            (name, state): count
            for name, pool in self.context.pools.items()
            for state, count in (("idle", len(pool.idle)), ("active", pool.open - len(pool.idle)))
        }
        return WorkerReport(
            counts=counts, in_flight=counters.in_flight, sessions_cached=self.cache.size, upstreams=upstreams,
            break_glass=self.break_glass.open_now, dependencies=self.health.report(), sessions=self.health.sessions,
            certificates=self._certificates,
        )  # fmt: skip

    # --- composition ---

    def _web_parts(self, ring: KeyRing, pages: Pages, sign_in: SignInStarter, signer: AssertionSigner) -> WebParts:
        config, prefix = self.config, self.config.redis.key_prefix
        return WebParts(
            config=config, providers=self.providers, sites=self.sites.by_host, ring=ring, pages=pages, audit=self.audit, sign_in=sign_in,
            provisioner=self.provisioner, pending=PendingSignIns(self.redis, prefix, ring), redemptions=Redemptions(self.redis, prefix),
            failed_callbacks=AddressRate(config.limits.failed_callbacks_per_address, time.monotonic),
            login_tests=LoginTests(self.redis, prefix, ring),
            forms=self._forms,
            registration=lambda surface: registration(config.openid, surface, config.directory.kind),
            store=self.store,
            scan=SessionScan(self.redis, ring, prefix),
            cache=self.cache,
            once=Once(self.redis, prefix),
            session_limit=SessionLimit(self.redis, ring, prefix, utc_now),
            endings=LogoutMarkers(self.redis, ring, prefix, self._fleet_time.now),
            signer=signer,
            upstreams=UpstreamSignOut(self.brokers, lambda app: self.context.pools[app]),
            now=utc_now,
        )  # fmt: skip

    def _proxy_parts(
        self, ring: KeyRing, sites: Sites, pages: Pages, sign_in: SignInStarter, signer: AssertionSigner
    ) -> ProxyParts:
        config, apps = self.config, self.config.apps.values()
        log = config.log
        access_log = AccessLog(
            self._write, text=log.format == "text", pii_full=log.pii == "full", fields=log.access_fields
        )
        return ProxyParts(
            config=config,
            sites=sites,
            cache=self.cache,
            tokens=self.tokens,
            key_of=self.store.key_of,
            signer=signer,
            shared=SharedHeaders(ring, config.redis.key_prefix, self._reader),
            audit=self.audit,
            access_log=access_log if log.access else None,
            pages=pages,
            sign_in=sign_in,
            on_forwarding=self.break_glass.on_forwarding,
            web_handler=self._web_handler,
            now=utc_now,
            extra_names=frozenset(normalise_name(name.encode()) for app in apps for name in app.headers),
            vouched_names=frozenset(name.lower().encode() for name in config.trusted_headers),
            client_names=frozenset(name.lower().encode() for app in apps for name in app.client_headers),
        )

    def _web_handler(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        return server()
