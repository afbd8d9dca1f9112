"""The data plane's part of a hand-off: it sees when one is due, and keeps the upstream's session with the session it belongs to.

A hand-off is due when a person's browser navigates and holds none of the upstream's session cookies, when the upstream sends it to its own
login page, or answers 401 where that is to count; with bearer tokens, whenever there is none. No body is ever sent twice: a form that met
an ended session is told so. While the doors are closed, the request that redeems a token is refused to everybody (C-12).
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import Refusal, RouteBlocked
from gateway.gate.decision import Forward, Refuse
from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.hand_off.broker import Broker
from gateway.hand_off.credentials import Credentials
from gateway.hand_off.redirects import with_language, without_language
from gateway.http.message import RequestHead, is_navigation
from gateway.http.request_head import ParsedRequest
from gateway.http.response_head import ParsedResponse
from gateway.policy.paths import Target, parse_target
from gateway.policy.routes import parse_match
from gateway.proxy.context import ProxyContext
from gateway.proxy.filters import Attended, Instead, values_of
from gateway.proxy.handing import SIGN_OUT, Handing, away
from gateway.proxy.sealing import Sealing
from gateway.sessions.cache import LiveSession

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NOTHING: Final = Credentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """How one admitted request goes on. `retried`: it was sent before, with a bearer token that the upstream did not take.

    `passing`: it is a link that this browser was sent through.
    """

    cookies: list[bytes]
    credentials: Credentials = _NOTHING
    leaving: bool = False
    retried: bool = False
    passing: bool = False


class Bridge:
    """The hand-offs of one app, in one worker."""

    def __init__(self, door: ProxyContext, broker: Broker) -> None:
        self._door = door
        self._broker = broker
        self._plan = broker.plan
        self._sealing = Sealing(broker.seals)
        self._handing = Handing(door, broker, self._sealing)
        log_out = without_language((self._plan.log_out or "").partition("?")[0].lower())
        self._leaving = parse_match(f"* {log_out}").folded if log_out else None
        self._passing: set[ParsedRequest] = set()  # links that were found to be theirs

    # --- before a request goes on ---

    def passage(self, visit: Attended, site: Site, request: ParsedRequest, decision: Forward) -> Passage | None:
        """None: something else happens first, and the request is answered then. Raises RouteBlocked."""
        live, target = decision.live, parse_target(decision.wire)
        passing = request in self._passing
        if site.password_routes.closed and not passing and self._plan.route.holds(target):
            # SECURITY: whoever holds a token is not who it was made for (C-12).
            self._link(visit, site, request, target, _blocked(site))
            return None
        if live is None:
            return Passage(cookies=self._sealing.of_strangers(visit, site))
        cookies, credentials = self._sealing.kept(visit, live)
        page = _is_page(request)
        if page and self._is_leaving(target):
            return Passage(cookies=cookies, credentials=credentials, leaving=True)
        if self._plan.via == "bearer":
            return self._with_bearer(visit, site, request, live, cookies)
        if passing or not page or not _repeatable(request):
            return Passage(cookies=cookies, credentials=credentials, passing=passing)
        if not credentials.cookies or self._plan.login_pages.hold(target):
            visit.later(self._handing.hand_off(visit, site, live, self._end(site, target)))
            return None
        if self._handing.must_check(live):
            visit.later(self._handing.check(visit, site, live, decision.wire, credentials))
            return None
        return Passage(cookies=cookies, credentials=credentials)

    def _with_bearer(
        self, visit: Attended, site: Site, request: ParsedRequest, live: LiveSession, cookies: list[bytes]
    ) -> Passage | None:
        bearer = self._handing.bearer(live)
        if bearer is None:
            visit.later(self._handing.fetch_bearer(visit, site, live))
            return None
        retried = request in self._handing.retrying
        return Passage(cookies=cookies, credentials=Credentials(bearer=bearer.token), retried=retried)

    def _end(self, site: Site, target: Target) -> bytes:
        """The page to end on: the one that was asked for, or what a login page would have led to."""
        pages = self._plan.login_pages
        return pages.after(target, site.route.host) if pages.hold(target) else target.wire()

    def _is_leaving(self, target: Target) -> bool:
        leaving = self._leaving
        return leaving is not None and any(leaving.fullmatch(path) for path in with_language(target.readings))

    # --- when its answer is there ---

    def review(
        self,
        visit: Attended,
        site: Site,
        request: ParsedRequest,
        decision: Forward,
        passage: Passage,
        response: ParsedResponse,
    ) -> Instead | None:
        """What is answered instead of this response; its session cookies are sealed where it goes on."""
        live = decision.live
        if live is not None and not passage.leaving and self._wants_login(response, decision.wire, site):
            instead = self._renewed(visit, site, request, live, decision.wire, passage)
            if instead is not None:
                return instead
        if passage.passing and live is not None:
            cookies = values_of(response.lines, b"set-cookie")
            self._broker.passed(live, self._handing.upstream(visit, site, live), cookies)
        self._sealing.seal(visit, site, live, response)
        if passage.leaving:
            page = away(site.route.origin + SIGN_OUT, values_of(response.lines, b"set-cookie"))
            return Instead(lambda: visit.connection.respond(page))
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
        visit: Attended,
        site: Site,
        request: ParsedRequest,
        live: LiveSession,
        wire: bytes,
        passage: Passage,
    ) -> Instead | None:
        """The upstream's session is over: what is done about it. None: the answer goes on, a program has to see to it."""
        stale = passage.credentials.bearer
        if stale is not None:
            if passage.retried or not _repeatable(request):
                return None
            return _later(visit, self._handing.try_again(visit, site, request, live, stale))
        if passage.passing or not _is_page(request):
            return None
        if _repeatable(request):
            return _later(visit, self._handing.hand_off(visit, site, live, wire))
        path = wire.partition(b"?")[0].decode()
        return _later(visit, self._handing.reopen(visit, site, live, path))

    # --- the doors' refusals ---

    def instead(self, visit: Attended, site: Site, request: ParsedRequest, decision: Refuse) -> bool:
        """A person with a session meets the upstream's login page, or passes the link that we sent them through."""
        live = visit.live
        if live is None or not isinstance(decision.refusal, RouteBlocked):
            return False
        if not _is_page(request) or not _repeatable(request):
            return False
        target = parse_target(request.target)
        if self._plan.route.holds(target):
            if self._plan.via == "browser":
                self._link(visit, site, request, target, decision.refusal)
            return self._plan.via == "browser"
        end = self._end(site, target)
        if not self._plan.login_pages.hold(target) or not self._may_open(visit, site, live, end):
            return False
        visit.later(self._handing.hand_off(visit, site, live, end))
        return True

    def _may_open(self, visit: Attended, site: Site, live: LiveSession, wire: bytes) -> bool:
        """Whether the gate lets this person open the page that a hand-off would end on."""
        head = RequestHead("GET", wire, site.route.host.encode(), [])
        question = Request(site, head, visit.key, live, self._door.now(), session_looked_up=True)
        return isinstance(self._door.admit(question), Forward)

    def _link(self, visit: Attended, site: Site, request: ParsedRequest, target: Target, refused: Refusal) -> None:
        """Refuse a redeeming request, unless it must be looked at first whose it is. Raises `refused`."""
        live = visit.live
        if self._plan.via == "browser" and live is not None and _repeatable(request) and _is_page(request):
            visit.later(self._pass_link(visit, site, request, live, target, refused))
            return
        self._door.told_refusal(visit, refused)
        raise refused

    async def _pass_link(
        self, visit: Attended, site: Site, request: ParsedRequest, live: LiveSession, target: Target, refused: Refusal
    ) -> None:
        token = self._plan.route.token_of(target)
        if token is None or not await self._broker.take_link(live, token):
            self._door.told_refusal(visit, refused)
            raise refused
        self._passing.add(request)
        try:
            # Every other rule still has its say.
            question = Request(
                site, request, visit.key, live, self._door.now(), session_looked_up=True, hand_off_link=True
            )
            decision = self._door.admit(question)
            visit.act(site, request, decision)
        finally:
            self._passing.discard(request)


def _later(visit: Attended, work: Coroutine[Any, Any, None]) -> Instead:
    """The response is dropped, and `work` sees to an answer."""

    def act() -> None:
        visit.drop_exchange()
        visit.later(work)

    return Instead(act)


def _blocked(site: Site) -> RouteBlocked:
    return RouteBlocked("a sign-in link", kind="passwordless", sign_in_url=site.route.origin + "/oauth2/start")


def _is_page(request: ParsedRequest) -> bool:
    return request.upgrade is None and is_navigation(request)


def _repeatable(request: ParsedRequest) -> bool:
    return request.method in ("GET", "HEAD") and not request.has_body and request.upgrade is None
