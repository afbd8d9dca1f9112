"""One request's way through the gate, and what its decision sets in motion.

Where the gate has what it needs, everything from the head to the upstream happens in one call stack: no Task, no Future. What must wait goes
on when it is there, and the gate is asked again: a session that is not in the cache and a body that a password rule reads in the callback
that brings them, forward-auth and hand-offs in a Task.
One `RequestHandler` serves one connection, request after request.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Final

from gateway.errors.refusal import Refusal
from gateway.errors.requests import BadRequest, MalformedRequest, PayloadTooLarge
from gateway.gate import shortcut
from gateway.gate.decision import (
    AnswerPreflight,
    Decision,
    Forward,
    NeedBody,
    NeedSession,
    Own,
    RedirectToSignIn,
    Refuse,
    is_by_break_glass,
)
from gateway.gate.request import NO_TIME, Request
from gateway.gate.site import Route, Site
from gateway.http.request_head import ParsedRequest, authenticates_connection, came_by_proxy
from gateway.observability.access_log import AccessRecord, path_as_logged
from gateway.proxy import forward_auth
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import ProxyContext
from gateway.proxy.exchange import Exchange
from gateway.proxy.filters import AppFilter, FilterControl, FilteredExchange, ResponseFilter, Taken, UpstreamRequest
from gateway.proxy.head_memo import HeadMemo
from gateway.proxy.local_reply import ABOUT_THE_SERVER, Plain
from gateway.proxy.refusal_events import emit_refusal
from gateway.proxy.request_body import buffer
from gateway.proxy.tie import Tie
from gateway.proxy.tunnel import honoured
from gateway.proxy.upstream import Serves, UpstreamConnection
from gateway.sessions.cache import LiveSession

_log = logging.getLogger("doorward.proxy")
_NO_FILTERS: Final[Sequence[AppFilter]] = ()


class RequestHandler:
    """`request` is the one at hand, once its site is known; `exchange` is there while an upstream answers it.

    `hand_over(data)` gives the connection to the pages of our own, with the one request that they answer.
    """

    __slots__ = (
        "_attached", "_control", "_hand_over", "_task", "_turn", "clean", "context", "exchange", "memo", "method", "request", "request_id",
        "started", "stream", "tie", "tunnelled",
    )  # fmt: skip

    def __init__(self, stream: ClientStream, context: ProxyContext, hand_over: Callable[[bytes], None]) -> None:
        self.stream = stream
        self.context = context
        self.exchange: Exchange | None = None
        self.request: Request[ParsedRequest] | None = None
        self.request_id = ""
        self.method = "-"
        self.started = 0.0
        self.clean = True  # the request was parsed: the connection may be closed without lingering
        self.tunnelled = False
        self.memo = HeadMemo(context.limits.head)
        self._hand_over = hand_over
        self._attached: LiveSession | None = None
        self.tie: Tie | None = None
        self._control: FilterControl | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = 0  # which request this is: a result for an earlier one is dropped

    # --- the request's life ---

    def arrived(self, now: float) -> None:
        """A head is there, not parsed yet."""
        self.started = now
        self._turn += 1
        self.request = None
        self.method, self.request_id = "-", ""
        self.clean = False

    def begin(self, head: ParsedRequest, route: Route | None = None) -> None:
        """Judge the request and act on it; `route` where its line and its fields came before. Raises a Refusal."""
        context, memo, stream = self.context, self.memo, self.stream
        self.clean = True
        self.method = head.method
        context.counters.in_flight += 1
        try:
            if head.entries is not memo.entries:
                memo.read(context, head)
        finally:
            self.request_id = memo.request_id or context.new_request_id()
        site, key = memo.site, memo.key
        assert site is not None
        request = self.request = Request(
            site,
            head,
            key,
            None,
            NO_TIME,
            self.request_id,
            stream.peer,
            stream.trusted,
            memo.other_cookies,
            self.started,
        )
        if head.target[:1] != b"/" and not context.origin_form(head, site):
            request.path = "*"
            stream.respond(ABOUT_THE_SERVER)
            return
        if key is not None:
            session = request.session = context.cache.peek(key, site.route.host)
            if route is None:
                route = self._known_route(site, head)
            if route is not None:
                if session is None:
                    if shortcut.needs_session(route, head):
                        self._load_session(request, key, route)
                        return
                elif shortcut.passes(route, head, session):
                    self._pass(request, session, route)
                    return
        self._decide(request)

    def _known_route(self, site: Site, head: ParsedRequest) -> Route | None:
        """The route of a request that needs nothing else of the gate, in an app without filters, where its line was judged before."""
        if head.repeatable and site.route.name not in self.context.filters:
            return site.route_of_line(head.line)
        return None

    def finished(self, status: int, size: int) -> None:
        """The request is over."""
        self.exchange = None
        self.context.counters.in_flight -= 1
        self.log_finished(status, size)

    def unparsed(self, status: int) -> None:
        """A response was given to something that was no request."""
        self.request = None
        self.memo.site = None
        self.memo.forget()
        self.log_finished(status, 0)

    def lost(self) -> None:
        """The client is gone."""
        exchange = self.exchange
        if exchange is not None:
            exchange.end()
        self._turn += 1
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self.leave()
        self.finished(499, exchange.size if exchange is not None else 0)

    def drop_exchange(self, *, keep_attached: bool = False) -> None:
        """The response does not come from the upstream any more."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.end()
        self.tunnelled = keep_attached
        if not keep_attached:
            self.detach()

    def idle_seconds(self) -> float:
        site = self.memo.site
        return site.app.timeouts.idle.total_seconds() if site is not None else 60.0

    @property
    def site(self) -> Site | None:
        """The site of the request at hand, or of the last one."""
        return self.memo.site

    def log_finished(self, status: int, size: int) -> None:
        """Count the request, and write its access line."""
        context, request, site = self.context, self.request, self.memo.site
        seconds = context.clock() - self.started
        app = site.route.name if site is not None else "-"
        context.counters.finished(app, status, seconds)
        log = context.access_log
        if log is None:
            return
        session = request.session if request is not None else None
        log.write(
            AccessRecord(
                app=app,
                method=self.method,
                path=request.path if request is not None else "-",
                status=status,
                size=size,
                seconds=seconds,
                client=self.stream.peer,
                session=session.session.sid if session is not None else "",
                request_id=self.request_id,
                rule=request.rule if request is not None else "",
            )
        )

    def emit_refusal(self, request: Request[ParsedRequest], refusal: Refusal) -> None:
        """The event of docs/interface.md for a refusal that has one."""
        emit_refusal(self.context.audit, request, Refuse(refusal, request.rule))

    # --- decisions ---

    def decide_again(self) -> None:
        """Ask the gate about the request at hand, and do what it says."""
        self._decide(self._at_hand())

    def _at_hand(self) -> Request[ParsedRequest]:
        request = self.request
        assert request is not None
        return request

    def _decide(self, request: Request[ParsedRequest]) -> None:
        request.now = self.context.now()
        if request.site.active_opening is not None:
            request.abort = partial(self._end_request, self._turn)
        self._act(request, self.context.admit(request))

    def _act(self, request: Request[ParsedRequest], decision: Decision) -> None:
        if type(decision) is Forward:
            self._forward(request, decision)
        elif type(decision) is NeedSession:
            self._load_session(request, decision.key, None)
        elif type(decision) is Refuse:
            self._refuse(request, decision)
        elif type(decision) is RedirectToSignIn:
            request.rule, request.path = decision.rule, path_as_logged(request.head.target)
            self.stream.respond(self.context.begin_sign_in(request, decision))
        elif type(decision) is AnswerPreflight:
            request.rule, request.path = decision.rule, path_as_logged(request.head.target)
            self.stream.respond(Plain(204, decision.fields))
        elif type(decision) is NeedBody:
            self._with_body(request, self._judge_body, decision.unread.refusal)
        elif type(decision) is Own:
            request.path = decision.path
            self._serve_own(request, decision)

    def _refuse(self, request: Request[ParsedRequest], refused: Refuse) -> None:
        request.rule, request.path = refused.rule, path_as_logged(request.head.target)
        for each in self.context.filters.get(request.site.route.name, _NO_FILTERS):
            if each.on_refusal(self._filter_control(), request, refused):
                return
        self.emit_refusal(request, refused.refusal)
        self.stream.refuse(refused.refusal)

    # --- to the upstream ---

    def _forward(self, request: Request[ParsedRequest], decision: Forward) -> None:
        context, memo, head, site = self.context, self.memo, request.head, request.site
        request.rule = decision.rule
        request.path = decision.wire.partition(b"?")[0].decode()
        if head.upgrade is not None:
            head.upgrade = honoured(head, site.upgrades, site.websocket_origins)
        filters = context.filters.get(site.route.name)
        if filters is not None and not is_by_break_glass(decision):  # with break-glass: the application as it is
            filtered = self._filtered(request, decision, filters)
            if filtered is None:
                return  # it is answered in another way, now or later
            exchange: Exchange = filtered
        else:
            if head.repeatable and head.entries is memo.entries:
                memo.fields = memo.fields or context.heads.fields(request)
                # SECURITY: past an app's filters there is no shortcut, be it open by break-glass for once (C-36).
                memo.route_of_line = site.route_of_line if filters is None else memo.route_of_line
            exchange = self._exchange(request, context.heads.upstream(request, decision, memo.fields))
        if head.authorization and authenticates_connection(head):
            exchange.authenticate()
        self._send(request, decision.session, exchange)

    def _pass(self, request: Request[ParsedRequest], session: LiveSession, route: Route) -> None:
        """Forward a request that takes the shortcut."""
        memo, heads, site = self.memo, self.context.heads, request.site
        request.path, request.rule = route.path, route.ruling.rule
        if not memo.fields:
            memo.fields, memo.route_of_line = heads.fields(request), site.route_of_line
        head = heads.again(memo.fields, site, session, route, request.request_id)
        self._send(request, session, self._exchange(request, head))

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
        changed = replace(request, head=outgoing.head, cookies=outgoing.cookies)
        head = self.context.heads.upstream(changed, decision)
        site = request.site
        pool, timeouts = self.context.pools[site.route.name], site.app.timeouts
        return FilteredExchange(responses, self.stream, request.head, head, pool, timeouts, self.context.clock)

    def _filter_control(self) -> FilterControl:
        control = self._control
        if control is None:
            control = self._control = FilterControl(
                respond=self.stream.respond,
                run_later=self.run_later,
                decide=self.decide_again,
                act=lambda decision: self._act(self._at_hand(), decision),
                drop_exchange=self.drop_exchange,
            )
        return control

    def _exchange(self, request: Request[ParsedRequest], head: bytes) -> Exchange:
        site, context = request.site, self.context
        pool = context.pools[site.route.name]
        return Exchange(self.stream, request.head, head, pool, site.app.timeouts, context.clock)

    def _send(self, request: Request[ParsedRequest], session: LiveSession | None, exchange: Exchange) -> None:
        context, head = self.context, request.head
        request.session = session
        if session is not None:
            context.cache.touch(session)
        if session is not self._attached:
            self.detach()
            if session is not None:
                self._attached = session
                context.cache.attach(session, self._session_ended)
        self.exchange = exchange
        exchange.draining = context.draining
        if self.tie is not None and not self.tie.is_for(exchange.pool, request.session_key):
            self._untie()
        exchange.start(self.tie)
        if request.body is not None:
            exchange.body(request.body)
            exchange.body_end()
        elif head.length or head.chunked:
            self.stream.receive(exchange.body, exchange.body_end)

    def _session_ended(self, reason: str) -> None:
        self._attached = None
        self._end_exchange()

    def _end_request(self, turn: int) -> None:
        """End the request of this number, if it is still the one at hand: a connection may serve another one by now."""
        if turn == self._turn:
            self._end_exchange()

    def _end_exchange(self) -> None:
        if self.exchange is not None or self.tunnelled:
            self.stream.session_ended()

    def keep(self, connection: UpstreamConnection) -> None:
        """The exchange at hand leaves a connection that may serve nobody but its own session, here."""
        tie, exchange, request, context = self.tie, self.exchange, self._at_hand(), self.context
        key = request.session_key
        assert exchange is not None
        always = connection.serves is Serves.SAME_ALWAYS
        # SECURITY: a trusted proxy's connection carries many people, and so may any that says it is a proxy's. Without a session nobody is
        # the same, unless the upstream itself has taken the connection for somebody's (B-60, B-61).
        if request.trusted or (key is None and (not always or came_by_proxy(exchange.request))):
            self._untie()
            connection.abort()
            return
        if tie is None or tie.connection is not connection:
            self._untie()
            tie = self.tie = Tie(connection, exchange.pool, self.stream, key, context.cache, context.clock)
        session = request.session
        if session is None and key is not None:
            session = context.cache.peek(key, request.site.route.host)  # of a person on a public page
        tie.wait(session)

    def _untie(self) -> None:
        tie, self.tie = self.tie, None
        if tie is not None:
            tie.end()

    def rest(self, now: float) -> None:
        """Called now and then while there is no request."""
        self.detach()
        if self.tie is not None and not self.tie.sweep(now):
            self.tie = None

    def leave(self) -> None:
        """The connection is gone, or somebody else's."""
        self._untie()
        self.detach()

    def detach(self) -> None:
        """Nothing is under way for the session of the last request. Until then the next request finds it attached."""
        if self._attached is not None:
            self.context.cache.detach(self._attached, self._session_ended)
            self._attached = None

    # --- what must wait ---

    def run_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on in a Task. Refusals that it raises become responses; whatever the outcome, reading goes on."""
        self.stream.stop_reading()
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as failure:
            self._answer_failure(failure)
        finally:
            if self._task is asyncio.current_task():  # or it goes on in another one
                self._task = None
                self.stream.go_on_reading()

    def _answer_failure(self, failure: Exception) -> None:
        """A Refusal becomes its response; anything else one that says that there is a defect."""
        if not isinstance(failure, Refusal):
            _log.error("a request could not be judged", exc_info=failure)
            failure = Refusal("defect")
        self.stream.refuse(failure)

    def _load_session(self, request: Request[ParsedRequest], key: str, route: Route | None) -> None:
        """The slow path's one wait: the session is read from Redis. Bytes that come meanwhile are held, bounded."""
        site = request.site.route
        self.context.cache.read(key, site.host, site.name, partial(self._on_session, self._turn, route))

    def _on_session(self, turn: int, route: Route | None, session: LiveSession | None, error: Refusal | None) -> None:
        """The session was read: the gate is asked again."""
        if turn != self._turn:
            return  # the client is gone
        if error is not None:
            self._answer_failure(error)
            return
        try:
            request = self._at_hand()
            request.session, request.session_looked_up = session, True
            if route is not None and session is not None and shortcut.passes(route, request.head, session):
                self._pass(request, session, route)
            else:
                self._decide(request)
        except Exception as failure:
            self._answer_failure(failure)

    # --- bodies that are read here ---

    def _with_body(self, request: Request[ParsedRequest], then: Callable[[bytes], None], too_large: Refusal) -> None:
        """Go on with the whole body. Raises `too_large`."""
        if request.body is not None or not self.stream.body_open:
            then(request.body or b"")
            return

        def refusal() -> Refusal:
            self.emit_refusal(request, too_large)
            return too_large

        buffer(self.stream, request.head, self.context.limits.watched_body, then, refusal)

    def _judge_body(self, body: bytes) -> None:
        request = self._at_hand()
        request.body = body
        # SECURITY: the body may have taken its time, and the session may have ended meanwhile (C-44).
        if request.session_key is not None:
            request.session = self.context.cache.peek(request.session_key, request.site.route.host)
            request.session_looked_up = False
        self._decide(request)

    # --- pages of our own ---

    def _serve_own(self, request: Request[ParsedRequest], own: Own) -> None:
        """Answer, now or later. Raises a Refusal."""
        if request.head.upgrade is not None:
            raise MalformedRequest("an upgrade of a page of ours")
        if own.path != self.context.forward_auth_path:
            too_large = PayloadTooLarge("the body of a page of ours")
            self._with_body(request, lambda body: self._hand_to_pages(request, own, body), too_large)
        elif self.stream.body_open:
            raise BadRequest("a forward-auth request has no body")
        else:
            self.run_later(self._answer_forward_auth(request))

    async def _answer_forward_auth(self, request: Request[ParsedRequest]) -> None:
        self.stream.respond(await forward_auth.answer(self.context, request))

    def _hand_to_pages(self, request: Request[ParsedRequest], own: Own, body: bytes) -> None:
        """aiohttp gets the connection, with the head re-serialised from what was parsed and judged."""
        data = self.context.heads.own(request, own, len(body)) + body
        self.context.counters.in_flight -= 1
        self.leave()
        self.stream.go_on_reading()
        self._hand_over(data)
