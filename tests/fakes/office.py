"""The control plane on a port of its own: the pages, a provider and Redis, without the data plane before them.

Apps are `https://portal.example.com` and `https://dashboard.example.com`; a `Browser` is told that both live on the same port.
"""

import json
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.config.providers import offered_by_app, providers_of
from gateway.config.toggles import Registration
from gateway.demo.provider import DemoClient
from gateway.directory.account_links import AccountLinks
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.provisioner import Provisioner, ProvisioningPolicy
from gateway.gate.site import Site
from gateway.hand_off.sign_out import UpstreamSignOut
from gateway.held_forms.store import HeldForms
from gateway.identity.assertion import AssertionSigner
from gateway.observability.events import Audit
from gateway.oidc.authorization import ATTEMPT_LIFETIME
from gateway.oidc.providers import Providers
from gateway.pages.renderer import Pages
from gateway.proxy.pool import Pool
from gateway.redis_client.client import push_sources
from gateway.redis_client.leases import Leases
from gateway.redis_client.once import Once
from gateway.sessions.cache import LiveSession, SessionCache
from gateway.sessions.keyring import KeyRing
from gateway.sessions.login_tests import LoginTests
from gateway.sessions.logout_markers import LogoutMarkers
from gateway.sessions.long_links import LongLinks
from gateway.sessions.pending_sign_in import PendingSignIns
from gateway.sessions.redemptions import Redemptions
from gateway.sessions.scan import SessionScan
from gateway.sessions.session import Session
from gateway.sessions.session_limit import SessionLimit
from gateway.sessions.store import SessionStore
from gateway.sign_in.address_rate import AddressRate
from gateway.sign_in.begin import SignInStarter
from gateway.web.app import WebParts, build_app
from tests.fakes.browser import Answer, Browser
from tests.fakes.clock import SettableClock
from tests.fakes.empty_directory import EmptyDirectory
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.waiting import eventually
from tests.unit.web.made import DASHBOARD, DASHBOARD_ORIGIN, PORTAL, PORTAL_ORIGIN, made_config, made_sites

SECRET = "a secret of some length"
COOKIE = "__Host-doorward_session"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Office:
    """`registration` is what the toggles say; `lines` is everything the audit wrote."""

    def __init__(self, valkey: str, redis: Redis, prefix: str, clock: SettableClock) -> None:
        self.clock = clock
        self.lines: list[dict[str, Any]] = []
        self.registration: Registration = "skip"
        self.origins = (PORTAL_ORIGIN, DASHBOARD_ORIGIN)
        self.provider = MisbehavingProvider(now=clock.now, issuer=f"http://127.0.0.1:{free_port()}")
        self.port = 0
        self._valkey = schema.Redis(url=SecretStr(valkey))
        self.redis = redis
        self.prefix = prefix

    async def open(
        self, *, sections: Mapping[str, Any] | None = None, provider_is_up: bool = True, http: bool = False
    ) -> None:
        """`sections` override the configuration; `http`: the apps are plain http (as on a loopback name)."""
        if http:
            self.origins = (f"http://{PORTAL}", f"http://{DASHBOARD}")
        self.provider.register(self._client())
        if provider_is_up:
            await self.start_provider()
        extra = dict(sections or {})
        openid = {
            "authority_url": self.provider.issuer,
            "client_id": "doorward",
            "client_secret": SECRET,
            **extra.pop("openid", {}),
        }
        scheme = {"external_url_scheme": "http", "allow_insecure_http": True} if http else {}
        config = made_config(openid=openid, **scheme, **extra)
        self.ring = KeyRing(config.keys)
        self.store = SessionStore(self.redis, self.ring, self.prefix, self.clock.now)
        self.cache = SessionCache(self.store, push_sources(self.redis, self._valkey), time.monotonic)
        self.cache.start()
        self.audit = Audit(lambda line: self.lines.append(json.loads(line)), now=self.clock.now)
        self.providers = Providers(providers_of(config), offered_by_app(config), self.clock.now)
        self.known_provider = self.providers["openid"].provider
        self.sites: Mapping[str, Site] = made_sites(config)
        await self._serve(config)
        await eventually(lambda: self.cache.trusted)
        self.providers.start()
        if provider_is_up:
            await eventually(lambda: self.known_provider.ready)

    async def start_provider(self) -> None:
        await self.provider.start(port=urlsplit(self.provider.issuer).port or 0)

    def _client(self) -> DemoClient:
        return DemoClient(
            client_id="doorward",
            client_secret=SECRET,
            redirect_uris=tuple(f"{one}/oauth2/callback" for one in self.origins),
            post_logout_redirect_uris=tuple(f"{one}/oauth2/signed_out" for one in self.origins),
        )

    async def _serve(self, config: schema.Config) -> None:
        pages = Pages(config.pages, {name: app.pages for name, app in config.apps.items()})
        sign_in = SignInStarter(
            providers=self.providers,
            sites=self.sites,
            ring=self.ring,
            links=LongLinks(self.redis, self.prefix, self.ring, ATTEMPT_LIFETIME, self.clock.monotonic),
            pages=pages,
            audit=self.audit,
            pushed_requests=AddressRate(config.limits.pushed_requests_per_address, self.clock.monotonic),
            now=self.clock.now,
        )
        self.sign_in = sign_in
        provisioner = Provisioner(
            EmptyDirectory(),
            Leases(self.redis, self.prefix, time.monotonic),
            self.audit,
            markers=CreationMarkers(self.redis, self.prefix),
            links=AccountLinks(self.redis, self.prefix, self.ring, "empty"),
            policy=ProvisioningPolicy(timeout=timedelta(seconds=5)),
            now=self.clock.now,
        )
        parts = WebParts(
            config=config,
            providers=self.providers,
            login_tests=LoginTests(self.redis, self.prefix, self.ring),
            sites=self.sites,
            ring=self.ring,
            pages=pages,
            audit=self.audit,
            sign_in=sign_in,
            provisioner=provisioner,
            pending=PendingSignIns(self.redis, self.prefix, self.ring),
            redemptions=Redemptions(self.redis, self.prefix),
            failed_callbacks=AddressRate(config.limits.failed_callbacks_per_address, self.clock.monotonic),
            forms=HeldForms(self.redis, self.ring, self.prefix),
            upstreams=UpstreamSignOut({}, dict[str, Pool]().__getitem__),
            registration=lambda surface: self.registration if surface == "portal" else "skip",
            store=self.store,
            scan=SessionScan(self.redis, self.ring, self.prefix),
            cache=self.cache,
            once=Once(self.redis, self.prefix),
            endings=LogoutMarkers(self.redis, self.ring, self.prefix),
            session_limit=SessionLimit(self.redis, self.ring, self.prefix, self.clock.now),
            signer=AssertionSigner(self.ring.raw),
            now=self.clock.now,
        )
        self._runner = web.AppRunner(build_app(parts), access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        await self._runner.cleanup()
        await self.cache.close()
        await self.providers.close()
        await self.provider.close()

    # --- what tests do ---

    def browser(self) -> Browser:
        return Browser(dict.fromkeys(self.origins, self.port))

    async def sign_in_as(
        self, browser: Browser, subject: str = str(MIA["sub"]), *, rd: str = "/", origin: str = PORTAL_ORIGIN
    ) -> Answer:
        """A whole login; ends on the answer of the callback. The app behind is not there, so nothing further is asked."""
        await self.arrive(browser, subject, rd=rd, origin=origin)
        return await browser.follow()

    async def arrive(
        self, browser: Browser, subject: str = str(MIA["sub"]), *, rd: str = "/", origin: str = PORTAL_ORIGIN
    ) -> str:
        """A login up to the redirect to the callback, which is returned and not yet followed."""
        await browser.open(f"{origin}/oauth2/start?rd={rd}", follow=False)
        return await self.choose(browser, subject)

    async def choose(self, browser: Browser, subject: str = str(MIA["sub"])) -> str:
        """At the provider, until it sends the browser back."""
        await browser.follow()
        while "/oauth2/callback" not in browser.page.location:
            if browser.page.location:
                await browser.follow()
            else:
                await browser.submit(0, follow=False, person=subject)
        return browser.page.location

    def token(self, browser: Browser, host: str = PORTAL) -> str | None:
        cookie = browser.jar.named(COOKIE, host)
        return cookie.value if cookie else None

    async def session(self, token: str, host: str = PORTAL, app: str = "portal") -> Session | None:
        """What Redis has under a token."""
        stored = await self.store.fetch(self.store.key_of(token), host, app)
        return stored.session if stored else None

    async def live(self, token: str, host: str = PORTAL, app: str = "portal") -> LiveSession | None:
        return await self.cache.load(self.store.key_of(token), host, app)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]
