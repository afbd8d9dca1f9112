"""The gate: one request's admission, decided here and nowhere else.

`admit(site, head, ...) -> Forward | RedirectToSignIn | Refuse | Own | NeedSession | NeedBody`. The data plane, `/oauth2/auth` and
`doorward explain` all ask it. The order is docs/interface.md's: our own paths, password doors, rules, public, the app's `require`.
What is forwarded is the canonical target that was judged. With the session in the worker's cache the answer comes without
waiting; what is missing is asked for by name (`NeedSession`, `NeedBody`), fetched by the caller, and the gate is asked again.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial

from gateway.config.schema import Config
from gateway.errors import (
    BadRequest,
    Forbidden,
    LoginRequired,
    OwnLoginClosed,
    RouteBlocked,
    SignInDisabled,
    StepUpRequired,
    UnknownHost,
)
from gateway.gate.decision import (
    AnswerPreflight,
    Decision,
    Forward,
    NeedBody,
    NeedSession,
    Own,
    RedirectToSignIn,
    Refuse,
    is_by_break_glass,
)
from gateway.gate.site import AppRoute, Route, Site
from gateway.http.message import RequestHead, is_navigation
from gateway.identity.claims import Identity
from gateway.policy.bodies import Unreadable, has_body, read_query
from gateway.policy.break_glass import ActiveOpening, rule_of
from gateway.policy.cors import RULE as CORS
from gateway.policy.elsewhere import COPY_AND_MOVE, named_elsewhere
from gateway.policy.forms import asked_by_body, form_fields, kind_of
from gateway.policy.passwords import Blocked, NeedsBody
from gateway.policy.paths import parse_target
from gateway.policy.preflights import is_only_a_preflight
from gateway.policy.readings import NamedPaths
from gateway.policy.rules import APP_WIDE, Ruling
from gateway.policy.step_up import is_fresh, start_query, step_up_of
from gateway.sessions.cache import LiveSession
from gateway.sessions.session import Session

__all__ = [
    "AnswerPreflight",
    "Decision",
    "Forward",
    "Gate",
    "NeedBody",
    "NeedSession",
    "Own",
    "RedirectToSignIn",
    "Refuse",
    "account_of",
    "is_by_break_glass",
]


class Gate:
    """All sites by host."""

    def __init__(self, routes: Iterable[AppRoute], config: Config) -> None:
        self.sites = {route.host: Site(route, config) for route in routes}

    def site(self, host: str) -> Site:
        """Raises UnknownHost: no host is anybody's default (C-13)."""
        site = self.sites.get(host)
        if site is None:
            raise UnknownHost(host)
        return site

    @staticmethod
    def passes(verdict: Route, head: RequestHead, live: LiveSession) -> bool:
        """Whether `admit` would say Forward(its path, live, its rule), known without asking again: it said so before.

        A verdict has a bit only where nothing but the session decides, and the bit is in `met` only since this very session
        met the ruling. Never for a request with Authorization: that may be a password. False says nothing: ask `admit`.
        """
        return live.met & verdict.bit != 0 and not head.authorization

    @staticmethod
    def meets(verdict: Route, head: RequestHead, live: LiveSession) -> bool:
        """The same for a session that may not have met the ruling yet; from here on it has. False says nothing: ask `admit`."""
        if not verdict.bit or head.authorization:
            return False
        for requirement in verdict.ruling.requirements:
            if requirement.unmet(live.session.identity) is not None:
                return False
        live.met |= verdict.bit
        return True

    @staticmethod
    def asks_for_session(verdict: Route, head: RequestHead) -> bool:
        """Whether `admit` would say NeedSession to whoever has a key, before the session is at hand. False says nothing: ask `admit`."""
        return verdict.bit != 0 and not head.authorization

    def admit(
        self,
        site: Site,
        head: RequestHead,
        key: str | None,
        live: LiveSession | None,
        *,
        now: datetime,
        body: bytes | None = None,
        known: bool = False,
        unseen: bool = False,
        past_doors: bool = False,
        glass: ActiveOpening | None = None,
    ) -> Decision:
        """One request's admission.

        `key` is the session key of the cookie, None without one; `live` the session found for it, if any; `known` says that the
        store was asked, so a missing session really is missing. `body` is the whole body when it was asked for;
        `unseen` says that there may be one which nobody will ever give us (forward-auth).
        `past_doors`: a door is opened for this one request, whose link is the person's own; all else holds.
        `glass`: the request comes from where break-glass is open.
        """
        if head.elsewhere:
            judge = partial(
                self.admit, site, key=key, live=live, now=now, body=body, known=known, unseen=unseen, past_doors=past_doors, glass=glass,
            )  # fmt: skip
            return _with_elsewhere(site, head, judge)
        try:
            verdict, wire, query = _read(site, head)
        except BadRequest as unclear:
            return Refuse(unclear, "target")
        if verdict.own:
            return Own(verdict.path, wire)
        # Before the doors: nothing of it reaches the application, and the request that it asks about is judged when it comes.
        if site.cors is not None and not unseen and is_only_a_preflight(head, read_query(query)):
            return AnswerPreflight(site.cors.preflight(head), CORS)
        glass = glass if site.enabled else None
        watched = site.enabled and site.doors.closed and bool(verdict.doors or head.authorization)
        if watched and glass is None and not past_doors:
            decision = _door(site, verdict, head, wire, key, live, body, known, unseen)
            if decision is not None:
                return decision

        def settle(ruling: Ruling) -> Decision:
            settled = _settled(site, verdict, head, ruling, wire, query, key, live, now, known, unseen)
            return settled if glass is None else _with_break_glass(settled, ruling, wire, glass, watched=watched)

        if (verdict.form or verdict.named) and (unseen or has_body(head, body)):
            return _by_form(site, verdict, head, wire, body, settle)
        return settle(verdict.ruling)


def _read(site: Site, head: RequestHead) -> tuple[Route, bytes, bytes]:
    """What method and target decide; the target as it is forwarded, and its query. Raises AmbiguousTarget or BadRequest."""
    raw_path, mark, query = head.target.partition(b"?")
    verdict = site.verdict(head.method, raw_path, query, head.upgrade)
    if mark and (b"#" in query or not query.isascii()):
        query = parse_target(head.target).query or b""
    return verdict, verdict.path.encode() + mark + query, query


def _with_elsewhere(site: Site, head: RequestHead, judge: Callable[[RequestHead], Decision]) -> Decision:
    """A request that names other resources beside its target: each is judged as the target is, for the same person and method."""
    decision = judge(head.at(head.target))
    if not isinstance(decision, Forward):
        return decision
    try:
        named = named_elsewhere(head.elsewhere, site.route.host)
    except BadRequest as unclear:
        return Refuse(unclear, "target")
    for each in named:
        # A query or a form may ask for one of the two methods that read Destination, whatever the request's own is.
        methods = {head.method, *(COPY_AND_MOVE if each.is_destination else ())}
        for method in (head.method,) if head.method in COPY_AND_MOVE else sorted(methods):
            # SECURITY: a MOVE or COPY from a path that is allowed writes to one that is not (C-64).
            other = judge(head.at(each.target, method))
            if not isinstance(other, Forward):
                return _refused_elsewhere(site, other)
            if each.is_destination:
                decision = replace(decision, destination=each.start + other.wire)
            elif other.wire != each.target:
                return Refuse(BadRequest("If names a resource in a spelling that is not canonical"), "target")
            if is_by_break_glass(other):
                decision = replace(decision, rule=other.rule)
    return decision


def _refused_elsewhere(site: Site, decision: Decision) -> Decision:
    """What a refusal of another resource is to the request: no way to sign in to a page that nobody asked for."""
    if isinstance(decision, RedirectToSignIn):
        return Refuse(_login(site), decision.rule)
    if isinstance(decision, Own):
        return Refuse(Forbidden("a path of ours is named beside the target"), "own path")
    return decision


def _settled(
    site: Site,
    verdict: Route,
    head: RequestHead,
    ruling: Ruling,
    wire: bytes,
    query: bytes,
    key: str | None,
    live: LiveSession | None,
    now: datetime,
    known: bool,
    unseen: bool,
) -> Decision:
    """What a ruling comes to for whoever asks."""
    if not site.enabled:
        return _without_sign_in(ruling, wire)
    # SECURITY: where nobody can say that there is no body, nobody can say that it is a preflight (C-77).
    if ruling.public or (site.preflight_passes and not unseen and is_only_a_preflight(head, read_query(query))):
        return Forward(wire, None, ruling.rule)
    if live is None:
        if key is not None and not known:
            return NeedSession(key)
        return _strangers(site, head, ruling, wire)
    if not live.met & verdict.bit and (ruling.requirements or ruling.max_age is not None or ruling.acr):
        refusal = _unmet(site, head, ruling, wire, live.session, now)
        if refusal is not None:
            return refusal
    live.met |= verdict.bit
    return Forward(wire, live, ruling.rule)


def _by_form(
    site: Site,
    verdict: Route,
    head: RequestHead,
    wire: bytes,
    body: bytes | None,
    settle: Callable[[Ruling], Decision],
) -> Decision:
    """A POST whose form may ask the upstream to take it for another method or path. It is read only where that would be refused."""
    # SECURITY: `_method=DELETE` in a form is a DELETE to the upstream, and judged as one (B-35); so is `rest_route=/wp/v2/users` (C-66).
    target, rules = parse_target(wire), site.rules
    judge = rules.strictest if verdict.named else rules.decide
    plain, strict = settle(verdict.ruling), settle(judge(head.method, target, verdict.form))
    if not isinstance(plain, Forward) or isinstance(strict, Forward):
        return plain
    if isinstance(strict, NeedSession):
        return strict
    unread = strict if isinstance(strict, Refuse) else Refuse(_login(site), verdict.ruling.rule)
    try:
        kind = kind_of(head)
        if kind == "other" or (kind == "json" and not verdict.form):
            return plain
        if body is None:
            return NeedBody(unread)
        asked, named = asked_by_body(head, body), NamedPaths()
        if verdict.named:
            named = rules.model.named_by_form(form_fields(head, body, rules.model.words), target)
    except (Unreadable, BadRequest):
        return unread
    return settle(rules.decide(head.method, target, asked, named)) if asked or named else plain


def _without_sign_in(ruling: Ruling, wire: bytes) -> Decision:
    """`enabled: off`: a plain proxy; what needs a person cannot be met (docs/interface.md "Access rules")."""
    if not ruling.public and (ruling.requirements or ruling.max_age is not None or ruling.acr):
        return Refuse(SignInDisabled("openid.enabled is off"), ruling.rule)
    return Forward(wire, None, ruling.rule)


def _with_break_glass(
    decision: Decision, ruling: Ruling, wire: bytes, glass: ActiveOpening, *, watched: bool
) -> Decision:
    """For somebody in the range, while it is open: nobody needs a session, but no identity is lent to anybody.

    `decision` is what would become of them where no door is shut; `watched`: a door stands here. A rule that restricts by itself goes on
    doing so: it is narrower than the app's `require`, which the application's own login stands in for, and the application may not know it.
    """
    if type(decision) is Forward:
        by_themselves = (decision.live is not None or ruling.public) and not watched
        return decision if by_themselves else Forward(wire, decision.live, rule_of(glass.opening))
    # SECURITY: `/admin` asks for its group whatever is open: without a session, nobody there has it (C-20).
    narrow = (
        any(each.rule != APP_WIDE for each in ruling.requirements) or ruling.max_age is not None or bool(ruling.acr)
    )
    if narrow or not isinstance(decision, RedirectToSignIn | Refuse):
        return decision
    return Forward(wire, None, rule_of(glass.opening))


def _door(
    site: Site,
    verdict: Route,
    head: RequestHead,
    wire: bytes,
    key: str | None,
    live: LiveSession | None,
    body: bytes | None,
    known: bool,
    unseen: bool,
) -> Decision | None:
    """Whether a password door stands here and is shut. None: nothing to do with passwords."""
    closed = site.doors.basic(head)
    if closed is None and verdict.doors:
        judged = site.doors.judge(verdict.doors, head, parse_target(wire), body, unseen=unseen)
        if isinstance(judged, NeedsBody):
            return NeedBody(Refuse(_blocked(site, judged.unread), judged.unread.rule))
        closed = judged
    if closed is None:
        return None
    if closed.answer == "sign_in" and is_navigation(head) and head.method in ("GET", "HEAD"):
        if live is not None:
            account = account_of(live.session.identity)
            return Refuse(OwnLoginClosed(closed.reason, kind=closed.kind, account=account), closed.rule)
        if key is not None and not known:
            return NeedSession(key)
        return RedirectToSignIn("/", closed.rule)  # back to a blocked page would be blocked again
    return Refuse(_blocked(site, closed), closed.rule)


def _blocked(site: Site, closed: Blocked) -> RouteBlocked:
    return RouteBlocked(closed.reason, kind=closed.kind, sign_in_url=site.route.origin + "/oauth2/start")


def _strangers(site: Site, head: RequestHead, ruling: Ruling, wire: bytes) -> Decision:
    """Nobody is signed in."""
    needs = bool(ruling.requirements) or ruling.max_age is not None or bool(ruling.acr)
    if site.app.unauthenticated == "pass" and not needs:
        return Forward(wire, None, ruling.rule)
    if is_navigation(head):
        there = wire.decode() if head.method in ("GET", "HEAD") else "/"
        return RedirectToSignIn(there, ruling.rule, step_up_of(ruling))
    return Refuse(_login(site), ruling.rule)


def _login(site: Site) -> LoginRequired:
    return LoginRequired(sign_in_url=site.route.origin + "/oauth2/start")


def _unmet(
    site: Site, head: RequestHead, ruling: Ruling, wire: bytes, session: Session, now: datetime
) -> Decision | None:
    """What a signed-in person still lacks. None: nothing."""
    for requirement in ruling.requirements:
        reason = requirement.unmet(session.identity)
        if reason is not None:
            switch = site.route.origin + "/oauth2/start?prompt=select_account"
            return Refuse(Forbidden(reason, account=account_of(session.identity), switch_url=switch), ruling.rule)
    if is_fresh(ruling, session.auth_time, session.acr, now, site.clock_skew):
        return None
    asked = step_up_of(ruling)
    if is_navigation(head) and head.method in ("GET", "HEAD"):
        return RedirectToSignIn(wire.decode(), ruling.rule, asked, session.provider)
    # Whoever follows this signs in as the rule wants it, and lands on the page that they were on.
    start = site.route.origin + "/oauth2/start" + start_query(_page_before(site, head), head.method, _path(wire))
    start += f"&provider={session.provider}" if len(site.providers) > 1 else ""
    refusal = StepUpRequired(
        _lacks(ruling, session), sign_in_url=start, max_age=asked.max_age, acr_values=" ".join(asked.acr)
    )
    return Refuse(refusal, ruling.rule)


def _lacks(ruling: Ruling, session: Session) -> str:
    """For the log."""
    weak = bool(ruling.acr) and session.acr not in ruling.acr
    return f"the sign-in's acr is {session.acr!r}" if weak else f"the sign-in was at {session.auth_time}"


def _path(wire: bytes) -> str:
    return wire.partition(b"?")[0].decode()


def _page_before(site: Site, head: RequestHead) -> str | None:
    """The page of this origin that sent the request; judged again where it leads anybody (A-50)."""
    referrer = (head.first(b"referer") or b"").decode("latin-1")
    return referrer.removeprefix(site.route.origin) if referrer.startswith(site.route.origin + "/") else None


def account_of(identity: Identity) -> str:
    """How a page names the person: the address they signed in with, or the best there is."""
    return identity.email or identity.preferred_username or identity.name or identity.subject
