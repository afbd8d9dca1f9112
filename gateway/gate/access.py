"""Step 4: public routes, rules, the app's `require`, step-up. Pure."""

from gateway.errors.access import Forbidden, FormLost, LoginRequired, SignInDisabled, StepUpRequired
from gateway.gate import programs
from gateway.gate.decision import Decision, Forward, NeedSession, RedirectToSignIn, Refuse
from gateway.gate.request import Request
from gateway.gate.site import START, Site, start_url
from gateway.http.message import RequestHead, is_navigation
from gateway.identity.claims import Identity
from gateway.policy.bodies import read_query
from gateway.policy.cors import is_only_a_preflight
from gateway.policy.rules import Ruling
from gateway.policy.step_up import is_fresh, step_up_of
from gateway.sessions.session import Session


def decide(request: Request[RequestHead], ruling: Ruling) -> Decision:
    """The decision that a ruling makes for this request. Adds the route's bit to `session.met` where the session meets the ruling."""
    site, session = request.site, request.session
    if not site.enabled:
        return _without_sign_in(request, ruling)
    # SECURITY: a request whose body is hidden may be more than a preflight (C-77).
    passes = site.preflight_passes and not request.body_hidden
    if ruling.public or (passes and is_only_a_preflight(request.head, read_query(request.query))):
        return Forward(request.wire, None, ruling.rule)
    if request.token is not None:
        decision = programs.decide(request, ruling)
        if decision is not None:
            return decision
    if session is None:
        if request.session_key is not None and not request.session_looked_up:
            return NeedSession(request.session_key)
        return _without_session(request, ruling)
    bit = request.matched.bit
    if not session.met & bit and _restricts(ruling):
        refusal = _unmet(request, ruling, session.session)
        if refusal is not None:
            return refusal
    session.met |= bit
    return Forward(request.wire, session, ruling.rule)


def login_required(site: Site) -> LoginRequired:
    """The refusal of a request without a session."""
    return LoginRequired(sign_in_url=site.route.origin + START)


def account_of(identity: Identity) -> str:
    """The name of a person on a page: the e-mail address, else the first of preferred_username, name and subject."""
    return identity.email or identity.preferred_username or identity.name or identity.subject


def _restricts(ruling: Ruling) -> bool:
    return bool(ruling.requirements) or ruling.conditions


def _without_sign_in(request: Request[RequestHead], ruling: Ruling) -> Decision:
    """`openid.enabled: false`: a plain proxy, where no requirement can be met (docs/interface.md "Access rules")."""
    if not ruling.public and _restricts(ruling):
        return Refuse(SignInDisabled("openid.enabled is off"), ruling.rule)
    return Forward(request.wire, None, ruling.rule)


def _without_session(request: Request[RequestHead], ruling: Ruling) -> Decision:
    site, head = request.site, request.head
    if site.app.unauthenticated == "pass" and not _restricts(ruling):
        return Forward(request.wire, None, ruling.rule)
    if not ruling.persons or not is_navigation(head):
        return Refuse(login_required(site), ruling.rule)
    if head.method not in ("GET", "HEAD"):
        # No redirect: it would drop what a person typed.
        start = sign_in_url(request, referring_page(site, head) or "/", step_up=bool(step_up_of(ruling)))
        return Refuse(FormLost(sign_in_url=start), ruling.rule)
    return RedirectToSignIn(request.wire.decode(), ruling.rule, step_up_of(ruling))


def sign_in_url(request: Request[RequestHead], return_to: str, *, step_up: bool) -> str:
    """The URL of a sign-in that ends on `return_to`; with `step_up` it satisfies the rules of this request."""
    route = request.matched
    return request.site.route.origin + start_url(
        return_to, step_up_for=f"{route.method} {route.path}" if step_up else None
    )


def _unmet(request: Request[RequestHead], ruling: Ruling, session: Session) -> Decision | None:
    """The refusal of a session that does not meet the ruling, or the sign-in that would. None: it does."""
    site, head = request.site, request.head
    if not ruling.persons:
        switch = site.route.origin + start_url("/")
        refused = Forbidden("only programs may", account=account_of(session.identity), switch_url=switch)
        return Refuse(refused, ruling.rule)
    for requirement in ruling.requirements:
        reason = requirement.unmet(session.identity)
        if reason is not None:
            switch = start_url(_page_of(request), "select_account", provider=_provider_of(site, session))
            forbidden = Forbidden(reason, account=account_of(session.identity), switch_url=site.route.origin + switch)
            return Refuse(forbidden, ruling.rule)
    if is_fresh(ruling, session.auth_time, session.acr, request.now, site.clock_skew):
        return None
    step_up = step_up_of(ruling)
    if is_navigation(head) and head.method in ("GET", "HEAD"):
        return RedirectToSignIn(request.wire.decode(), ruling.rule, step_up, session.provider)
    # The URL of a sign-in that satisfies the rule and ends on the page that sent the request.
    path = request.wire.partition(b"?")[0].decode()
    back = referring_page(site, head) or "/"
    start = start_url(back, step_up_for=f"{head.method} {path}", provider=_provider_of(site, session))
    refusal = StepUpRequired(
        _lacks(ruling, session), sign_in_url=site.route.origin + start, max_age=step_up.max_age,
        acr_values=" ".join(step_up.acr),
    )  # fmt: skip
    return Refuse(refusal, ruling.rule)


def _provider_of(site: Site, session: Session) -> str | None:
    """The provider to name in a link, where the app has several."""
    return session.provider if len(site.providers) > 1 else None


def _lacks(ruling: Ruling, session: Session) -> str:
    """What the sign-in lacks, for the log."""
    weak = bool(ruling.acr) and session.acr not in ruling.acr
    return f"the sign-in's acr is {session.acr!r}" if weak else f"the sign-in was at {session.auth_time}"


def _page_of(request: Request[RequestHead]) -> str:
    """The page that a navigation asked for, or the one that sent any other request."""
    if request.head.method in ("GET", "HEAD") and is_navigation(request.head):
        return request.wire.decode()
    return referring_page(request.site, request.head) or "/"


def referring_page(site: Site, head: RequestHead) -> str | None:
    """The page of this origin that sent the request; `/oauth2/start` validates it again (A-50)."""
    referrer = (head.first(b"referer") or b"").decode("latin-1")
    return referrer.removeprefix(site.route.origin) if referrer.startswith(site.route.origin + "/") else None
