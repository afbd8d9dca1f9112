"""The gate: the admission of one request, in five steps.

The order is the one of docs/interface.md: our own paths, password routes, rules, public, the app's `require`. The upstream gets the
canonical target that was judged. Nothing here waits: a decision that needs the session or the body is NeedSession or NeedBody, and the
caller reads it and calls `decide` again.
"""

from gateway.errors.requests import BadRequest
from gateway.gate import access, emergency, form_methods, password_routes, programs, referenced
from gateway.gate.decision import AnswerPreflight, Decision, Own, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy import cors
from gateway.policy.bodies import has_body, read_query
from gateway.policy.cors import is_only_a_preflight
from gateway.policy.paths import parse_target
from gateway.policy.rules import Ruling


def decide(request: Request[RequestHead]) -> Decision:
    """Admit one request, refuse it, or name what is missing. Sets the request's `route`, `wire` and `query`."""
    return referenced.decide(request, _decide) if request.head.references else _decide(request)


def _decide(request: Request[RequestHead]) -> Decision:
    site = request.site
    # 1. The canonical path, and its route.
    try:
        _find_route(request)
    except BadRequest as ambiguous:
        return Refuse(ambiguous, "target")
    route = request.matched
    # 2. Our own endpoints, and preflights that are answered here. No rule applies to them, and no upstream gets them.
    if route.own:
        return Own(route.path, request.wire)
    if (
        site.cors is not None
        and not request.body_hidden
        and is_only_a_preflight(request.head, read_query(request.query))
    ):
        return AnswerPreflight(site.cors.preflight(request.head), cors.RULE)
    if site.app.bearer is not None:
        malformed = programs.refusal_of_form(request)
        if malformed is not None:
            return malformed
    # 3. Closed password routes, which are closed with and without a session.
    opening = request.opening if site.enabled else None
    closed = site.enabled and site.password_routes.closed and bool(route.password_routes or request.head.authorization)
    if closed and opening is None and not request.hand_off_link:
        decision = password_routes.decide(request)
        if decision is not None:
            return decision

    # 4. Public, rules, the app's `require`, step-up. 5. Break-glass replaces the session and the app's `require`, and no narrower rule.
    def rule(ruling: Ruling) -> Decision:
        decision = access.decide(request, ruling)
        return decision if opening is None else emergency.widen(request, decision, ruling, opening, closed=closed)

    if (route.form or route.named) and (request.body_hidden or has_body(request.head, request.body)):
        return form_methods.decide(request, rule)
    return rule(route.ruling)


def _find_route(request: Request[RequestHead]) -> None:
    """Set the route, the canonical target and its query. Raises BadRequest."""
    head = request.head
    raw_path, mark, query = head.target.partition(b"?")
    route = request.route = request.site.find_route(head.method, raw_path, query, head.upgrade)
    if mark and (b"#" in query or not query.isascii()):
        query = parse_target(head.target).query or b""
    request.wire = route.path.encode() + mark + query
    request.query = query
