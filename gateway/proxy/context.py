"""The door: what all client connections of one worker share, and what a request asks of it.

It is made by `app`, with everything it needs as constructor arguments; `server` opens and closes it.
"""

import asyncio
import gc
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.config.schema import Config
from gateway.errors import MalformedRequest, Refusal
from gateway.gate.admission import decide
from gateway.gate.decision import Decision, Forward, NeedBody, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import FORWARD_AUTH, AppRoute, Site, Sites, is_own_target
from gateway.http.field_cache import RequestFields
from gateway.http.header_policy import FieldKinds, Kind, is_trusted, valid_request_id
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest, RequestReader, parse_host
from gateway.identity.assertion import AssertionSigner
from gateway.observability.access_log import AccessLog
from gateway.observability.counters import Counters
from gateway.observability.events import Audit
from gateway.proxy.break_glass import BreakGlass, Inside
from gateway.proxy.connection_limit import ConnectionLimiter
from gateway.proxy.forward_auth import (
    answer,
    original_request,
    readings,
    refuse_what_never_travels,
    strictest,
    with_method,
)
from gateway.proxy.local_reply import LocalReply, Plain
from gateway.proxy.pool import Pool
from gateway.proxy.telling import tell_refusal
from gateway.proxy.upstream_head import HeadWriter, Peer, Visitor
from gateway.sessions.cache import LiveSession, SessionCache
from gateway.sessions.shared_headers import SharedLines

if TYPE_CHECKING:
    from gateway.proxy.filters import Care

_HOST_MEMO: Final = 1024
_COLLECT_AFTER: Final = 1000


class Source(NamedTuple):
    """Where a connection comes from: the address, and whether its forwarding fields are believed."""

    peer: str
    trusted: bool


class Connection(Peer, Protocol):
    """A client connection, as the door knows it."""

    transport: asyncio.Transport
    request: ParsedRequest | None

    def sweep(self, now: float) -> None: ...


class Visited(Visitor, Protocol):
    """A request at hand, as logs and events tell of it."""

    site: Site | None
    method: str
    path: str
    rule: str
    started: float

    @property
    def live(self) -> LiveSession | None: ...

    @property
    def session_handle(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyParts:
    """What the door is made of."""

    config: Config
    sites: Sites
    cache: SessionCache
    key_of: Callable[[str], str]
    signer: AssertionSigner
    shared: SharedLines | None
    audit: Audit
    access_log: AccessLog | None
    glass: BreakGlass
    render: Callable[[Refusal, ParsedRequest | None, str, Site | None], LocalReply]
    begin_sign_in: Callable[[AppRoute, ParsedRequest, RedirectToSignIn, str], LocalReply]
    web_handler: Callable[[], asyncio.Protocol]
    now: Callable[[], datetime]
    extra_names: frozenset[bytes] = frozenset()  # of fields that apps set, normalised
    client_names: frozenset[bytes] = frozenset()  # of fields that some app lets clients send, in lower case


class ProxyContext:
    """One worker's data plane."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts
        self.cache = parts.cache
        self.key_of = parts.key_of
        self.limits = parts.config.limits
        self.head_timeout = self.limits.head_timeout.total_seconds()
        self.idle_timeout = self.limits.idle_timeout.total_seconds()
        self.web_handler = parts.web_handler
        self.clock = time.monotonic
        self.now = parts.now
        kinds = FieldKinds(parts.extra_names, parts.client_names)
        self.read_request = RequestReader(RequestFields(kinds), self.limits.headers).read
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self.crowd = ConnectionLimiter(self.limits, self.clock)
        self.draining = False
        self._departed = 0  # connections that are gone since the collector came
        self.forward_auth_path = FORWARD_AUTH
        self.pools: Mapping[str, Pool] = {name: Pool(name, app) for name, app in parts.config.apps.items()}
        self.heads = HeadWriter(
            parts.config, parts.signer, self.clock, parts.now, parts.glass.saw_forwarding, parts.shared
        )
        self.glass = parts.glass
        self.own_head = self.heads.own
        self.cares: dict[str, Care] = {}  # of the apps that need one
        self._hosts: dict[bytes, Site] = {}
        self._default_port = "443" if parts.config.external_url_scheme == "https" else "80"
        self._run = secrets.token_hex(8)
        self._count = itertools.count(1)

    def sweep(self) -> None:
        """Called now and then: what has waited too long ends, what was logged is written."""
        now = self.clock()
        for connection in list(self.connections):
            connection.sweep(now)
        for pool in self.pools.values():
            pool.sweep()
        self.glass.sweep()
        self.flush()
        # A connection and its visit refer to each other. Little else that the collector counts is made, so it would seldom come by itself.
        # It looks at all that are there: the more there are, the more may be gone before it comes.
        if self._departed >= max(_COLLECT_AFTER, len(self.connections)):
            self._departed = 0
            gc.collect()

    def flush(self) -> None:
        if self._parts.access_log is not None:
            self._parts.access_log.flush()

    # --- what a request asks ---

    def source(self, name: object) -> Source:
        """Of a connection whose other end is called `name`. A unix socket counts as 127.0.0.1."""
        if name is None:
            # SECURITY: reset before it was accepted: nobody knows who it was, so it is nobody we trust (C-34).
            return Source("0.0.0.0", False)  # noqa: S104 - no address to listen on
        peer = name[0] if isinstance(name, tuple) else "127.0.0.1"
        return Source(peer, is_trusted(peer, self._parts.config.trusted_proxies))

    def enter(self, connection: Connection, source: Source | None) -> int:
        """Let a client in, who may be known and counted already: 0, or the status for one too many."""
        if source is None:
            source = self.source(connection.transport.get_extra_info("peername"))
            status = self.crowd.enter(source.peer, trusted=source.trusted)
            if status:
                self.counters.finished("-", status, 0.0)
                return status
        connection.peer, connection.trusted = source
        self.connections.add(connection)
        return 0

    def replace(self, connection: Connection, by: Connection) -> None:
        """Others answer on this connection from now on."""
        self.connections.discard(connection)
        self.connections.add(by)

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._departed += 1
            self.crowd.leave(connection.peer, trusted=connection.trusted)

    def request_id(self, request: ParsedRequest) -> str | None:
        """What the client calls the request; None where it says nothing that may travel."""
        for entry in request.special:
            if entry.kind is Kind.REQUEST_ID and valid_request_id(entry.value):
                return entry.value.decode()
        return None

    def new_request_id(self) -> str:
        return f"{self._run}-{next(self._count):x}"

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

    def admit(self, request: Request[RequestHead], visit: Inside | None = None) -> Decision:
        """`visit`: whose request it is, where break-glass may let it in."""
        if request.site.glass is None or visit is None or not isinstance(request.head, ParsedRequest):
            return decide(request)
        return self.glass.admit(request, request.head, visit.connection, visit)

    def begin_sign_in(
        self, site: Site, request: ParsedRequest, decision: RedirectToSignIn, request_id: str
    ) -> LocalReply:
        """Raises ProviderUnavailable."""
        return self._parts.begin_sign_in(site.route, request, decision, request_id)

    async def forward_auth(self, visit: Visited, request: ParsedRequest) -> LocalReply:
        """Raises a Refusal."""
        asked = original_request(request, trusted=visit.connection.trusted)
        site = self.site(asked.host)
        asked = with_method(asked, site)
        refuse_what_never_travels(asked, site)
        split = site.cookie.split(request.cookies)
        key = self.key_of(split.token) if split.token is not None else None
        live = self.cache.peek(key, site.route.host) if key is not None else None
        if key is not None and live is None:
            live = await self.cache.load(key, site.route.host, site.route.name)
        now = self.now()

        def judge(reading: RequestHead) -> Decision:
            question = Request(site, reading, key, live, now, session_looked_up=True, body_hidden=True)
            return (
                decide(question) if site.glass is None else self.glass.admit(question, request, visit.connection, None)
            )

        decision = strictest([judge(reading) for reading in readings(asked)], asked)
        refused = decision.unread if isinstance(decision, NeedBody) else decision
        if isinstance(refused, Refuse):
            # `site` and `live` of the request that was judged: this one asks about another than it is.
            tell_refusal(self._parts.audit, visit.request_id, refused, site, live)
        identity = b""
        if isinstance(decision, Forward) and decision.live is not None:
            self.cache.touch(decision.live)
            identity = self.heads.identity(site, decision.live)
        return answer(site, decision, identity)

    # --- what is told ---

    def render(self, refusal: Refusal, request: ParsedRequest | None, visit: Visited) -> LocalReply:
        site = visit.site
        page = self._parts.render(refusal, request, visit.request_id or f"{self._run}-{next(self._count):x}", site)
        if site is None or site.cors is None or request is None or is_own_target(request.target):
            return page
        return Plain(page.status, (*page.headers, *site.cors.readable(request)), page.body)

    def told_refusal(self, visit: Visited, refusal: Refusal) -> None:
        """The events of docs/interface.md for what the gate refused."""
        tell_refusal(self._parts.audit, visit.request_id, Refuse(refusal, visit.rule), visit.site, visit.live)

    def told(self, visit: Visited, status: int, size: int) -> None:
        """A request is over: count it, and write its line."""
        seconds = self.clock() - visit.started
        site = visit.site
        app = site.route.name if site is not None else "-"
        self.counters.finished(app, status, seconds)
        log = self._parts.access_log
        if log is not None:
            log.request(
                app,
                visit.method,
                visit.path,
                status,
                size,
                seconds,
                visit.connection.peer,
                visit.session_handle,
                visit.request_id,
                visit.rule,
            )
