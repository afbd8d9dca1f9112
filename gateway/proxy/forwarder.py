"""Sends the admitted requests of one client connection to their upstreams: through the app's filters, or past the gate by the shortcut.

The session that a request was admitted for stays attached until the next request turns out to be another one's, so a client that repeats itself
attaches once.
"""

from collections.abc import Callable, Sequence
from copy import copy

from msgspec import structs

from gateway.gate.decision import Forward, is_by_break_glass
from gateway.gate.request import Request
from gateway.gate.site import Route
from gateway.http.request_head import ParsedRequest, authenticates_connection
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import ProxyContext
from gateway.proxy.exchange import Exchange
from gateway.proxy.filters import AppFilter, FilterControl, FilteredExchange, ResponseFilter, Taken, UpstreamRequest
from gateway.proxy.head_memo import HeadMemo
from gateway.proxy.tie import TieHolder
from gateway.proxy.tunnel import honoured
from gateway.proxy.upstream import UpstreamConnection
from gateway.sessions.cache import LiveSession


class Forwarder:
    """`exchange` is there while an upstream answers a request; `filter_control` makes what filters may do with the request at hand."""

    __slots__ = (
        "_attached",
        "_context",
        "_filter_control",
        "_memo",
        "_stream",
        "_ties",
        "_tunnelled",
        "exchange",
    )

    def __init__(
        self,
        stream: ClientStream,
        context: ProxyContext,
        memo: HeadMemo,
        filter_control: Callable[[], FilterControl],
    ) -> None:
        self.exchange: Exchange | None = None
        self._stream = stream
        self._context = context
        self._memo = memo
        self._filter_control = filter_control
        self._ties = TieHolder(stream.session_ended, context.cache, context.clock)
        self._attached: LiveSession | None = None
        self._tunnelled = False

    def forward(self, request: Request[ParsedRequest], decision: Forward) -> None:
        """Send an admitted request. Raises a Refusal."""
        context, memo, head, site = self._context, self._memo, request.head, request.site
        request.rule = decision.rule
        request.path = decision.wire.partition(b"?")[0].decode()
        if head.upgrade is not None:
            head.upgrade = honoured(head, site.upgrades, site.websocket_origins)
        filters = context.filters.get(site.route.name)
        if filters is not None and not is_by_break_glass(decision):  # with break-glass: the application as it is
            filtered = self._filtered(request, decision, filters)
            if filtered is None:
                return  # a filter answers, now or later
            exchange: Exchange = filtered
        else:
            # SECURITY: an opaque token is ours or the application's, as a live session comes with it or not: its lines are never kept (D-30).
            if head.repeatable and head.entries is memo.entries and (memo.token is None or memo.token.certain):
                memo.fields = memo.fields or context.heads.fields(request)
                # SECURITY: past an app's filters there is no shortcut, be it open by break-glass for once (C-36).
                memo.route_of_line = site.route_of_line if filters is None else memo.route_of_line
            lines = context.heads.upstream(request, decision, memo.fields)
            exchange = Exchange(self._stream, head, lines, context.pools[site.route.name])
        if head.authorization and authenticates_connection(head):
            exchange.authenticate()
        request.session = decision.session
        self._start_exchange(request, decision.session, exchange)

    def repeat(self, request: Request[ParsedRequest], session: LiveSession, route: Route) -> None:
        """Send a request that takes the shortcut; `session` is its session."""
        memo, context, site = self._memo, self._context, request.site
        heads = context.heads
        request.path, request.rule = route.path, route.ruling.rule
        if not memo.fields:
            memo.fields, memo.route_of_line = heads.fields(request), site.route_of_line
        head = heads.again(memo.fields, site, session, route, request.request_id)
        exchange = Exchange(self._stream, request.head, head, context.pools[site.route.name])
        self._start_exchange(request, session, exchange)

    def _filtered(
        self, request: Request[ParsedRequest], decision: Forward, filters: Sequence[AppFilter]
    ) -> FilteredExchange | None:
        """The exchange of a request that filters have seen. None: one of them answers it. Raises a Refusal."""
        # SECURITY: the lines of a request are those of the next one that repeats them: what is changed is a copy (B-54).
        outgoing = UpstreamRequest(copy(request.head), request.cookies)
        control = self._filter_control()
        responses: list[ResponseFilter] = []
        for each in filters:
            outcome = each.on_request(control, request, decision, outgoing)
            if isinstance(outcome, Taken):
                return None
            if outcome is not None:
                responses.append(outcome)
        changed = structs.replace(request, head=outgoing.head, cookies=outgoing.cookies)
        head = self._context.heads.upstream(changed, decision)
        pool = self._context.pools[request.site.route.name]
        return FilteredExchange(responses, self._stream, request.head, head, pool)

    def _start_exchange(self, request: Request[ParsedRequest], session: LiveSession | None, exchange: Exchange) -> None:
        context, head, ties = self._context, request.head, self._ties
        if session is not None:
            context.cache.touch(session)
        if session is not self._attached:
            self.detach()
            if session is not None:
                self._attached = session
                context.cache.attach(session, self._on_session_end)
        self.exchange = exchange
        if ties.tie is not None and not ties.tie.is_for(
            exchange.pool, request.session_key if session is None else session.key
        ):
            ties.end()
        exchange.start(ties.tie)
        if request.body is not None:
            exchange.body(request.body)
            exchange.body_end()
        elif head.length or head.chunked:
            self._stream.receive(exchange.body, exchange.body_end)

    def keep(self, connection: UpstreamConnection, request: Request[ParsedRequest]) -> None:
        """The exchange of `request` leaves a connection that may serve only the session of that request, here."""
        exchange = self.exchange
        assert exchange is not None
        self._ties.keep(connection, exchange.pool, request)

    def drop_exchange(self, *, tunnelled: bool = False) -> None:
        """The response does not come from the upstream any more; `tunnelled`: a tunnel goes on for its session."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.end()
        self._tunnelled = tunnelled
        if not tunnelled:
            self.detach()

    def idle_seconds(self) -> float:
        """How long a tunnel of the last request's app may be silent."""
        site = self._memo.site
        return site.app.timeouts.idle.total_seconds() if site is not None else 60.0

    def abort(self) -> None:
        """End the exchange or tunnel at hand, and the client's side with it."""
        if self.exchange is not None or self._tunnelled:
            self._stream.session_ended()

    def sweep_idle(self, now: float) -> None:
        """Called now and then while there is no request."""
        self.detach()
        self._ties.sweep(now)

    def leave(self) -> None:
        """The client connection is gone, or aiohttp's."""
        self._ties.end()
        self.detach()

    def detach(self) -> None:
        """The session of the last request has no exchange any more. Until then the next request finds it attached."""
        if self._attached is not None:
            self._context.cache.detach(self._attached, self._on_session_end)
            self._attached = None

    def _on_session_end(self, reason: str) -> None:
        self._attached = None
        self.abort()
