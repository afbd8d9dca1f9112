"""The steps of one decision in words, in the gate's order: what each step checks, and its result.

The gate decides; this module calls its parts once more, one by one, to describe them.
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
    """The steps, one a line. Empty for an ambiguous target, which the decision itself names."""
    site, head, session, body = request.site, request.head, request.session, request.body
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
        ("2 password routes", _password_routes(site, openid, route, head, target, body)),
        ("3 break-glass", _break_glass(request)),
        *_rules(site, head, target, ruling),
        ("6 require", _require(ruling, session)),
        ("7 step-up", _step_up(site, ruling, session, request.now)),
        *_programs(site, ruling),
    ]


def _preflight(site: Site, head: RequestHead, target: Target) -> list[Step]:
    """Empty for any method but OPTIONS."""
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
    if site.is_console:
        return "not asked: no toggle and no password rule is about the console"
    toggle = _TOGGLES[site.app.surface]
    if not site.password_routes.closed:
        return "open: openid.enabled is off" if not openid.enabled else f"open: {toggle} is off"
    basic = site.password_routes.basic(head)
    if basic is not None:
        return f"refused: {basic.reason}"
    if not route.password_routes:
        return f"closed by {toggle}; no rule is about this path and method"
    matched = f"closed by {toggle}; path of {_joined(candidate.name for candidate in route.password_routes)}"
    judged = site.password_routes.match(route.password_routes, head, target, body)
    if isinstance(judged, NeedsBody):
        return f"{matched}: the body must be read first"
    if isinstance(judged, Blocked):
        return f"{matched}: refused by {judged.rule} ({judged.kind}, answer {judged.answer}): {judged.reason}"
    read = ", query and body are" if has_body(head, body) else " and query are"
    return f"{matched}: passes, its method{read} not those of a password request"


def _break_glass(request: Request[RequestHead]) -> str:
    """The decision about a request without a session from an open range."""
    site, now = request.site, request.now
    if site.is_console:
        return "never opens the console"
    opening = Opening(
        id="", app=site.route.name, networks=(), opened_at=now, ends_at=now + timedelta(hours=1), reason="", by=""
    )
    active = ActiveOpening(opening=opening, deadline=0.0)
    decision = decide(
        Request(site, request.head, None, None, now, body=request.body, session_looked_up=True, opening=active)
    )
    if is_by_break_glass(decision):
        return "while it is open, its range is admitted without a session, by password routes and the app's require"
    return "makes no difference here"


def _rules(site: Site, head: RequestHead, target: Target, ruling: Ruling) -> list[Step]:
    change = change_of_protocol(head.upgrade if head.upgrade in site.upgrades else None)
    restricting, opening = site.rules.named(head.method, target, change)
    if restricting:
        return [("4 rules", _joined(restricting)), ("5 public", "not asked: a rule restricts this")]
    public = f"{ruling.rule} opens it" if ruling.public else "no entry names this path in every reading"
    return [("4 rules", "none names this path and method"), ("5 public", _joined(opening) or public)]


def _require(ruling: Ruling, session: LiveSession | None) -> str:
    if ruling.public:
        return "not asked: it is public"
    if not ruling.requirements:
        return "nothing but being signed in"
    return _joined(_requirement(each, session) for each in ruling.requirements)


def _requirement(requirement: Requirement, session: LiveSession | None) -> str:
    kinds = {
        "groups": requirement.groups,
        "emails": requirement.emails,
        "email_domains": requirement.email_domains,
    }
    wanted = " and ".join(
        f"{name} {_joined(sorted(some)) or '(none can do)'}" for name, some in kinds.items() if some is not None
    )
    if session is None:
        return f"{requirement.rule}: {wanted}: no session"
    return f"{requirement.rule}: {wanted}: {'not met' if requirement.unmet(session.session.identity) else 'met'}"


def _step_up(site: Site, ruling: Ruling, session: LiveSession | None, now: datetime) -> str:
    wishes = []
    if ruling.max_age is not None:
        wishes.append(f"a sign-in within the last {int(ruling.max_age.total_seconds())} s")
    if ruling.acr:
        wishes.append(f"acr {' or '.join(ruling.acr)}")
    if not wishes:
        return "no rule asks for a fresher or stronger sign-in"
    if session is None:
        return f"{_joined(wishes)}: no session"
    fresh = is_fresh(ruling, session.session.auth_time, session.session.acr, now, site.clock_skew)
    return f"{_joined(wishes)}: {'met' if fresh else 'not met'}"


def _programs(site: Site, ruling: Ruling) -> list[Step]:
    """Empty where the app takes no access tokens."""
    if site.app.bearer is None or ruling.public:
        return []
    scopes = f", with the scopes {' '.join(sorted(ruling.scopes))}" if ruling.scopes else ""
    programs = f"may, with an access token{scopes}" if ruling.programs else "may not"
    return [("8 programs", f"{programs}; a person with a session {'may' if ruling.persons else 'may not'}")]


def _joined(parts: Iterable[str] | Sequence[str]) -> str:
    return ", ".join(parts)
