"""The data plane's part of a hand-off: it sees when one is due, and keeps the upstream's session with the session it belongs to.

A hand-off is due when a person's browser navigates and holds none of the upstream's session cookies, when the upstream sends it to its own
login page, or answers 401 where that is to count; with bearer tokens, whenever there is none. No body is ever sent twice: a form that met
an ended session is told so. While the doors are closed, the request that redeems a token is refused to everybody (C-12).
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors.access import RouteBlocked
from gateway.errors.refusal import Refusal
from gateway.gate.admission import decide
from gateway.gate.decision import Forward, Refuse
from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.hand_off.broker import Broker
from gateway.hand_off.cookie_filter import Sealing
from gateway.hand_off.flow import SIGN_OUT, HandOffFlow, away
from gateway.hand_off.redirects import with_language, without_language
from gateway.http.header_policy import Kind
from gateway.http.message import RequestHead, is_navigation
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.policy.paths import Target, parse_target
from gateway.policy.routes import parse_match
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import TAKEN, FilterControl, Replace, ResponseFilter, Taken, UpstreamRequest, values_of
from gateway.proxy.refusal_events import emit_refusal
from gateway.proxy.subrequest import Credentials
from gateway.sessions.cache import LiveSession

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NOTHING: Final = Credentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPlan:
    """How one admitted request goes on. `retried`: it was sent before, with a bearer token that the upstream did not take.

    `passing`: it is a link that this browser was sent through. `leaving`: it signs the person out at the upstream.
    """

    cookies: list[bytes]
    credentials: Credentials = _NOTHING
    leaving: bool = False
    retried: bool = False
    passing: bool = False


class HandOffFilter:
    """The hand-offs of one app, in one worker."""

    def __init__(self, context: ProxyContext, broker: Broker) -> None:
        self._context = context
        self._broker = broker
        self._plan = broker.plan
        self._sealing = Sealing(broker.seals)
        self._flow = HandOffFlow(context, broker, self._sealing)
        log_out = without_language((self._plan.log_out or "").partition("?")[0].lower())
        self._leaving = parse_match(f"* {log_out}").folded if log_out else None
        self._passing: set[Request[ParsedRequest]] = set()  # links that were found to be theirs

    # --- before a request goes on ---

    def on_request(
        self, control: FilterControl, request: Request[ParsedRequest], decision: Forward, outgoing: UpstreamRequest
    ) -> ResponseFilter | Taken:
        """Raises a Refusal."""
        plan = self._forward_plan(control, request, decision)
        if plan is None:
            return TAKEN
        outgoing.cookies = plan.cookies
        if plan.credentials.bearer is not None:
            _authorise(outgoing.head, plan.credentials.bearer)
        return lambda response, has_body: self._on_response(control, request, decision, plan, response)

    def _forward_plan(
        self, control: FilterControl, request: Request[ParsedRequest], decision: Forward
    ) -> ForwardPlan | None:
        """None: something else happens first, and the request is answered then. Raises RouteBlocked."""
        site, live, target = request.site, decision.live, parse_target(decision.wire)
        passing = request in self._passing
        if site.password_routes.closed and not passing and self._plan.route.holds(target):
            # SECURITY: whoever holds a token is not who it was made for (C-12).
            self._link(control, request, target, _blocked(site))
            return None
        if live is None:
            return ForwardPlan(cookies=self._sealing.without_session(request))
        cookies, credentials = self._sealing.kept(request, live)
        page = _is_page(request.head)
        if page and self._is_leaving(target):
            return ForwardPlan(cookies=cookies, credentials=credentials, leaving=True)
        if self._plan.via == "bearer":
            return self._with_bearer(control, request, live, cookies)
        if passing or not page or not _repeatable(request.head):
            return ForwardPlan(cookies=cookies, credentials=credentials, passing=passing)
        if not credentials.cookies or self._plan.login_pages.hold(target):
            control.run_later(self._flow.hand_off(control, request, live, self._end(site, target)))
            return None
        if self._flow.must_check(live):
            control.run_later(self._flow.check(control, request, live, decision.wire, credentials))
            return None
        return ForwardPlan(cookies=cookies, credentials=credentials)

    def _with_bearer(
        self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession, cookies: list[bytes]
    ) -> ForwardPlan | None:
        bearer = self._flow.bearer(live)
        if bearer is None:
            control.run_later(self._flow.fetch_bearer(control, request, live))
            return None
        retried = request in self._flow.retrying
        return ForwardPlan(cookies=cookies, credentials=Credentials(bearer=bearer.token), retried=retried)

    def _end(self, site: Site, target: Target) -> bytes:
        """The page to end on: the one that was asked for, or what a login page would have led to."""
        pages = self._plan.login_pages
        return pages.after(target, site.route.host) if pages.hold(target) else target.wire()

    def _is_leaving(self, target: Target) -> bool:
        leaving = self._leaving
        return leaving is not None and any(leaving.fullmatch(path) for path in with_language(target.readings))

    # --- when its response is there ---

    def _on_response(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        decision: Forward,
        plan: ForwardPlan,
        response: ParsedResponse,
    ) -> Replace | None:
        """What is answered instead of this response; its session cookies are sealed where it goes on."""
        live, site = decision.live, request.site
        if live is not None and not plan.leaving and self._wants_login(response, decision.wire, site):
            replacement = self._renewed(control, request, live, decision.wire, plan)
            if replacement is not None:
                return replacement
        if plan.passing and live is not None:
            cookies = values_of(response.lines, b"set-cookie")
            self._broker.passed(live, self._flow.upstream(request, live), cookies)
        self._sealing.seal(request, live, response)
        if plan.leaving:
            page = away(site.route.origin + SIGN_OUT, values_of(response.lines, b"set-cookie"))
            return Replace(lambda: control.respond(page))
        return None

    def _wants_login(self, response: ParsedResponse, wire: bytes, site: Site) -> bool:
        if response.status == 401:
            return self._plan.on_401
        if response.status not in _REDIRECTS:
            return False
        locations = values_of(response.lines, b"location")
        return len(locations) == 1 and self._plan.login_pages.are_at(locations[0], wire, site.route.host)

    def _renewed(
        self, control: FilterControl, request: Request[ParsedRequest], live: LiveSession, wire: bytes, plan: ForwardPlan
    ) -> Replace | None:
        """The upstream's session is over: what is done about it. None: the response goes on, a program has to see to it."""
        stale = plan.credentials.bearer
        if stale is not None:
            if plan.retried or not _repeatable(request.head):
                return None
            return _later(control, self._flow.try_again(control, request, live, stale))
        if plan.passing or not _is_page(request.head):
            return None
        if _repeatable(request.head):
            return _later(control, self._flow.hand_off(control, request, live, wire))
        path = wire.partition(b"?")[0].decode()
        return _later(control, self._flow.reopen(control, request, live, path))

    # --- refusals of password routes ---

    def on_refusal(self, control: FilterControl, request: Request[ParsedRequest], refused: Refuse) -> bool:
        """A person with a session meets the upstream's login page, or passes the link that they were sent through."""
        live = request.session
        if live is None or not isinstance(refused.refusal, RouteBlocked):
            return False
        if not _is_page(request.head) or not _repeatable(request.head):
            return False
        target = parse_target(request.head.target)
        if self._plan.route.holds(target):
            if self._plan.via == "browser":
                self._link(control, request, target, refused.refusal)
            return self._plan.via == "browser"
        end = self._end(request.site, target)
        if not self._plan.login_pages.hold(target) or not self._may_open(request, live, end):
            return False
        control.run_later(self._flow.hand_off(control, request, live, end))
        return True

    def _may_open(self, request: Request[ParsedRequest], live: LiveSession, wire: bytes) -> bool:
        """Whether the gate lets this person open the page that a hand-off would end on."""
        site = request.site
        head = RequestHead("GET", wire, site.route.host.encode(), [])
        page = Request(site, head, request.session_key, live, self._context.now(), session_looked_up=True)
        return isinstance(decide(page), Forward)

    def _link(self, control: FilterControl, request: Request[ParsedRequest], target: Target, refused: Refusal) -> None:
        """Refuse a redeeming request, unless its token may be this person's. Raises `refused`."""
        live, head = request.session, request.head
        if self._plan.via == "browser" and live is not None and _repeatable(head) and _is_page(head):
            control.run_later(self._pass_link(control, request, live, target, refused))
            return
        self._emit(request, refused)
        raise refused

    async def _pass_link(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        live: LiveSession,
        target: Target,
        refused: Refusal,
    ) -> None:
        token = self._plan.route.token_of(target)
        if token is None or not await self._broker.take_link(live, token):
            self._emit(request, refused)
            raise refused
        self._passing.add(request)
        try:
            # Every other rule still decides.
            request.session, request.now = live, self._context.now()
            request.session_looked_up = request.hand_off_link = True
            control.act(decide(request))
        finally:
            request.hand_off_link = False
            self._passing.discard(request)

    def _emit(self, request: Request[ParsedRequest], refused: Refusal) -> None:
        emit_refusal(self._context.audit, request, Refuse(refused, request.rule))


def _later(control: FilterControl, work: Coroutine[Any, Any, None]) -> Replace:
    """The response is dropped, and `work` answers."""

    def act() -> None:
        control.drop_exchange()
        control.run_later(work)

    return Replace(act)


def _authorise(head: ParsedRequest, bearer: str) -> None:
    """The upstream gets this person's token alone, whatever the client sent."""
    head.special = [entry for entry in head.special if entry.kind is not Kind.AUTHORIZATION]
    head.lines = [*head.lines, b"Authorization: Bearer " + bearer.encode("ascii")]


def _blocked(site: Site) -> RouteBlocked:
    return RouteBlocked("a sign-in link", kind="passwordless", sign_in_url=site.route.origin + "/oauth2/start")


def _is_page(request: ParsedRequest) -> bool:
    return request.upgrade is None and is_navigation(request)


def _repeatable(request: ParsedRequest) -> bool:
    return request.method in ("GET", "HEAD") and not request.has_body and request.upgrade is None
