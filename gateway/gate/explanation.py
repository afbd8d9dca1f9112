"""The steps of one decision in words, in the order in which the gate takes them: what each of them asked, and what it found.

Nothing is decided here: the gate decides, and its parts are asked again, one by one, for what they say.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.config.schema import OpenID, Surface
from gateway.errors.requests import BadRequest
from gateway.gate.admission import decide
from gateway.gate.decision import is_by_break_glass
from gateway.gate.request import Request
from gateway.gate.site import Route, Site, change_of_protocol
from gateway.http.message import RequestHead
from gateway.policy.bodies import has_body, read_query
from gateway.policy.break_glass import ActiveOpening, Opening
from gateway.policy.cors import is_only_a_preflight
from gateway.policy.passwords import Blocked, NeedsBody
from gateway.policy.paths import Target, parse_target
from gateway.policy.rules import Requirement, Ruling
from gateway.policy.step_up import is_fresh
from gateway.sessions.live import LiveSession

Step = tuple[str, str]

_TOGGLES: Final[dict[Surface, str]] = {
    "portal": "prevent_password_login",
    "dashboard": "prevent_dashboard_password_login",
    "shared": "prevent_password_login or prevent_dashboard_password_login",
}


def reasons(request: Request[RequestHead], openid: OpenID) -> list[Step]:
    """One step a line. Nothing where the target can be read in two ways: the decision says so."""
    site, head, live, body = request.site, request.head, request.session, request.body
    try:
        target = parse_target(head.target)
        route = site.find_route(head.method, head.target.partition(b"?")[0], target.query or b"", head.upgrade)
    except BadRequest:
        return []
    own = "yes: no rule concerns them, and no request for them reaches an upstream" if route.own else "not one of ours"
    steps = [("1 own paths", own)]
    if route.own:
        return steps
    ruling = route.ruling
    return [
        *steps,
        *_preflight(site, head, target),
        ("2 password doors", _password_routes(site, openid, route, head, target, body)),
        ("3 break-glass", _break_glass(request)),
        *_rules(site, head, target, ruling),
        ("6 require", _require(ruling, live)),
        ("7 step-up", _step_up(site, ruling, live, request.now)),
    ]


def _preflight(site: Site, head: RequestHead, target: Target) -> list[Step]:
    """Nothing where no preflight is asked for."""
    if head.method != "OPTIONS":
        return []
    keys = "answered here" if site.cors is not None else "pass" if site.preflight_passes else "refuse"
    if not is_only_a_preflight(head, read_query(target.query)):
        return [("preflight", f"no, more or less than one (cors_preflight: {keys})")]
    if site.cors is None:
        return [("preflight", f"yes (cors_preflight: {keys})")]
    opened = len(site.cors.readable(head)) > 1
    return [
        (
            "preflight",
            f"yes, and answered here: its origin is {'allowed' if opened else 'not allowed'}; 2 to 7 are not asked",
        )
    ]


def _password_routes(
    site: Site, openid: OpenID, route: Route, head: RequestHead, target: Target, body: bytes | None
) -> str:
    toggle = _TOGGLES[site.app.surface]
    if not site.password_routes.closed:
        return "open: openid.enabled is off" if not openid.enabled else f"open: {toggle} is off"
    basic = site.password_routes.basic(head)
    if basic is not None:
        return f"shut: {basic.reason}"
    if not route.password_routes:
        return f"closed by {toggle}; no rule is about this path and method"
    watching = f"closed by {toggle}; watched by {_joined(door.name for door in route.password_routes)}"
    judged = site.password_routes.match(route.password_routes, head, target, body)
    if isinstance(judged, NeedsBody):
        return f"{watching}: the body must be read first"
    if isinstance(judged, Blocked):
        return f"{watching}: shut by {judged.rule} ({judged.kind}, answer {judged.answer}): {judged.reason}"
    read = " and its body" if has_body(head, body) else ""
    return f"{watching}: let pass, what it says{read} is none of their requests"


def _break_glass(request: Request[RequestHead]) -> str:
    """What becomes of a request without a session from a range that is open."""
    site, now = request.site, request.now
    opening = Opening(
        id="", app=site.route.name, networks=(), opened_at=now, ends_at=now + timedelta(hours=1), reason="", by=""
    )
    glass = ActiveOpening(opening=opening, deadline=0.0)
    question = Request(site, request.head, None, None, now, body=request.body, session_looked_up=True, opening=glass)
    decision = decide(question)
    if is_by_break_glass(decision):
        return "while it is open, its range gets here without a session, past the doors and the app's require"
    return "makes no difference here"


def _rules(site: Site, head: RequestHead, target: Target, ruling: Ruling) -> list[Step]:
    change = change_of_protocol(head.upgrade if head.upgrade in site.upgrades else None)
    restricting, opening = site.rules.named(head.method, target, change)
    if restricting:
        return [("4 rules", _joined(restricting)), ("5 public", "not asked: a rule restricts this")]
    public = f"{ruling.rule} opens it" if ruling.public else "no entry names this path in every reading"
    return [("4 rules", "none names this path and method"), ("5 public", _joined(opening) or public)]


def _require(ruling: Ruling, live: LiveSession | None) -> str:
    if ruling.public:
        return "not asked: it is public"
    if not ruling.requirements:
        return "nothing but being signed in"
    return _joined(_requirement(each, live) for each in ruling.requirements)


def _requirement(requirement: Requirement, live: LiveSession | None) -> str:
    kinds = {
        "groups": requirement.groups,
        "emails": requirement.emails,
        "email_domains": requirement.email_domains,
    }
    wanted = " and ".join(
        f"{name} {_joined(sorted(some)) or '(none can do)'}" for name, some in kinds.items() if some is not None
    )
    if live is None:
        return f"{requirement.rule}: {wanted}: nobody is signed in"
    return f"{requirement.rule}: {wanted}: {'not met' if requirement.unmet(live.session.identity) else 'met'}"


def _step_up(site: Site, ruling: Ruling, live: LiveSession | None, now: datetime) -> str:
    wishes = []
    if ruling.max_age is not None:
        wishes.append(f"a sign-in within the last {int(ruling.max_age.total_seconds())} s")
    if ruling.acr:
        wishes.append(f"acr {' or '.join(ruling.acr)}")
    if not wishes:
        return "no rule asks for a fresher or stronger sign-in"
    if live is None:
        return f"{_joined(wishes)}: nobody is signed in"
    session = live.session
    fresh = is_fresh(ruling, session.auth_time, session.acr, now, site.clock_skew)
    return f"{_joined(wishes)}: {'met' if fresh else 'not met'}"


def _joined(parts: Iterable[str] | Sequence[str]) -> str:
    return ", ".join(parts)
