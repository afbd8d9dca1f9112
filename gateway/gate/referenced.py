"""Resources that a request names beside its target: `Destination` of COPY and MOVE, and the tagged lists of `If` (RFC 4918). Pure.

Each is judged like the target, for the same person and method.
"""

from collections.abc import Callable
from dataclasses import replace

from msgspec import structs

from gateway.errors.access import Forbidden
from gateway.errors.requests import BadRequest
from gateway.gate.access import login_required
from gateway.gate.decision import Decision, Forward, Own, RedirectToSignIn, Refuse, is_by_break_glass
from gateway.gate.request import Request
from gateway.gate.site import Site
from gateway.http.message import RequestHead
from gateway.policy.references import COPY_AND_MOVE, referenced_resources


def decide(request: Request[RequestHead], decide_alone: Callable[[Request[RequestHead]], Decision]) -> Decision:
    """The decision about the target and every resource that the request names. `decide_alone` decides about one target."""
    head, site = request.head, request.site

    def judge(target: bytes, method: str = "") -> Decision:
        return decide_alone(structs.replace(request, head=head.at(target, method)))

    decision = judge(head.target)
    if not isinstance(decision, Forward):
        return decision
    try:
        resources = referenced_resources(head.references, site.route.host)
    except BadRequest as unclear:
        return Refuse(unclear, "target")
    for each in resources:
        # A query or a form may ask for one of the two methods that read Destination, with any method of its own.
        methods = {head.method, *(COPY_AND_MOVE if each.is_destination else ())}
        for method in (head.method,) if head.method in COPY_AND_MOVE else sorted(methods):
            # SECURITY: a MOVE or COPY from a path that is allowed writes to one that is not (C-64).
            other = judge(each.target, method)
            if not isinstance(other, Forward):
                return _refused(site, other)
            if each.is_destination:
                decision = replace(decision, destination=each.start + other.wire)
            elif other.wire != each.target:
                return Refuse(BadRequest("If names a resource in a spelling that is not canonical"), "target")
            if is_by_break_glass(other):
                decision = replace(decision, rule=other.rule)
    return decision


def _refused(site: Site, decision: Decision) -> Decision:
    """The refusal of a request because of another resource: no redirect to a sign-in, which could not return there."""
    if isinstance(decision, RedirectToSignIn):
        return Refuse(login_required(site), decision.rule)
    if isinstance(decision, Own):
        return Refuse(Forbidden("a path of ours is named beside the target"), "own path")
    return decision
