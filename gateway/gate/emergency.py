"""Step 5: break-glass. An opening stands in for a session, never for a narrower rule. Pure."""

from gateway.gate.decision import Decision, Forward, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy.break_glass import ActiveOpening, rule_of
from gateway.policy.rules import APP_WIDE, Ruling


def widen(
    request: Request[RequestHead], decision: Decision, ruling: Ruling, opening: ActiveOpening, *, closed: bool
) -> Decision:
    """What becomes of a request from an open range: it needs no session, but gets no identity that it does not have.

    `decision` is the one without break-glass, past the password routes; `closed`: a closed password route is here. A rule that
    restricts by itself goes on doing so: it is narrower than the app's `require`, which the application's own login stands in for, and
    the application may not know it.
    """
    rule = rule_of(opening.opening)
    if type(decision) is Forward:
        without_opening = (decision.live is not None or ruling.public) and not closed
        return decision if without_opening else Forward(request.wire, decision.live, rule)
    # SECURITY: `/admin` asks for its group whatever is open: without a session, nobody there has it (C-20).
    narrow = (
        any(each.rule != APP_WIDE for each in ruling.requirements) or ruling.max_age is not None or bool(ruling.acr)
    )
    if narrow or not isinstance(decision, RedirectToSignIn | Refuse):
        return decision
    return Forward(request.wire, None, rule)
