"""Request heads, written anew: for an upstream, and for the pages of our own.

The client's own identity and forwarding fields are gone by now (`http.header_policy`); ours are added last, so nothing that a client names in
Connection removes them (B-48). The forwarded target is the canonical one that the gate judged.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from gateway.config.schema import Config, Network
from gateway.errors.dependencies import LoopDetected
from gateway.errors.requests import BadRequest
from gateway.gate.decision import Forward, Own
from gateway.gate.request import Request
from gateway.gate.site import Route, Site
from gateway.http.header_policy import Kind, client_address, forwarding_block, trusted_forwarding_block
from gateway.http.message import RequestHead
from gateway.http.request_head import ParsedRequest
from gateway.identity.assertion import AssertionSigner
from gateway.proxy.identity_fields import IdentityLines
from gateway.sessions.cache import LiveSession
from gateway.sessions.shared_headers import SharedHeaders

_log = logging.getLogger("doorward.proxy")
_READ_BY_PAGES: Final = frozenset(
    (
        b"accept",
        b"accept-language",
        b"content-type",
        b"origin",
        b"purpose",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-purpose",
        b"x-moz",
        b"x-purpose",
        b"x-requested-with",
    )
)
#: Where a person goes after signing in or out, as oauth2-proxy has it: from a trusted proxy, beside `rd`.
REDIRECT_FIELD: Final = b"x-auth-request-redirect"
_TRAVELS: Final = (Kind.AUTHORIZATION, Kind.CONTENT_ENCODING, Kind.VIA)


class HeadWriter:
    """Writes request heads. `clock` is monotonic seconds, `now` aware wall time.

    `on_forwarding(peer)` is called for untrusted peers that send forwarding fields; `shared` holds the signed lines that workers share.
    """

    def __init__(
        self,
        config: Config,
        signer: AssertionSigner,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        on_forwarding: Callable[[str], None] = lambda peer: None,
        shared: SharedHeaders | None = None,
    ) -> None:
        self._scheme = config.external_url_scheme
        self._networks: Sequence[Network] = config.trusted_proxies
        self._lines = IdentityLines(signer, clock, now, shared)
        self._proof = self._lines.proof
        self._clock = clock
        self._on_forwarding = on_forwarding
        self._kid = signer.kids[0]
        self._via: dict[Site, bytes] = {}
        self._blocks: dict[tuple[str, str], bytes] = {}

    def again(self, fields: bytes, site: Site, session: LiveSession, route: Route, request_id: str) -> bytes:
        """The head that `upstream` writes for a repeatable request without a query, from parts that were written before."""
        if session.assertion_until <= self._clock():
            self._lines.renew(session, site)
        parts = (
            route.start, fields, self._proof, session.assertion, b"X-Request-Id: ", request_id.encode(), b"\r\n\r\n"
        )  # fmt: skip
        return b"".join(parts)

    def upstream(self, request: Request[ParsedRequest], decision: Forward, fields: bytes | None = None) -> bytes:
        """The head that the upstream gets; `fields` where they were written before."""
        site, head = request.site, request.head
        start = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (head.method.encode(), decision.wire, site.host_bytes)
        identity = self.identity(site, decision.session) if decision.session is not None else b""
        parts = []
        if head.chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif head.sized:
            parts.append(b"Content-Length: %d\r\n" % head.length)
        if head.expects_continue:
            parts.append(b"Expect: 100-continue\r\n")
        if head.upgrade is not None:
            parts.append(b"Upgrade: %b\r\nConnection: Upgrade\r\n" % head.upgrade)
        if decision.destination is not None:
            parts.append(b"Destination: %b\r\n" % decision.destination)
        framing = b"".join(parts)
        lines = fields or self.fields(request)
        return b"%b%b%b%bX-Request-Id: %b\r\n\r\n" % (start, lines, identity, framing, request.request_id.encode())

    def fields(self, request: Request[ParsedRequest]) -> bytes:
        """The lines, each with its end, that depend on nothing but the request's fields, the connection and the site.

        Raises LoopDetected.
        """
        via = self._via.get(request.site) or self._name(request.site)
        parts = list(request.head.lines)
        token = request.token
        # SECURITY: a token that is meant for us, good or not, is no secret of the application's (D-30).
        ours = token is not None and (token.certain or request.program is not None)
        for entry in request.head.special:
            kind = entry.kind
            # SECURITY: an upstream that is this gateway would get the request from itself, again and again (B-68).
            if kind is Kind.VIA and via in entry.value:
                raise LoopDetected(f"apps.{request.site.route.name}.upstream leads back to this gateway")
            if ours and kind is Kind.AUTHORIZATION and entry.name.lower() == b"authorization":
                continue
            if (
                kind in _TRAVELS
                or (kind is Kind.OVERRIDE and request.site.overrides_pass)
                or (kind is Kind.WEBSOCKET and request.head.upgrade is not None)
                or (kind is Kind.VOUCHED and request.trusted)
                or (kind is Kind.REFERENCE and entry.name.lower() != b"destination")
                or (kind is Kind.CLIENTS and entry.name.lower() in request.site.client_headers)
            ):
                parts.append(entry.line)
        if request.cookies:
            parts.append(b"Cookie: " + b"; ".join(request.cookies))
        parts += (self.forwarding(request), b"Via: %b %b" % (request.head.version.encode(), via), b"")
        return b"\r\n".join(parts)

    def _name(self, site: Site) -> bytes:
        """The name of this gateway in Via, for one site: a request may go from one site to another, but never come back."""
        text = f"{self._kid} {site.route.host}"
        name = self._via[site] = b"doorward-" + hashlib.sha256(text.encode()).hexdigest()[:16].encode()
        return name

    def own(self, request: Request[ParsedRequest], own: Own, length: int) -> bytes:
        """The head that our own pages get: aiohttp reads it, and closes the connection after its response. Raises BadRequest."""
        head = request.head
        parts = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method.encode(), own.wire, request.site.host_bytes)]
        # SECURITY: what aiohttp would refuse (a field twice), or act on by itself, never gets there: its own response names its version (B-46).
        if len(head.values(b"content-type")) > 1:
            raise BadRequest("two Content-Types")
        parts += [line for line in head.lines if line.partition(b":")[0].lower() in _READ_BY_PAGES]
        if request.trusted:
            parts += [entry.line for entry in head.special if entry.name.lower() == REDIRECT_FIELD]
        parts += [b"Cookie: %b" % value for value in head.cookies]
        agent = head.first(b"user-agent")
        parts += [b"User-Agent: %b" % agent] if agent is not None else []
        parts.append(self.forwarding(request))
        parts.append(
            b"X-Request-Id: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (request.request_id.encode(), length)
        )
        return b"\r\n".join(parts)

    def identity(self, site: Site, session: LiveSession) -> bytes:
        """The identity lines of a session for this app, its signed assertion included; kept with the session."""
        if session.assertion_until <= self._clock():
            self._lines.renew(session, site)
        return self._proof + session.assertion

    def client_address(self, request: Request[RequestHead]) -> str:
        """The client's address: the peer, or what trusted proxies say of it (C-34)."""
        if not request.trusted:
            return request.peer
        carrier = request.carrier or request.head
        chain = [value for name, value in carrier.fields if name.lower() == b"x-forwarded-for"]
        return client_address(request.peer, chain, self._networks)

    def forwarding(self, request: Request[ParsedRequest]) -> bytes:
        """The X-Forwarded-* and X-Real-IP lines of a request, without the last line's end."""
        peer, site, special = request.peer, request.site, request.head.special
        if request.trusted:
            sent = [(entry.name, entry.value) for entry in special if entry.kind is Kind.FORWARDED]
            return trusted_forwarding_block(peer, sent, self._scheme, site.host_bytes, site.port, self._networks)
        key = (peer, site.route.host)
        block = self._blocks.get(key)
        if block is None:
            if len(self._blocks) > 4096:
                self._blocks.clear()
            if any(entry.kind is Kind.FORWARDED for entry in special):
                _log.warning("%s sends X-Forwarded-* and is not in trusted_proxies: they are ignored", peer)
                self._on_forwarding(peer)
            block = self._blocks[key] = forwarding_block(peer, self._scheme, site.host_bytes, site.port)
        return block
