"""Step 3: password routes that are closed. Pure."""

from gateway.errors.access import OwnLoginClosed, RouteBlocked
from gateway.gate.access import account_of, referring_page
from gateway.gate.decision import Decision, NeedBody, NeedSession, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import Site, start_url
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
            return NeedBody(Refuse(_refusal(request, match.unread), match.unread.rule))
        blocked = match
    if blocked is None:
        return None
    if blocked.answer == "sign_in" and is_navigation(head) and head.method in ("GET", "HEAD"):
        return _sign_in_instead(request, blocked)
    return Refuse(_refusal(request, blocked), blocked.rule)


def _sign_in_instead(request: Request[RequestHead], blocked: Blocked) -> Decision:
    """The decision for a browser that opens the application's login page."""
    session = request.session
    if session is not None:
        advice = f"{blocked.reason}; {_own_login_advice(request.site)}"
        account = account_of(session.session.identity)
        return Refuse(OwnLoginClosed(advice, kind=blocked.kind, account=account), blocked.rule)
    if request.session_key is not None and not request.session_looked_up:
        return NeedSession(request.session_key)
    return RedirectToSignIn("/", blocked.rule)  # back to a blocked page would be blocked again


def _refusal(request: Request[RequestHead], blocked: Blocked) -> RouteBlocked:
    site = request.site
    start = start_url(referring_page(site, request.head) or "/")
    return RouteBlocked(blocked.reason, kind=blocked.kind, sign_in_url=site.route.origin + start)


def _own_login_advice(site: Site) -> str:
    """What the operator can do about an application that asks a person for its own login who is signed in here."""
    key = f"apps.{site.route.name}.hand_off"
    if site.app.hand_off is not None:
        return f"the hand-off does not know this page: name it in {key}.login_pages"
    return (
        "the person is signed in, and the application did not take them from the identity headers: "
        f"let it trust X-Forwarded-User or X-Doorward-Jwt-Assertion, or set {key}"
    )
