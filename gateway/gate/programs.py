"""Step 4 for a request with an access token of ours: the same rules, for a program in place of a session. Pure."""

from gateway.bearer.presented import in_query
from gateway.errors.access import StepUpRequired
from gateway.errors.bearer import (
    ProgramsForbidden,
    ScopeInsufficient,
    TokenPersonForbidden,
    TokenRefused,
    TokenRequestInvalid,
)
from gateway.gate.decision import Decision, Forward, NeedSession, NeedToken, Refuse
from gateway.gate.request import Request
from gateway.http.message import RequestHead
from gateway.policy.bodies import read_query
from gateway.policy.rules import Ruling
from gateway.policy.step_up import is_fresh, step_up_of
from gateway.sessions.session import Session

RULE = "bearer"


def refusal_of_form(request: Request[RequestHead]) -> Refuse | None:
    """Why the request is refused for the way in which it brings a token of ours, on any route; None: it is not."""
    token, bearer = request.token, request.site.app.bearer
    if token is not None and token.malformed:
        return Refuse(TokenRequestInvalid("a token of ours beside other credentials"), RULE)
    # SECURITY: an address ends in histories, logs and Referer fields: a token in one is a leaked one (D-38).
    if bearer is not None and request.query and in_query(read_query(request.query), request.site.token_issuers):
        return Refuse(TokenRequestInvalid("a token of ours in the query"), RULE)
    return None


def decide(request: Request[RequestHead], ruling: Ruling) -> Decision | None:
    """The decision about a request with a token, on a route that is not public. None: the token is not ours, and a session comes with it.

    Adds the route's bit to `session.met` where the token meets the ruling.
    """
    token = request.token
    assert token is not None
    if request.session_key is not None:
        if request.session is None and not request.session_looked_up:
            return NeedSession(request.session_key)
        if request.session is not None:
            # SECURITY: a request names one person: of two, the application could be given one and act for the other (D-36).
            if token.certain:
                return Refuse(TokenRequestInvalid("a token of ours beside a live session"), ruling.rule)
            request.token = None
            return None
    if not ruling.programs:
        return Refuse(ProgramsForbidden(), ruling.rule)
    program = request.program
    if program is None:
        return NeedToken(token)
    live, bit = program.session, request.matched.bit
    if not live.met & bit:
        refusal = _unmet(request, ruling, live.session, program.scopes)
        if refusal is not None:
            return Refuse(refusal, ruling.rule)
    live.met |= bit
    return Forward(request.wire, live, ruling.rule)


def _unmet(
    request: Request[RequestHead], ruling: Ruling, session: Session, scopes: frozenset[str]
) -> TokenRefused | StepUpRequired | None:
    if not ruling.scopes <= scopes:
        missing = ", ".join(sorted(ruling.scopes - scopes))
        return ScopeInsufficient(f"without {missing}", scope=" ".join(sorted(ruling.scopes)))
    for requirement in ruling.requirements:
        reason = requirement.unmet(session.identity)
        if reason is not None:
            return TokenPersonForbidden(reason)
    if is_fresh(ruling, session.auth_time, session.acr, request.now, request.site.clock_skew):
        return None
    step_up = step_up_of(ruling)
    return StepUpRequired(
        "the token is of an older or weaker sign-in", max_age=step_up.max_age, acr_values=" ".join(step_up.acr)
    )
