"""The password routes of one app: the requests that take, set, reset or go around a password.

The invariants: while they are closed, a request is refused when any upstream could read it as one of them, by its path, method, query or body;
a body that two servers could read in two ways counts as a password. The rules are data: packs/*.yaml, or an app's own list.
deploy/guides/nexudus.md, docs/threats.md C-12. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import yaml

from gateway.config.reading.packs import PACKS, pack_names
from gateway.config.schema import App, PackFile, PackRule, PasswordRule, PasswordWhen
from gateway.config.sections.password_rules import PasswordAnswer, PasswordKind
from gateway.errors.requests import BadRequest
from gateway.http.message import AUTHORIZATION_FIELDS, RequestHead
from gateway.policy.bodies import (
    BodyKind,
    Fields,
    Unreadable,
    body_kind,
    has_body,
    name_of,
    names_field,
    read_body,
    read_query,
    value_of,
)
from gateway.policy.cors import carries_credentials, is_only_a_preflight
from gateway.policy.credentials import password_in
from gateway.policy.forms import form_fields, may_be_form, methods_in_body
from gateway.policy.methods import SAFE, answers, overrides_in, possible_methods
from gateway.policy.paths import Target
from gateway.policy.readings import Model, Readings, is_wordpress, model_of
from gateway.policy.routes import RouteMatch, parse_match

_FETCHING = frozenset(("GET", "HEAD"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The request is a password request, or cannot be distinguished from one. `reason` is for people and the log."""

    rule: str
    kind: PasswordKind
    answer: PasswordAnswer
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsBody:
    """The match depends on the body. `unread` is the result where it cannot be read: too long, incomplete, not forwarded (forward-auth)."""

    unread: Blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRoute:
    """A compiled PasswordRule. `place` is its number in the app's list; names and values are as `bodies` compares them."""

    place: int
    name: str
    rule: PasswordRule
    match: RouteMatch
    form: Mapping[str, str]
    json: Mapping[str, str]
    query: Mapping[str, str]
    header: Mapping[str, str]
    known: Mapping[str, tuple[str, ...]]
    known_query: Mapping[str, tuple[str, ...]]
    kinds: frozenset[BodyKind]  # of the bodies that the rule reads
    beside: bool = False  # the path matches only without the extension of a static file
    by_body: bool = False  # the path matches only if the body names one that does

    def is_named(self, methods: frozenset[str]) -> bool:
        """Whether the rule is for one of these methods."""
        # SECURITY: a rule without methods is for every method there is, OPTIONS and unregistered ones too (C-77).
        return any(answers(self.match.methods, method) for method in methods)

    def answers_a_preflight(self, query: Fields) -> bool:
        """Whether an upstream that ignores the method could take a preflight for the password request itself."""
        if "OPTIONS" in self.match.methods or self.query or self.header:
            return True  # the rule names OPTIONS, or `agrees` found all that it needs
        if not self.kinds:
            return bool(query)  # any parameter may be a password
        wanted = (*self.form, *self.json, *self.known)
        return any(names_field(name, field) for name, _ in query for field in wanted)

    def agrees(self, head: RequestHead, query: Fields) -> bool:
        """Whether `when.query` and `when.header` of the rule hold."""
        fields = (
            [(name_of(name.decode("latin-1")), value.decode("latin-1")) for name, value in head.fields]
            if self.header
            else []
        )
        return _holds(self.query, query) and _holds(self.header, fields)

    def excuses(self, head: RequestHead, methods: frozenset[str], query: Fields, body: bytes | None) -> bool:
        """Whether each field of `known.query` is in the query once, with a value that is no password request."""
        # SECURITY: a form's field wins over the query's in some upstreams, so only what is read without a body is excused (B-35, C-12).
        if not self.known_query or not methods <= SAFE or has_body(head, body):
            return False
        return self._unknown(self.known_query, query) is None

    def matches_fields(self, fields: Fields) -> bool:
        """Whether `when.form` or `when.json` of the rule holds for these fields, of body and query together."""
        return any(_holds(wanted, fields) for wanted in (self.form, self.json) if wanted)

    def doubt(self, fields: Fields) -> str | None:
        """Why these fields may be a password request; None where they are certainly none."""
        names = [name for name, _ in fields]
        for wanted in (*self.form, *self.json):
            if names.count(wanted) > 1:
                return f"the field {wanted!r} is there more than once"
        unknown = self._unknown(self.known, fields)
        return None if unknown is None else f"the field {unknown!r} has no value that is known to be harmless"

    @staticmethod
    def _unknown(known: Mapping[str, tuple[str, ...]], fields: Fields) -> str | None:
        """The first of `known` that is not there exactly once with one of its values; None when all are."""
        for wanted, values in known.items():
            found = [value for name, value in fields if names_field(name, wanted)]
            if len(found) != 1 or found[0] not in values:
                return wanted
        return None

    def closed(self, method: str = "", doubt: str = "") -> Blocked:
        """The refusal. `answer: sign_in` holds only for a GET or HEAD that the rule names."""
        page = method in ("GET", "HEAD") and answers(self.match.methods, method)
        reason = self.rule.reason or f"a request of the kind {self.rule.kind}"
        return Blocked(
            rule=self.name,
            kind=self.rule.kind,
            answer=self.rule.answer if page else "refuse",
            reason=f"{reason} ({doubt})" if doubt else reason,
        )


class PasswordRoutes:
    """One app's password routes. `closed`: by the toggle of its surface; otherwise nothing matches."""

    def __init__(self, app: App, closed: bool) -> None:
        self.closed = closed
        self._schemes = frozenset(app.authorization_schemes)
        self._model = model_of(app)
        named = named_rules(app) if closed else ()
        self.rules = tuple(_compiled(place, name, rule, self._model) for place, (name, rule) in enumerate(named))
        self._by_body = (
            [replace(route, by_body=True) for route in self.rules if "/wp-json" in route.rule.match.lower()]
            if is_wordpress(app)
            else []
        )
        self._globs = tuple(route for route in self.rules if route.match.literal is None)
        self._literals: dict[str, list[PasswordRoute]] = {}
        for route in self.rules:
            if route.match.literal is not None:
                self._literals.setdefault(route.match.literal, []).append(route)

    def candidates(self, method: str, target: Target) -> tuple[PasswordRoute, ...]:
        """The rules for this path, in any reading and any language; those that name the method come first.

        The others count too, because a header field or a form may name another method.
        """
        found = self._found(self._model.read(target, languages=True))
        if method == "POST":
            for route in self._by_body:
                found.setdefault(route.place, route)
        return tuple(sorted(found.values(), key=lambda route: (not route.is_named(frozenset((method,))), route.place)))

    def _found(self, readings: Readings) -> dict[int, PasswordRoute]:
        """The rules for some reading, by place."""
        found: dict[int, PasswordRoute] = {}
        for path, reading in readings.paths.items():
            for route in self._rules_at(path):
                # A passwordless link may be a path alone, with any extension.
                if not reading.static or route.rule.kind == "passwordless":
                    found[route.place] = route
                else:
                    found.setdefault(route.place, replace(route, beside=True))
        if readings.any_page:
            found |= {route.place: route for route in self.rules if route.match.page}
        return found

    def match(
        self,
        candidates: Sequence[PasswordRoute],
        head: RequestHead,
        target: Target,
        body: bytes | None = None,
        *,
        body_hidden: bool = False,
    ) -> Blocked | NeedsBody | None:
        """Match the request against its `candidates`. None: it is no password request.

        `body` is the whole body, None where it was not read; `body_hidden`: there may be a body that is never read here (forward-auth).
        """
        query = read_query(target.query)
        if head.method == "OPTIONS":
            return _judge_options(candidates, head, query, body_hidden=body_hidden or bool(body))
        methods = possible_methods(head, query)
        # A plain GET of `/login.css` fetches a stylesheet (C-65).
        fetched = methods <= _FETCHING and not target.query and not has_body(head, body)
        routes = [
            route
            for route in candidates
            if not (route.beside and fetched)
            and route.agrees(head, query)
            and not route.excuses(head, methods, query, body)
        ]
        judged = _judge(routes, head, methods, query, body)
        if judged is not None or not (body_hidden or has_body(head, body)):
            return judged
        # SECURITY: `rest_route=/wp/v2/users/1` in the form of any POST is the REST API (C-66).
        routed = self._routed_by_body(routes, head, target, body)
        return _judge(routed, head, methods, query, body) if isinstance(routed, list) else routed

    def basic(self, head: RequestHead) -> Blocked | None:
        """The refusal of HTTP Basic and other schemes that carry a password or its proof, on any path. None: there is none."""
        if not self.closed or not head.authorization:
            return None
        named = ((name.lower(), value) for name, value in head.fields)
        found = password_in(((name, value) for name, value in named if name in AUTHORIZATION_FIELDS), self._schemes)
        return None if found is None else Blocked(rule=found[0], kind="password", answer="refuse", reason=found[1])

    def _rules_at(self, path: str) -> list[PasswordRoute]:
        return [*self._literals.get(path, ()), *(route for route in self._globs if route.match.lenient.fullmatch(path))]

    def _routed_by_body(
        self, routes: Sequence[PasswordRoute], head: RequestHead, target: Target, body: bytes | None
    ) -> list[PasswordRoute] | Blocked | NeedsBody:
        """The rules for the path that this request's form names."""
        routed = [route for route in routes if route.by_body]
        if not routed:
            return []
        first = routed[0]
        try:
            if not may_be_form(head):
                return []
            if body is None:
                return NeedsBody(unread=first.closed(doubt="the body could not be read"))
            named = self._model.named_by_form(form_fields(head, body, self._model.words), target)
            found = self._found(self._model.read(target, languages=True, named=named)) if named else {}
        except (Unreadable, BadRequest) as unreadable:
            return first.closed(doubt=str(unreadable))
        return [found[route.place] for route in routed if route.place in found]


@cache
def load_pack(name: str) -> tuple[PackRule, ...]:
    """The rules of a pack. Raises ValueError with the names of all packs."""
    if name not in pack_names():
        raise ValueError(f"{name!r} is not a rule pack; allowed: {', '.join(pack_names())}, or a list of rules")
    data = yaml.safe_load((PACKS / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(PackRule.model_validate(rule) for rule in data["rules"])


def named_rules(app: App) -> list[tuple[str, PasswordRule]]:
    """All rules of an app, in order, each with its name in logs and events."""
    named: list[tuple[str, PasswordRule]] = []
    for place, entry in enumerate(app.password_routes):
        if isinstance(entry, str):
            named += [(f"{entry}: {rule.match}", rule) for rule in load_pack(entry)]
        elif isinstance(entry, PackFile):
            named += [(f"{entry.file}: {rule.match}", rule) for rule in entry.rules]
        else:
            named.append((f"password_routes[{place}]: {entry.match}", entry))
    return named


def _judge(
    candidates: Sequence[PasswordRoute], head: RequestHead, methods: frozenset[str], query: Fields, body: bytes | None
) -> Blocked | NeedsBody | None:
    """Match by method, query and body."""
    routes = [route for route in candidates if not route.by_body]
    named = [route for route in routes if route.is_named(methods)]
    for route in named:
        if not route.kinds or route.matches_fields(query):
            return route.closed(head.method)
    if has_body(head, body):
        return _judge_body(routes, named, head, query, body)
    # SECURITY: where the body decides what a request is, a request without one may be a password request (C-12).
    doubtful = [route for route in named if route.known or head.method not in SAFE]
    return doubtful[0].closed(doubt="the request has no body") if doubtful else None


def _judge_options(
    candidates: Sequence[PasswordRoute], head: RequestHead, query: Fields, *, body_hidden: bool
) -> Blocked | None:
    """On a password route no OPTIONS passes but a preflight, for any methods of its rules. `body_hidden`: there may be a body."""
    routes = [route for route in candidates if route.agrees(head, query)]
    # SECURITY: upstreams that do not look at the method run the page for OPTIONS, body and all (C-77).
    if routes and (body_hidden or not is_only_a_preflight(head, query) or carries_credentials(head)):
        return routes[0].closed(doubt="an OPTIONS request that is more than a preflight")
    # SECURITY: a preflight must not run the page: nothing that the page could act on comes with it (C-77).
    return next((route.closed() for route in routes if route.answers_a_preflight(query)), None)


def _judge_body(
    routes: Sequence[PasswordRoute],
    named: Sequence[PasswordRoute],
    head: RequestHead,
    query: Fields,
    body: bytes | None,
) -> Blocked | NeedsBody | None:
    """Match by the body: the rules that name the method, and those whose method a form could name in `_method` (B-35)."""
    places = {route.place for route in named}
    others = [route for route in routes if route.place not in places and not route.match.methods <= SAFE]
    if not named and not others:
        return None
    first = (*named, *others)[0]
    try:
        kind = body_kind(head)
        if named and not any(kind in route.kinds for route in named):
            raise Unreadable(f"a body of the kind {kind} is not expected here")
        if body is None:
            return NeedsBody(unread=first.closed(doubt="the body could not be read"))
        # SECURITY: Laravel takes `_method` from JSON, too (C-67).
        if not named and kind == "json" and not methods_in_body(head, body):
            return None
        fields = [*query, *read_body(kind, body)]
    except Unreadable as unreadable:
        # SECURITY: what the upstream may read in another way counts as a password (C-12).
        return first.closed(doubt=str(unreadable))
    methods = overrides_in(fields)
    judged = [route for route in named if kind in route.kinds] + [route for route in others if route.is_named(methods)]
    for route in judged:
        if not route.kinds or route.matches_fields(fields):
            return route.closed()
    return next((route.closed(doubt=doubt) for route in judged if (doubt := route.doubt(fields)) is not None), None)


def _compiled(place: int, name: str, rule: PasswordRule, model: Model) -> PasswordRoute:
    when = rule.when or PasswordWhen()
    form, json = _comparable(when.form), _comparable(when.json_)
    known = {name_of(field): values for field, values in rule.known.form.items()}
    known_query = {name_of(field): values for field, values in rule.known.query.items()}
    kinds: tuple[tuple[BodyKind, bool], ...] = (("form", bool(form or known)), ("json", bool(json)))
    return PasswordRoute(
        place=place,
        name=name,
        rule=rule,
        match=parse_match(rule.match, model),
        form=form,
        json=json,
        query=_comparable(when.query),
        header=_comparable(when.header),
        known=known,
        known_query=known_query,
        kinds=frozenset(kind for kind, reads in kinds if reads),
    )


def _comparable(wanted: Mapping[str, str]) -> dict[str, str]:
    return {name_of(name): value_of(value) for name, value in wanted.items()}


def _holds(wanted: Mapping[str, str], fields: Fields) -> bool:
    """Whether each wanted field is there with its value; `*` is any value that is not blank."""
    return all(
        any(names_field(name, field) and _is(value, expected) for name, value in fields)
        for field, expected in wanted.items()
    )


def _is(value: str, expected: str) -> bool:
    compared = value_of(value)
    return bool(compared) if expected == "*" else compared == expected
