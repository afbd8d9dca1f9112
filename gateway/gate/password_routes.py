"""Step 3: password routes that are closed. Pure."""

from gateway.errors.access import OwnLoginClosed, RouteBlocked
from gateway.gate.access import account_of
from gateway.gate.decision import Decision, NeedBody, NeedSession, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.http.message import RequestHead, is_navigation
from gateway.policy.passwords import Blocked, NeedsBody
from gateway.policy.paths import parse_target


def decide(request: Request[RequestHead]) -> Decision | None:
    """The decision about a request of a closed password route, or one that cannot be distinguished from it. None: it is neither."""
    site, head, candidates = request.site, request.head, request.matched.password_routes
    blocked = site.password_routes.basic(head)
    if blocked is None and candidates:
        match = site.password_routes.match(
            candidates, head, parse_target(request.wire), request.body, body_hidden=request.body_hidden
        )
        if isinstance(match, NeedsBody):
            return NeedBody(Refuse(_refusal(site, match.unread), match.unread.rule))
        blocked = match
    if blocked is None:
        return None
    if blocked.answer == "sign_in" and is_navigation(head) and head.method in ("GET", "HEAD"):
        return _sign_in_instead(request, blocked)
    return Refuse(_refusal(site, blocked), blocked.rule)


def _sign_in_instead(request: Request[RequestHead], blocked: Blocked) -> Decision:
    """The decision for a browser that opens the application's login page."""
    session = request.session
    if session is not None:
        account = account_of(session.session.identity)
        return Refuse(OwnLoginClosed(blocked.reason, kind=blocked.kind, account=account), blocked.rule)
    if request.session_key is not None and not request.session_looked_up:
        return NeedSession(request.session_key)
    return RedirectToSignIn("/", blocked.rule)  # back to a blocked page would be blocked again


def _refusal(site: Site, blocked: Blocked) -> RouteBlocked:
    return RouteBlocked(blocked.reason, kind=blocked.kind, sign_in_url=site.route.origin + "/oauth2/start")
