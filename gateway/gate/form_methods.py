"""A POST whose form may name another method or path to the upstream. Pure.

The form is read only where some method or path that it could name would be refused.
"""

from collections.abc import Callable

from gateway.errors.requests import BadRequest
from gateway.gate.access import login_required
from gateway.gate.decision import Decision, Forward, NeedBody, NeedSession, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy.bodies import Unreadable
from gateway.policy.forms import form_fields, kind_of, methods_in_body
from gateway.policy.paths import parse_target
from gateway.policy.readings import NamedPaths
from gateway.policy.rules import Ruling


def decide(request: Request[RequestHead], rule: Callable[[Ruling], Decision]) -> Decision:
    """The decision by the methods and paths that the form names. `rule` decides by one ruling."""
    # SECURITY: `_method=DELETE` in a form is a DELETE to the upstream, and judged as one (B-35); so is `rest_route=/wp/v2/users` (C-66).
    rules, head, body, route = request.site.rules, request.head, request.body, request.matched
    target = parse_target(request.wire)
    judge = rules.strictest if route.named else rules.decide
    plain, strict = rule(route.ruling), rule(judge(head.method, target, route.form))
    if not isinstance(plain, Forward) or isinstance(strict, Forward):
        return plain
    if isinstance(strict, NeedSession):
        return strict
    unread = strict if isinstance(strict, Refuse) else Refuse(login_required(request.site), route.ruling.rule)
    try:
        kind = kind_of(head)
        if kind == "other" or (kind == "json" and not route.form):
            return plain
        if body is None:
            return NeedBody(unread)
        methods, named = methods_in_body(head, body), NamedPaths()
        if route.named:
            named = rules.model.named_by_form(form_fields(head, body, rules.model.words), target)
    except (Unreadable, BadRequest):
        return unread
    return rule(rules.decide(head.method, target, methods, named)) if methods or named else plain
