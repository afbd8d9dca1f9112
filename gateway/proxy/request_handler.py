"""A request from its head to the gate's decision, and the action that follows from it.

Where the gate has what it needs, everything from the head to the upstream happens in one call stack: no Task, no Future. A session that is not
in the cache and a body that a password rule reads arrive in a callback, which decides again; forward-auth and hand-offs go on in a Task.
One `RequestHandler` serves one connection, request after request.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from gateway.errors.refusal import Refusal
from gateway.gate import shortcut
from gateway.gate.decision import (
    AnswerPreflight,
    Decision,
    Forward,
    NeedBody,
    NeedSession,
    NeedToken,
    Own,
    RedirectToSignIn,
    Refuse,
)
from gateway.gate.programs import RULE
from gateway.gate.request import NO_TIME, Request
from gateway.gate.site import Route
from gateway.http.request_head import ParsedRequest
from gateway.observability.access_log import path_as_logged
from gateway.pages.renderer import RenderedPage
from gateway.proxy import internal_routes
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import AppFilter, FilterControl
from gateway.proxy.forwarder import Forwarder
from gateway.proxy.head_memo import HeadMemo
from gateway.proxy.internal_routes import PageControl
from gateway.proxy.local_reply import ABOUT_THE_SERVER, Plain
from gateway.proxy.program_admission import ProgramAdmission, known_route
from gateway.proxy.refusal_events import emit_refusal
from gateway.proxy.request_body import buffer
from gateway.proxy.request_log import RequestLog
from gateway.proxy.upstream import UpstreamConnection
from gateway.sessions.cache import LiveSession

_log = logging.getLogger("doorward.proxy")
_NO_FILTERS: Final[Sequence[AppFilter]] = ()


class RequestTask:
    """The Task in which a request goes on, if it does. `on_failure` gets what it raises."""

    __slots__ = ("_on_failure", "_stream", "_task")

    def __init__(self, stream: ClientStream, on_failure: Callable[[Exception], None]) -> None:
        self._stream = stream
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Nothing is read from the client until it is done."""
        self._stream.stop_reading()
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as failure:
            self._on_failure(failure)
        finally:
            if self._task is asyncio.current_task():  # or it goes on in another one
                self._task = None
                self._stream.go_on_reading()

    def cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()


class RequestHandler:
    """`request` is the one at hand, from when its site is known until its response is complete.

    `memo`, `log` and `forwarder` are the connection's. `hand_over(data)` gives the connection to aiohttp, with the one request that it answers.
    """

    __slots__ = (
        "_control", "_give_connection", "_programs", "_task", "_turn", "clean", "context", "forwarder", "log", "memo", "request", "stream",
    )  # fmt: skip

    def __init__(self, stream: ClientStream, context: ProxyContext, hand_over: Callable[[bytes], None]) -> None:
        self.stream = stream
        self.context = context
        self.request: Request[ParsedRequest] | None = None
        self.clean = True  # the request was parsed: the connection may be closed without lingering
        self.memo = HeadMemo(context.limits.head)
        self.log = RequestLog(stream, context, self.memo)
        self.forwarder = Forwarder(stream, context, self.memo, self._filter_control)
        self._programs = ProgramAdmission(
            context, self.memo, self.forwarder, self._decide, self._on_token, self._answer_failure
        )
        self._give_connection = hand_over
        self._control: FilterControl | None = None
        self._task = RequestTask(stream, self._answer_failure)
        self._turn = 0  # the number of the request: a result for an earlier one is dropped

    # --- the request's life ---

    def arrived(self, now: float) -> None:
        """A head is there, not parsed yet."""
        log = self.log
        log.started, log.method, log.request_id = now, "-", ""
        self._turn += 1
        self.clean = False

    def begin(self, head: ParsedRequest, route: Route | None = None) -> None:
        """Judge the request and act on it; `route` where its line and its fields came before. Raises a Refusal."""
        context, memo, stream, log = self.context, self.memo, self.stream, self.log
        self.clean = True
        log.method = head.method
        context.counters.in_flight += 1
        try:
            if head.entries is not memo.entries:
                memo.read(context, head, trusted=stream.trusted)
        finally:
            log.request_id = memo.request_id or context.new_request_id()
        site, key = memo.site, memo.key
        if site is None:
            self.request = internal_routes.answer_under_any_host(context, stream, head, log.request_id, self.run_later)
            return
        session = context.cache.peek(key, site.route.host) if key is not None else None
        request = self.request = Request(
            site, head, key, session, NO_TIME, log.request_id, stream.peer, stream.trusted, memo.other_cookies
        )
        if route is None and head.target[:1] != b"/" and not context.origin_form(head, site):
            request.path = "*"
            stream.respond(ABOUT_THE_SERVER)
            return
        if key is not None:
            if route is None:
                route = known_route(context, site, head)
            if route is not None:
                if session is None:
                    if shortcut.needs_session(route, head):
                        self._load_session(request, key, route)
                        return
                elif shortcut.passes(route, head, session):
                    self.forwarder.repeat(request, session, route)
                    return
        self._programs.admit(request, route)

    def finished(self, status: int, size: int) -> None:
        """The request is over, and nothing of it is kept."""
        request, self.request = self.request, None
        exchange, self.forwarder.exchange = self.forwarder.exchange, None
        self.context.counters.in_flight -= 1
        self.log.write(request, status, size, exchange)

    def unparsed(self, status: int) -> None:
        """A response was given to something that was no request."""
        self.request = None
        self.memo.site = None
        self.memo.forget()
        self.log.write(None, status, 0)

    def lost(self) -> None:
        """The client is gone."""
        exchange = self.forwarder.exchange
        if exchange is not None:
            exchange.end()
        self._turn += 1
        self._task.cancel()
        self.forwarder.leave()
        self.finished(499, exchange.size if exchange is not None else 0)

    def keep(self, connection: UpstreamConnection) -> None:
        """The exchange at hand leaves a connection that may serve only the session of its request, here."""
        self.forwarder.keep(connection, self._at_hand())

    def emit_refusal(self, request: Request[ParsedRequest], refusal: Refusal) -> None:
        """The event of docs/interface.md for a refusal that has one."""
        emit_refusal(self.context, request, Refuse(refusal, request.rule))

    # --- decisions ---

    def decide_again(self) -> None:
        """Decide about the request at hand, and act on the decision."""
        self._decide(self._at_hand())

    def _at_hand(self) -> Request[ParsedRequest]:
        request = self.request
        assert request is not None
        return request

    def _decide(self, request: Request[ParsedRequest]) -> None:
        request.now = self.context.now()
        if request.site.active_opening is not None:
            request.abort = partial(self._abort_request, self._turn)
        self._act(request, self.context.admit(request))

    def _abort_request(self, turn: int) -> None:
        """End the request of this number, if it is still the one at hand: a connection may serve another one by now."""
        if turn == self._turn:
            self.forwarder.abort()

    def _act(self, request: Request[ParsedRequest], decision: Decision) -> None:
        if type(decision) is Forward:
            self.forwarder.forward(request, decision)
        elif type(decision) is NeedSession:
            self._load_session(request, decision.key, None)
        elif type(decision) is Refuse:
            self._answer_refusal(request, decision)
        elif type(decision) is NeedToken:
            self._programs.verify(request, decision.token)
        elif type(decision) is RedirectToSignIn:
            request.rule, request.path = decision.rule, path_as_logged(request.head.target)
            begun = self.context.begin_sign_in(request, decision)
            if isinstance(begun, RenderedPage):
                self.stream.respond(begun)
            else:
                self.run_later(self._respond_later(begun))
        elif type(decision) is AnswerPreflight:
            request.rule, request.path = decision.rule, path_as_logged(request.head.target)
            self.stream.respond(Plain(204, decision.fields))
        elif type(decision) is NeedBody:
            self._with_body(request, self._judge_body, decision.unread.refusal)
        elif type(decision) is Own:
            request.path = decision.path
            control = PageControl(self.run_later, self._with_body, self._hand_over)
            internal_routes.serve(self.context, self.stream, request, decision, control)

    def _answer_refusal(self, request: Request[ParsedRequest], refused: Refuse) -> None:
        request.rule, request.path = refused.rule, path_as_logged(request.head.target)
        for each in self.context.filters.get(request.site.route.name, _NO_FILTERS):
            if each.on_refusal(self._filter_control(), request, refused):
                return
        on_refusal = self.context.on_refusal
        if on_refusal is not None and on_refusal(self._filter_control(), request, refused):
            return
        self.emit_refusal(request, refused.refusal)
        self.stream.refuse(refused.refusal)

    def _filter_control(self) -> FilterControl:
        control = self._control
        if control is None:
            control = self._control = FilterControl(
                respond=self.stream.respond,
                run_later=self.run_later,
                decide=self.decide_again,
                act=lambda decision: self._act(self._at_hand(), decision),
                drop_exchange=self.forwarder.drop_exchange,
                with_body=self._with_body,
            )
        return control

    # --- what must wait ---

    async def _respond_later(self, begun: Coroutine[Any, Any, RenderedPage]) -> None:
        self.stream.respond(await begun)

    def run_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on in a Task. Refusals that it raises become responses; after every outcome reading goes on."""
        self._task.start(work)

    def _answer_failure(self, failure: Exception) -> None:
        """A Refusal becomes its response; anything else is logged, and answered as a defect."""
        if not isinstance(failure, Refusal):
            _log.error("a request could not be judged", exc_info=failure)
            failure = Refusal("defect")
        self.stream.refuse(failure)

    def _load_session(self, request: Request[ParsedRequest], key: str, route: Route | None) -> None:
        """Read the session from Redis: the slow path's one wait. Bytes that come meanwhile are held, bounded."""
        site = request.site.route
        self.context.cache.read(key, site.host, site.name, partial(self._on_session, self._turn, route))

    def _on_session(self, turn: int, route: Route | None, session: LiveSession | None, error: Refusal | None) -> None:
        """The session was read: decide again."""
        request = self.request
        if turn != self._turn or request is None:
            return  # the client is gone, or has its response
        if error is not None:
            self._answer_failure(error)
            return
        try:
            request.session, request.session_looked_up = session, True
            if route is not None and session is not None and shortcut.passes(route, request.head, session):
                self.forwarder.repeat(request, session, route)
            else:
                self._decide(request)
        except Exception as failure:
            self._answer_failure(failure)

    def _on_token(self, request: Request[ParsedRequest], refusal: Refusal | None) -> None:
        """The access token of a request was verified, or refused; the client may be gone, or have its response."""
        if request is self.request:
            self._act(request, Refuse(refusal, RULE)) if refusal is not None else self._decide(request)

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
        request.body, request.program = body, None
        # SECURITY: the body may have taken its time, and the session may have ended meanwhile (C-44).
        if request.session_key is not None:
            request.session = self.context.cache.peek(request.session_key, request.site.route.host)
            request.session_looked_up = False
        self._decide(request)

    # --- pages of our own ---

    def _hand_over(self, data: bytes) -> None:
        """aiohttp gets the connection, with the head re-serialised from what was parsed and judged."""
        self.request = None
        self.context.counters.in_flight -= 1
        self.forwarder.leave()
        self.stream.go_on_reading()
        self._give_connection(data)
