"""The gate: one request's admission, decided here and nowhere else.

`decide(request) -> Forward | RedirectToSignIn | Refuse | Own | AnswerPreflight | NeedSession | NeedBody`. The data plane, `/oauth2/auth`
and `doorward explain` all ask it. The order is docs/interface.md's: our own paths, password routes, rules, public, the app's `require`.
What is forwarded is the canonical target that was judged. With the session in the worker's cache the answer comes without
waiting; what is missing is asked for by name (`NeedSession`, `NeedBody`), fetched by the caller, and the gate is asked again.
"""

from gateway.errors.requests import BadRequest
from gateway.gate import access, emergency, form_methods, password_routes, referenced
from gateway.gate.decision import AnswerPreflight, Decision, Own, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy import cors
from gateway.policy.bodies import has_body, read_query
from gateway.policy.cors import is_only_a_preflight
from gateway.policy.paths import parse_target
from gateway.policy.rules import Ruling


def decide(request: Request[RequestHead]) -> Decision:
    """Admit one request, refuse it, or say what is missing."""
    return referenced.decide(request, _decide) if request.head.elsewhere else _decide(request)


def _decide(request: Request[RequestHead]) -> Decision:
    site = request.site
    # 1. The one spelling of the path, and what the configuration says about it.
    try:
        _find_route(request)
    except BadRequest as ambiguous:
        return Refuse(ambiguous, "target")
    route = request.matched
    # 2. What is answered here: our own endpoints, and preflights. No rule concerns them, and nothing of them reaches an upstream.
    if route.own:
        return Own(route.path, request.wire)
    if (
        site.cors is not None
        and not request.body_hidden
        and is_only_a_preflight(request.head, read_query(request.query))
    ):
        return AnswerPreflight(site.cors.preflight(request.head), cors.RULE)
    # 3. Password routes are closed before anybody asks who it is.
    opening = request.opening if site.enabled else None
    closed = site.enabled and site.password_routes.closed and bool(route.password_routes or request.head.authorization)
    if closed and opening is None and not request.hand_off_link:
        decision = password_routes.decide(request)
        if decision is not None:
            return decision

    # 4. Public, rules, the app's `require`, step-up. 5. An opening stands in for a session, never for a narrower rule.
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
