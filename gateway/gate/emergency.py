"""Step 5: break-glass. An opening stands in for a session, never for a narrower rule. Pure."""

from gateway.gate.decision import Decision, Forward, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy.break_glass import ActiveOpening, rule_of
from gateway.policy.rules import APP_WIDE, Ruling


def widen(
    request: Request[RequestHead], decision: Decision, ruling: Ruling, opening: ActiveOpening, *, closed: bool
) -> Decision:
    """The decision about a request from an open range: it needs no session, and gets no identity without one.

    `decision` is the one without break-glass and without password routes; `closed`: the request matches a closed password route. A rule of
    `rules` that restricts still holds: the application's own login replaces the app's `require`, but the application may not know the rule.
    """
    rule = rule_of(opening.opening)
    if type(decision) is Forward:
        without_opening = (decision.session is not None or ruling.public) and not closed
        return decision if without_opening else Forward(request.wire, decision.session, rule)
    # SECURITY: `/admin` needs its group during break-glass too: a request without a session has no groups (C-20).
    narrow = ruling.conditions or any(each.rule != APP_WIDE for each in ruling.requirements)
    if narrow or not isinstance(decision, RedirectToSignIn | Refuse):
        return decision
    return Forward(request.wire, None, rule)
