"""One request's way through the gate, and what its decision sets in motion.

Where the gate has what it needs, everything from the head to the upstream happens in one call stack: no Task, no Future. What must wait goes
on when it is there, and asks the gate again: a session not in the cache and a body that a door reads in the callback that brings them,
forward-auth in a Task.
One `RequestHandler` serves one connection, request after request.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.errors import Refusal
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
from gateway.gate.request import Request
from gateway.gate.site import Route, Site
from gateway.http.request_head import ParsedRequest, authenticates_connection, came_by_proxy
from gateway.observability.access_log import path_as_logged
from gateway.proxy.context import ProxyContext
from gateway.proxy.exchange import Exchange
from gateway.proxy.head_memo import HeadMemo
from gateway.proxy.internal_routes import serve
from gateway.proxy.local_reply import ABOUT_THE_SERVER, Plain
from gateway.proxy.request_body import Visiting, collect
from gateway.proxy.tie import Tie
from gateway.proxy.tunnel import honoured
from gateway.proxy.upstream import Serves, UpstreamConnection
from gateway.proxy.waiting import Waiting, answer_failure
from gateway.sessions.cache import LiveSession


class RequestHandler:
    """The request at hand. Its connection is `connection`; `exchange` is there while an upstream answers."""

    __slots__ = (
        "__weakref__", "_attached", "_body", "_known", "_live", "_spare", "_turn", "_waiting", "clean", "connection", "door", "exchange", "key",
        "method", "other_cookies", "path", "request_id", "rule", "said", "site", "started", "tie", "tunnelled",
    )  # fmt: skip

    def __init__(self, connection: Visiting, door: ProxyContext) -> None:
        self.connection = connection
        self.door = door
        self.exchange: Exchange | None = None
        self.site: Site | None = None
        self.key: str | None = None
        self.other_cookies: list[bytes] = []
        self.method = "-"
        self.path = "-"
        self.rule = ""
        self.request_id = ""
        self.started = 0.0
        self.clean = True  # the request was parsed: the connection may be closed without lingering
        self.tunnelled = False
        self.said = HeadMemo(door.limits.head)
        self._spare: Exchange | None = None  # the one before, to be used again
        self._live: LiveSession | None = None
        self._known = False
        self._body: bytes | None = None
        self._attached: LiveSession | None = None
        self.tie: Tie | None = None
        self._waiting = Waiting(connection)
        self._turn = 0  # which request this is: an answer to an earlier one's question is nobody's

    # --- the request's life ---

    def arrived(self, now: float) -> None:
        """A head is there, not parsed yet."""
        self.started = now
        self._turn += 1
        self.method, self.path, self.rule, self.request_id = "-", "-", "", ""
        self.clean = False
        self._live, self._known, self._body = None, False, None

    def begin(self, request: ParsedRequest, verdict: Route | None = None) -> None:
        """Judge the request and act on it; `verdict` where its line and its fields came before. Raises a Refusal."""
        door, said = self.door, self.said
        self.clean = True
        self.method = request.method
        door.counters.in_flight += 1
        try:
            if request.entries is not said.entries:
                said.read(door, request)
        finally:
            site = self.site = said.site
            self.request_id = said.request_id or door.new_request_id()
        assert site is not None
        if request.target[:1] != b"/" and not door.origin_form(request, site):
            self.path = "*"
            self.connection.respond(ABOUT_THE_SERVER)
            return
        key, self.other_cookies = said.key, said.other_cookies
        self.key = key
        if key is not None:
            live = self._live = door.cache.peek(key, site.route.host)
            if verdict is None:
                verdict = self._judged_before(site, request)
            if verdict is not None:
                if live is None:
                    if shortcut.needs_session(verdict, request):
                        self._ask(site, key, verdict)
                        return
                elif shortcut.passes(verdict, request, live):
                    self._pass(site, request, live, verdict)
                    return
        self.decide()

    def _judged_before(self, site: Site, request: ParsedRequest) -> Route | None:
        """What was judged of the line of a request that needs nothing else of the gate, nor an app's `Care`."""
        if request.repeatable and site.glass is None and site.route.name not in self.door.cares:
            return site.route_of_line(request.line)
        return None

    def answered(self, status: int, size: int) -> None:
        """The exchange ended well: nothing of it is under way, so the next request may have it."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and exchange.plain and exchange.request_done:
            self._spare = exchange
        self.door.counters.in_flight -= 1
        self.door.told(self, status, size)

    def finished(self, status: int, size: int) -> None:
        """The request is over."""
        self.exchange = None
        self.door.counters.in_flight -= 1
        self.door.told(self, status, size)

    def unparsed(self, status: int) -> None:
        """An answer was given to something that was no request."""
        self.site = self.said.site = None
        self.said.forget()
        self.door.told(self, status, 0)

    def lost(self) -> None:
        """The client is gone."""
        exchange = self.exchange
        if exchange is not None:
            exchange.end()
        self._turn += 1
        self._waiting.cancel()
        self.leave()
        self.finished(499, exchange.size if exchange is not None else 0)

    def drop_exchange(self, *, keep_attached: bool = False) -> None:
        """The answer does not come from the upstream any more."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.end()
        self.tunnelled = keep_attached
        if not keep_attached:
            self.detach()

    def idle_seconds(self) -> float:
        return self.site.app.timeouts.idle.total_seconds() if self.site is not None else 60.0

    @property
    def session_handle(self) -> str:
        """The public handle of the session, for logs."""
        return self._live.session.sid if self._live is not None else ""

    @property
    def live(self) -> LiveSession | None:
        return self._live

    # --- decisions ---

    def decide(self) -> None:
        """Ask the gate, and do what it says."""
        site, request = self.at_hand()
        question = Request(
            site, request, self.key, self._live, self.door.now(), body=self._body, session_looked_up=self._known
        )
        self.act(site, request, self.door.admit(question, self))

    def at_hand(self) -> tuple[Site, ParsedRequest]:
        site, request = self.site, self.connection.request
        assert site is not None and request is not None  # noqa: PT018 - one fact
        return site, request

    def act(self, site: Site, request: ParsedRequest, decision: Decision) -> None:
        if type(decision) is Forward:
            self._forward(site, request, decision)
        elif type(decision) is NeedSession:
            self._ask(site, decision.key, None)
        elif type(decision) is Refuse:
            self.rule, self.path = decision.rule, path_as_logged(request.target)
            care = self.door.cares.get(site.route.name)
            if care is not None and care.instead(self, site, request, decision):
                return
            self.door.told_refusal(self, decision.refusal)
            self.connection.refuse(decision.refusal)
        elif type(decision) is RedirectToSignIn:
            self.rule, self.path = decision.rule, path_as_logged(request.target)
            self.connection.respond(self.door.begin_sign_in(site, request, decision, self.request_id))
        elif type(decision) is AnswerPreflight:
            self.rule, self.path = decision.rule, path_as_logged(request.target)
            self.connection.respond(Plain(204, decision.fields))
        elif type(decision) is NeedBody:
            self.with_body(self._judge_body, decision.unread.refusal)
        elif type(decision) is Own:
            self.path = decision.path
            serve(self, request, decision)

    def _forward(self, site: Site, request: ParsedRequest, decision: Forward) -> None:
        door, said = self.door, self.said
        self.rule = decision.rule
        self.path = decision.wire.partition(b"?")[0].decode()
        if request.upgrade is not None:
            request.upgrade = honoured(request, site.upgrades, site.websocket_origins)
        care = door.cares.get(site.route.name)
        if care is not None and not is_by_break_glass(decision):  # with break-glass: the application as it is
            exchange = care.exchange(self, site, request, decision)
            if exchange is None:
                return  # it is answered in another way, now or later
        else:
            if request.repeatable and request.entries is said.entries:
                said.fields = said.fields or door.heads.fields(self, site, request)
                # SECURITY: past an app's `Care` there is no short way, be it open by break-glass for once (C-36).
                said.route_of_line = site.route_of_line if care is None else said.route_of_line
            head = door.heads.upstream(self, site, request, decision, said.fields)
            exchange = self._exchange(site, request, head)
        if request.authorization and authenticates_connection(request):
            exchange.authenticate()
        self._send(site, request, decision.live, exchange)

    def _pass(self, site: Site, request: ParsedRequest, live: LiveSession, verdict: Route) -> None:
        """Forward what `_judged_before` found, for a session that meets the ruling."""
        said, heads = self.said, self.door.heads
        self.path, self.rule = verdict.path, verdict.ruling.rule
        if not said.fields:
            said.fields, said.route_of_line = heads.fields(self, site, request), site.route_of_line
        head = heads.again(said.fields, site, live, verdict, self.request_id)
        self._send(site, request, live, self._exchange(site, request, head))

    def _exchange(self, site: Site, request: ParsedRequest, head: bytes) -> Exchange:
        pool, timeouts = self.door.pools[site.route.name], site.app.timeouts
        exchange, self._spare = self._spare, None
        if exchange is None:
            return Exchange(self.connection, request, head, pool, timeouts, self.door.clock)
        exchange.prepare(request, head, pool, timeouts, self.started)
        return exchange

    def _send(self, site: Site, request: ParsedRequest, live: LiveSession | None, exchange: Exchange) -> None:
        door = self.door
        self._live = live
        if live is not None:
            door.cache.touch(live)
        if live is not self._attached:
            self.detach()
            if live is not None:
                self._attached = live
                door.cache.attach(live, self._session_ended)
        self.exchange = exchange
        exchange.draining = door.draining
        if self.tie is not None and not self.tie.is_for(exchange.pool, self.key):
            self._untie()
        exchange.start(self.tie)
        if self._body is not None:
            exchange.body(self._body)
            exchange.body_end()
        elif request.length or request.chunked:
            self.connection.receive(exchange.body, exchange.body_end)

    def _session_ended(self, reason: str) -> None:
        self._attached = None
        if self.exchange is not None or self.tunnelled:
            self.connection.session_ended()

    def keep(self, connection: UpstreamConnection) -> None:
        """The exchange at hand leaves a connection that may serve nobody but its own session, here."""
        tie, exchange, key = self.tie, self.exchange, self.key
        assert exchange is not None
        always = connection.serves is Serves.SAME_ALWAYS
        # SECURITY: a trusted proxy's connection carries many people, and so may any that says it is a proxy's. Without a session nobody is
        # the same, unless the upstream itself has taken the connection for somebody's (B-60, B-61).
        if self.connection.trusted or (key is None and (not always or came_by_proxy(exchange.request))):
            self._untie()
            connection.abort()
            return
        if tie is None or tie.connection is not connection:
            self._untie()
            tie = self.tie = Tie(connection, exchange.pool, self.connection, key, self.door.cache, self.door.clock)
        site = self.site
        live = self._live
        if live is None and key is not None and site is not None:
            live = self.door.cache.peek(key, site.route.host)  # of somebody on a public page
        tie.wait(live)

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
        """Nothing is under way for the session that was asked for last. Until then the next request finds it attached."""
        if self._attached is not None:
            self.door.cache.detach(self._attached, self._session_ended)
            self._attached = None

    # --- what must wait ---

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on in a Task. Refusals that it raises become answers."""
        self._waiting.later(work)

    def _ask(self, site: Site, key: str, verdict: Route | None) -> None:
        """The slow path's one wait: the session is read from Redis. Bytes that come meanwhile are held, bounded."""
        self.door.cache.ask(key, site.route.host, site.route.name, partial(self._heard, self._turn, verdict))

    def _heard(self, turn: int, verdict: Route | None, live: LiveSession | None, error: Refusal | None) -> None:
        """The session was read: the gate is asked again."""
        if turn != self._turn:
            return  # the client is gone
        if error is not None:
            answer_failure(self.connection, error)
            return
        try:
            self._live, self._known = live, True
            site, request = self.at_hand()
            if verdict is not None and live is not None and shortcut.passes(verdict, request, live):
                self._pass(site, request, live, verdict)
            else:
                self.decide()
        except Exception as failure:
            answer_failure(self.connection, failure)

    # --- bodies that we read ourselves ---

    def with_body(self, then: Callable[[bytes], None], too_large: Refusal) -> None:
        """Go on with the whole body. Raises `too_large`."""
        _, request = self.at_hand()
        if self._body is not None or not self.connection.body_open:
            then(self._body or b"")
        else:
            collect(self, request, then, too_large)

    def _judge_body(self, body: bytes) -> None:
        self._body = body
        # SECURITY: the body may have taken its time, and the session may have ended meanwhile (C-44).
        if self.key is not None:
            site, _ = self.at_hand()
            self._live, self._known = self.door.cache.peek(self.key, site.route.host), False
        self.decide()
