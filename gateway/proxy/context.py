"""What all client connections of one worker share.

It is made by `runtime.composition`, with everything it needs as constructor arguments; `server` opens and closes it.
"""

import asyncio
import gc
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.bearer.tokens import BearerTokens
from gateway.config.schema import Config
from gateway.errors.access import OwnLoginClosed
from gateway.errors.refusal import Refusal
from gateway.errors.requests import MalformedRequest
from gateway.gate import admission
from gateway.gate.access import referring_page
from gateway.gate.decision import Decision, RedirectToSignIn
from gateway.gate.request import Request
from gateway.gate.site import Site, Sites, is_own_target
from gateway.http.field_cache import RequestFields
from gateway.http.header_policy import FieldKinds, Kind, is_trusted, valid_request_id
from gateway.http.message import RequestHead, is_navigation, is_visit
from gateway.http.request_head import ParsedRequest, RequestReader, parse_host
from gateway.identity.assertion import AssertionSigner
from gateway.languages.negotiation import PreferredLanguages
from gateway.observability.access_log import AccessLog
from gateway.observability.background import report_error
from gateway.observability.counters import Counters
from gateway.observability.events import Audit
from gateway.pages.links import PageContext
from gateway.pages.renderer import Pages
from gateway.proxy.connection_limit import ConnectionLimiter
from gateway.proxy.filters import AppFilter, OnRefusal
from gateway.proxy.local_reply import LocalReply, Plain
from gateway.proxy.pool import Pool
from gateway.proxy.upstream_head import HeadWriter
from gateway.sessions.cache import SessionCache
from gateway.sessions.shared_headers import SharedHeaders
from gateway.sign_in.begin import Begun, SignInRequest, SignInStarter

_log = logging.getLogger("doorward.app")
_HOST_MEMO: Final = 1024
_COLLECT_AFTER: Final = 1000
_SERVER_ERRORS: Final = (500, 502, 503, 504, 508)


class Source(NamedTuple):
    """Where a connection comes from: the address, and whether its forwarding fields are believed."""

    peer: str
    trusted: bool


class Connection(Protocol):
    """A client connection of the worker."""

    peer: str
    trusted: bool
    transport: asyncio.Transport

    @property
    def request(self) -> ParsedRequest | None:
        """The head that is being answered."""

    def sweep(self, now: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyParts:
    """What the data plane is made of. `on_forwarding(peer)` is called for untrusted peers that send forwarding fields."""

    config: Config
    sites: Sites
    cache: SessionCache
    tokens: BearerTokens
    key_of: Callable[[str], str]
    signer: AssertionSigner
    shared: SharedHeaders | None
    audit: Audit
    access_log: AccessLog | None
    pages: Pages
    sign_in: SignInStarter
    web_handler: Callable[[], asyncio.Protocol]
    now: Callable[[], datetime]
    on_forwarding: Callable[[str], None] = lambda peer: None
    extra_names: frozenset[bytes] = frozenset()  # of fields that apps set, normalised
    vouched_names: frozenset[bytes] = frozenset()  # of fields that trusted proxies may send, in lower case
    client_names: frozenset[bytes] = frozenset()  # of fields that some app lets clients send, in lower case


class ProxyContext:
    """One worker's data plane.

    `admit` decides about a request: the gate, or what stands before it (break-glass). `filters` are those of the apps that have any,
    `on_refusal` comes after them, for all apps. `on_sweep` are called periodically.
    """

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts
        self.cache = parts.cache
        self.tokens = parts.tokens
        self.key_of = parts.key_of
        self.audit = parts.audit
        self.access_log = parts.access_log
        self.limits = parts.config.limits
        self.head_timeout = self.limits.head_timeout.total_seconds()
        self.idle_timeout = self.limits.idle_timeout.total_seconds()
        self.web_handler = parts.web_handler
        self.clock = time.monotonic
        self.now = parts.now
        kinds = FieldKinds(parts.extra_names, parts.client_names, parts.vouched_names)
        self.read_request = RequestReader(RequestFields(kinds), self.limits.headers).read
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self.connection_limit = ConnectionLimiter(self.limits, self.clock)
        self.draining = False
        self._closed = 0  # connections that were closed since the last garbage collection
        self.pools: Mapping[str, Pool] = {name: Pool(name, app) for name, app in parts.config.apps.items()}
        self.heads = HeadWriter(parts.config, parts.signer, self.clock, parts.now, parts.on_forwarding, parts.shared)
        self.admit: Callable[[Request[RequestHead]], Decision] = admission.decide
        self.filters: dict[str, Sequence[AppFilter]] = {}
        self.on_refusal: OnRefusal | None = None
        self.on_sweep: list[Callable[[], None]] = []
        self._hosts: dict[bytes, Site] = {}
        self._default_port = "443" if parts.config.external_url_scheme == "https" else "80"
        self._run = secrets.token_hex(8)
        self._count = itertools.count(1)

    def sweep(self) -> None:
        """Called now and then: ends what has waited too long, writes what was logged."""
        now = self.clock()
        for connection in list(self.connections):
            _guard(connection.sweep, now)
        for pool in self.pools.values():
            _guard(pool.sweep)
        for sweep in self.on_sweep:
            _guard(sweep)
        self.flush()
        # A connection and its handler refer to each other, and little else that the collector counts is made, so it would seldom run by itself.
        # It looks at all objects: the more connections are open, the more may be closed before it runs.
        if self._closed >= max(_COLLECT_AFTER, len(self.connections)):
            self._closed = 0
            gc.collect()

    def flush(self) -> None:
        if self.access_log is not None:
            self.access_log.flush()

    # --- what a request needs ---

    def source(self, name: object) -> Source:
        """Of a connection with the peer name `name`, as the socket module has it. A unix socket counts as 127.0.0.1."""
        if name is None:
            # SECURITY: reset before it was accepted: its address is unknown, so it is not trusted (C-34).
            return Source("0.0.0.0", False)  # noqa: S104 - no address to listen on
        peer = name[0] if isinstance(name, tuple) else "127.0.0.1"
        return Source(peer, is_trusted(peer, self._parts.config.trusted_proxies))

    def enter(self, connection: Connection, source: Source | None) -> int:
        """Count a client in; with a `source` it is counted already. 0, or the status to answer one too many with."""
        if source is None:
            source = self.source(connection.transport.get_extra_info("peername"))
            status = self.connection_limit.enter(source.peer, trusted=source.trusted)
            if status:
                self.counters.finished("-", status, 0.0)
                return status
        connection.peer, connection.trusted = source
        self.connections.add(connection)
        return 0

    def replace(self, connection: Connection, by: Connection) -> None:
        """`by` answers on this connection from now on."""
        self.connections.discard(connection)
        self.connections.add(by)

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._closed += 1
            self.connection_limit.leave(connection.peer, trusted=connection.trusted)

    def request_id(self, request: ParsedRequest) -> str | None:
        """The client's own X-Request-Id; None where it sends none that may travel."""
        for entry in request.special:
            if entry.kind is Kind.REQUEST_ID and valid_request_id(entry.value):
                return entry.value.decode()
        return None

    def new_request_id(self) -> str:
        return f"{self._run}-{next(self._count)}"

    def site(self, host: bytes) -> Site:
        """Raises MalformedRequest or UnknownHost."""
        site = self._hosts.get(host)
        if site is None:
            name, port = parse_host(host)
            site = self._parts.sites.of(name if port in ("", self._default_port) else f"{name}:{port}")
            if len(self._hosts) < _HOST_MEMO:
                self._hosts[host] = site
        return site

    def origin_form(self, request: ParsedRequest, site: Site) -> bool:
        """Make an absolute-form target origin-form, if it names the site that Host names (B-31). Raises MalformedRequest.

        False: the request is about this server as a whole and has no path (`OPTIONS *`, RFC 9110 section 9.3.7).
        """
        target = request.target
        if target[:1] == b"/":
            return True
        if target == b"*" and request.method == "OPTIONS":
            return False
        try:
            url = urlsplit(target.decode("latin-1"))
        except ValueError as error:
            raise MalformedRequest("request target") from error
        if url.scheme.lower() not in ("http", "https") or not url.netloc or "@" in url.netloc:
            raise MalformedRequest("request target")
        if self.site(url.netloc.encode("latin-1")) is not site or b"#" in target:
            raise MalformedRequest("target and Host name different sites")
        start = target.index(b"//") + 2 + len(url.netloc)
        rest = target[start:]
        request.target = rest if rest.startswith(b"/") else b"/" + rest
        return True

    # --- local replies ---

    def begin_sign_in(self, request: Request[ParsedRequest], decision: RedirectToSignIn) -> Begun:
        """The redirect, or what gives it once it is awaited. Raises ProviderUnavailable, TooManySignIns."""
        route, head = request.site.route, request.head
        return self._parts.sign_in.begin(
            route,
            SignInRequest(
                return_to=decision.return_to,
                method=head.method,
                step_up=decision.step_up,
                provider=decision.provider,
                languages=PreferredLanguages(head.values(b"accept-language")),
                navigation=is_visit(head),
            ),
            cookies=head.cookies,
            request_id=request.request_id,
            client=self.heads.client_address(request),
        )

    def render(self, refusal: Refusal, head: ParsedRequest | None, request_id: str, site: Site | None) -> LocalReply:
        """A page for a person, a problem document for a program."""
        request_id = request_id or self.new_request_id()
        if refusal.detail:
            # A client's mistake is no warning; an application that does not know the person is one of the set-up.
            warns = refusal.status in _SERVER_ERRORS or isinstance(refusal, OwnLoginClosed)
            level = logging.WARNING if warns else logging.INFO
            _log.log(level, "%s: %.400s (request %s)", refusal.code, refusal.detail, request_id)
        html = head is not None and is_navigation(head)
        page = self._parts.pages.render(refusal, _page_context(head, request_id, site), html=html)
        if site is None or site.cors is None or head is None or is_own_target(head.target):
            return page
        return Plain(page.status, (*page.headers, *site.cors.readable(head)), page.body)


def _page_context(head: ParsedRequest | None, request_id: str, site: Site | None) -> PageContext:
    """What a page that answers this request refers to: the page that was asked for, or the one that sent the form."""
    if head is None:
        return PageContext(request_id=request_id, site=site)
    bare = PageContext(request_id=request_id, site=site, languages=PreferredLanguages(head.values(b"accept-language")))
    if site is None:
        return bare
    repeatable = head.method in ("GET", "HEAD")
    there = head.target.decode("latin-1") if repeatable else referring_page(site, head)
    if there is None or is_own_target(there.encode("latin-1")):
        return bare
    return replace(bare, return_to=there, retry_url=there if repeatable else "")


def _guard(sweep: Callable[..., None], *values: float) -> None:
    """One that raises must not keep the others from being swept."""
    try:
        sweep(*values)
    except Exception as error:
        report_error("sweep", error)
