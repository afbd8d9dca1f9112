"""The app filter of hand-off: it detects that a hand-off is due, and binds the upstream's session to ours.

A hand-off is due when a person's browser navigates without the upstream's session cookies, when the upstream redirects it to its
own login page, or answers 401 where `on_401` is set; with bearer tokens, whenever there is none. No body is sent twice: a form
that met an ended session gets a page that explains it. While password routes are closed, every request that redeems a token is
refused (C-12).
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors.access import RouteBlocked
from gateway.errors.refusal import Refusal
from gateway.gate.admission import decide
from gateway.gate.decision import Forward, Refuse
from gateway.gate.request import Request
from gateway.gate.site import START, Site
from gateway.hand_off.broker import Broker
from gateway.hand_off.cookie_filter import CookieFilter
from gateway.hand_off.flow import SIGN_OUT, HandOffFlow, redirect_to
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
    """How one admitted request is forwarded. `retried`: it was sent before, with a bearer token that the upstream refused.

    `by_link`: it follows a link that this browser was sent to. `logs_out`: it signs the person out at the upstream.
    """

    cookies: list[bytes]
    credentials: Credentials = _NOTHING
    logs_out: bool = False
    retried: bool = False
    by_link: bool = False


class HandOffFilter:
    """The hand-offs of one app, in one worker."""

    def __init__(self, context: ProxyContext, broker: Broker) -> None:
        self._context = context
        self._broker = broker
        self._plan = broker.plan
        self._cookie_filter = CookieFilter(broker.seals)
        self._flow = HandOffFlow(context, broker, self._cookie_filter)
        log_out = without_language((self._plan.log_out or "").partition("?")[0].lower())
        self._log_out_path = parse_match(f"* {log_out}").folded if log_out else None
        self._claimed_links: set[Request[ParsedRequest]] = set()  # requests that follow a link of their session
        self._unclaimed_links: set[Request[ParsedRequest]] = set()  # those whose link is not their session's

    # --- requests ---

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
        """None: work has begun that will respond to the request. Raises RouteBlocked."""
        site, session, target = request.site, decision.session, parse_target(decision.wire)
        by_link = request in self._claimed_links
        if site.password_routes.closed and not by_link and self._plan.route.holds(target):
            # SECURITY: the holder of a token need not be the person that it was made for (C-12).
            self._decide_link(control, request, target, _blocked(site))
            return None
        if session is None:
            return ForwardPlan(cookies=self._cookie_filter.without_session(request))
        cookies, credentials = self._cookie_filter.with_session(request, session)
        page = _is_page(request.head)
        if page and self._is_log_out(target):
            return ForwardPlan(cookies=cookies, credentials=credentials, logs_out=True)
        if self._plan.via == "bearer":
            return self._with_bearer(control, request, session, cookies)
        if by_link or not page or not _repeatable(request.head):
            return ForwardPlan(cookies=cookies, credentials=credentials, by_link=by_link)
        if self._plan.via == "browser" and request not in self._unclaimed_links and self._plan.route.holds(target):
            control.run_later(self._follow_link(control, request, session, target))
            return None
        if not credentials.cookies or self._plan.login_pages.hold(target):
            control.run_later(self._flow.hand_off(control, request, session, self._landing(site, target)))
            return None
        if self._flow.check_due(session):
            control.run_later(self._flow.check_owner(control, request, session, decision.wire, credentials))
            return None
        return ForwardPlan(cookies=cookies, credentials=credentials)

    def _with_bearer(
        self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession, cookies: list[bytes]
    ) -> ForwardPlan | None:
        bearer = self._flow.bearer(session)
        if bearer is None:
            control.run_later(self._flow.fetch_bearer(control, request, session))
            return None
        retried = request in self._flow.retrying
        return ForwardPlan(cookies=cookies, credentials=Credentials(bearer=bearer.token), retried=retried)

    def _landing(self, site: Site, target: Target) -> bytes:
        """The page to end on: the requested one, or the one that a login page would return to."""
        pages = self._plan.login_pages
        return pages.after(target, site.route.host) if pages.hold(target) else target.wire()

    def _is_log_out(self, target: Target) -> bool:
        pattern = self._log_out_path
        return pattern is not None and any(pattern.fullmatch(path) for path in with_language(target.readings))

    # --- responses ---

    def _on_response(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        decision: Forward,
        plan: ForwardPlan,
        response: ParsedResponse,
    ) -> Replace | None:
        """What replaces this response, or None; then its session cookies are sealed."""
        session, site = decision.session, request.site
        if session is not None and not plan.logs_out and self._wants_login(response, decision.wire, site):
            replacement = self._renewed(control, request, session, decision.wire, plan)
            if replacement is not None:
                return replacement
        if plan.by_link and session is not None:
            cookies = values_of(response.lines, b"set-cookie")
            self._broker.on_link_followed(session, self._flow.upstream(request, session), cookies)
        self._cookie_filter.seal(request, session, response)
        if plan.logs_out:
            page = redirect_to(site.route.origin + SIGN_OUT, values_of(response.lines, b"set-cookie"))
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
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        session: LiveSession,
        wire: bytes,
        plan: ForwardPlan,
    ) -> Replace | None:
        """What replaces the response when the upstream's session has ended. None for a program, which gets the response."""
        stale = plan.credentials.bearer
        if stale is not None:
            if plan.retried or not _repeatable(request.head):
                return None
            return _replace_with(control, self._flow.retry(control, request, session, stale))
        if plan.by_link or not _is_page(request.head):
            return None
        if _repeatable(request.head):
            return _replace_with(control, self._flow.hand_off(control, request, session, wire))
        path = wire.partition(b"?")[0].decode()
        return _replace_with(control, self._flow.reopen(control, request, session, path))

    # --- refusals of password routes ---

    def on_refusal(self, control: FilterControl, request: Request[ParsedRequest], refused: Refuse) -> bool:
        """Whether a hand-off replaces the refusal: of the upstream's login page, or of the link that this person was sent to."""
        session = request.session
        if session is None or not isinstance(refused.refusal, RouteBlocked):
            return False
        if not _is_page(request.head) or not _repeatable(request.head):
            return False
        target = parse_target(request.head.target)
        if self._plan.route.holds(target):
            if self._plan.via == "browser":
                self._decide_link(control, request, target, refused.refusal)
            return self._plan.via == "browser"
        end = self._landing(request.site, target)
        if not self._plan.login_pages.hold(target) or not self._may_open(request, session, end):
            return False
        control.run_later(self._flow.hand_off(control, request, session, end))
        return True

    def _may_open(self, request: Request[ParsedRequest], session: LiveSession, wire: bytes) -> bool:
        """Whether the gate admits this person to the page that a hand-off would end on."""
        site = request.site
        head = RequestHead("GET", wire, site.route.host.encode(), [])
        page = Request(site, head, request.session_key, session, self._context.now(), session_looked_up=True)
        return isinstance(decide(page), Forward)

    def _decide_link(
        self, control: FilterControl, request: Request[ParsedRequest], target: Target, refused: Refusal
    ) -> None:
        """Refuse a request that redeems a token, unless the token may be this person's. Raises `refused`."""
        session, head = request.session, request.head
        if self._plan.via == "browser" and session is not None and _repeatable(head) and _is_page(head):
            control.run_later(self._admit_link(control, request, session, target, refused))
            return
        self._emit(request, refused)
        raise refused

    async def _admit_link(
        self,
        control: FilterControl,
        request: Request[ParsedRequest],
        session: LiveSession,
        target: Target,
        refused: Refusal,
    ) -> None:
        token = self._plan.route.token_of(target)
        if token is None or not await self._broker.claim_link(session, token):
            self._emit(request, refused)
            raise refused
        self._claimed_links.add(request)
        try:
            # All other rules still apply.
            request.session, request.now = session, self._context.now()
            request.session_looked_up = request.hand_off_link = True
            control.act(decide(request))
        finally:
            request.hand_off_link = False
            self._claimed_links.discard(request)

    async def _follow_link(
        self, control: FilterControl, request: Request[ParsedRequest], session: LiveSession, target: Target
    ) -> None:
        """Where password routes are open: a link of this session is forwarded, any other one is a login page like the rest."""
        token = self._plan.route.token_of(target)
        claimed = token is not None and await self._broker.claim_link(session, token)
        links = self._claimed_links if claimed else self._unclaimed_links
        links.add(request)
        try:
            control.decide()
        finally:
            links.discard(request)

    def _emit(self, request: Request[ParsedRequest], refused: Refusal) -> None:
        emit_refusal(self._context, request, Refuse(refused, request.rule))


def _replace_with(control: FilterControl, work: Coroutine[Any, Any, None]) -> Replace:
    """Drop the response; `work` responds."""

    def act() -> None:
        control.drop_exchange()
        control.run_later(work)

    return Replace(act)


def _authorise(head: ParsedRequest, bearer: str) -> None:
    """Replace the client's Authorization fields by this person's token."""
    head.special = [entry for entry in head.special if entry.kind is not Kind.AUTHORIZATION]
    head.lines = [*head.lines, b"Authorization: Bearer " + bearer.encode("ascii")]


def _blocked(site: Site) -> RouteBlocked:
    return RouteBlocked("a sign-in link", kind="passwordless", sign_in_url=site.route.origin + START)


def _is_page(request: ParsedRequest) -> bool:
    return request.upgrade is None and is_navigation(request)


def _repeatable(request: ParsedRequest) -> bool:
    return request.method in ("GET", "HEAD") and not request.has_body and request.upgrade is None
