"""The access rules of one app, compiled, and the ruling about a method and a target.

The invariants: every rule that may match a target restricts it, in any reading and by any method that an upstream may take the request for;
a public route opens a target only if it matches every reading, and never one that another rule restricts; a rule adds to the app's `require`.
The order is `rules`, `public`, the app's `require`. docs/threats.md C-03, C-05, C-10, C-20, A-59, B-35. Pure.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.config.schema import App, Require, Rule
from gateway.config.sections.bearer import Programs
from gateway.identity.claims import Identity
from gateway.policy.forms import USUAL
from gateway.policy.methods import CHANGES_OF_PROTOCOL, overrides_in_query
from gateway.policy.paths import Target
from gateway.policy.readings import Model, NamedPaths, Readings, is_wordpress, model_of
from gateway.policy.routes import RouteMatch, parse_match

#: The name of the app's own `require`, where a rule has its own or `rules[N]`.
APP_WIDE: Final = "require"
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a person must have: one entry of every set. None: not required. An empty set: never met."""

    rule: str = APP_WIDE
    groups: frozenset[str] | None = None
    emails: frozenset[str] | None = None
    email_domains: frozenset[str] | None = None

    def unmet(self, identity: Identity) -> str | None:
        """What the person lacks, for the log; None where the requirement is met."""
        if self.groups is not None and self.groups.isdisjoint(identity.groups):
            return f"{self.rule}: none of the groups {_listed(self.groups)}"
        address = _address(identity.vouched_email)
        unverified = "" if address is not None or identity.email is None else ", and the address is not verified"
        if self.emails is not None and (address is None or "@".join(address) not in self.emails):
            return f"{self.rule}: not one of the e-mail addresses{unverified}"
        if self.email_domains is not None and (address is None or address[1] not in self.email_domains):
            return f"{self.rule}: none of the e-mail domains {_listed(self.email_domains)}{unverified}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the rules require for a method and a target. `rule` names the rule that decided.

    All `requirements` must be met. `persons`: whether a session may; `programs`: whether an access token may,
    one with all of `scopes`. `max_age` is the longest time since the person's authentication; of the authentication context classes
    `acr` one is needed, where there are any.
    """

    rule: str
    public: bool
    requirements: tuple[Requirement, ...] = ()
    max_age: timedelta | None = None
    acr: tuple[str, ...] = ()
    persons: bool = True
    programs: bool = False
    scopes: frozenset[str] = frozenset()

    @property
    def conditions(self) -> bool:
        """Whether it takes more than `requirements`: a fresh or strong sign-in, a program, a scope."""
        return self.max_age is not None or bool(self.acr) or not self.persons or bool(self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CompiledRule:
    name: str
    routes: tuple[RouteMatch, ...]
    requirement: Requirement | None
    max_age: timedelta | None
    acr: tuple[str, ...]
    programs: Programs | None
    scopes: frozenset[str]

    def lets_in(self, methods: frozenset[str], readings: Readings) -> bool:
        """Whether the rule lets programs in: it says so, and holds in every reading of the path."""
        if self.programs not in ("only", "also"):
            return False
        return any(route.holds_exactly(methods, readings) for route in self.routes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    name: str
    route: RouteMatch


class RouteRules:
    """One app's rules. `by_method`: some rule names methods, so that a method override could change the ruling (B-35).
    `by_form`: a form can name the path, so that rules for other paths may match."""

    def __init__(self, app: App) -> None:
        self.model = model_of(app)
        self._rules = tuple(_compiled(name, rule, self.model) for name, rule in restricting_rules(app))
        self._openings = (
            *(
                _Opening(name=name, route=parse_match(text))
                for name, rule in _named(app)
                if _opens(rule)
                for text in rule.match
            ),
            *(_Opening(name=f"public[{place}]", route=parse_match(text)) for place, text in enumerate(app.public)),
        )
        self._app_wide = requirement_of(APP_WIDE, app.require)
        self._programs: Programs = app.bearer.default if app.bearer is not None else "never"
        routes = [route for rule in self._rules for route in rule.routes] + [
            opening.route for opening in self._openings
        ]
        self._named = USUAL.union(*(route.methods for route in routes)) - CHANGES_OF_PROTOCOL
        self.by_method = any(route.methods for route in routes)
        self._forms = app.form_methods == "read"
        self.by_form = self._forms and is_wordpress(app) and bool(self._rules or self._openings)

    def form_methods(self, method: str, target: Target) -> frozenset[str]:
        """The methods that a form could name in a POST and that have another ruling."""
        if method != "POST" or not (self.by_method and self._forms):
            return frozenset()
        readings = self.model.read(target)
        methods = frozenset((method,)) | overrides_in_query(target.query)
        ruling = self._decide(methods, readings)
        return frozenset(other for other in self._named if self._decide(methods | {other}, readings) != ruling)

    def decide(
        self, method: str, target: Target, also: frozenset[str] = frozenset(), named: NamedPaths | None = None
    ) -> Ruling:
        """The ruling for a method and a target, also for the methods that the query names and for those of `also`.

        `named`: the paths that the body names. Raises BadRequest for a path that has too many readings.
        """
        # SECURITY: the method that decides is any that the upstream could act on (B-35).
        methods = frozenset((method,)) | overrides_in_query(target.query) | also
        return self._decide(methods, self.model.read(target, named=named))

    def strictest(self, method: str, target: Target, also: frozenset[str] = frozenset()) -> Ruling:
        """The strictest ruling that a form could lead to, which may name any path and any method of `also`."""
        methods = frozenset((method,)) | overrides_in_query(target.query) | also
        readings = self.model.read(target)
        matched = [
            rule
            for rule in self._rules
            if any(
                route.may_hold(methods, readings) or (route.by_form and route.answers(methods)) for route in rule.routes
            )
        ]
        # SECURITY: a form that could name any path opens nothing to programs (D-39).
        return self._restricted(matched, ()) if matched else self._plain()

    def _decide(self, methods: frozenset[str], readings: Readings) -> Ruling:
        matched = [rule for rule in self._rules if any(route.may_hold(methods, readings) for route in rule.routes)]
        if matched:
            return self._restricted(matched, [rule for rule in matched if rule.lets_in(methods, readings)])
        for opening in self._openings:
            if opening.route.holds_exactly(methods, readings):
                return Ruling(rule=opening.name, public=True)
        return self._plain()

    def _plain(self) -> Ruling:
        """The ruling where no rule matches."""
        persons, programs = self._programs != "only", self._programs != "never"
        if self._app_wide is None:
            return Ruling(rule="default", public=False, persons=persons, programs=programs)
        requirements = (self._app_wide,)
        return Ruling(
            rule=self._app_wide.rule, public=False, requirements=requirements, persons=persons, programs=programs
        )

    def named(self, method: str, target: Target, also: frozenset[str] = frozenset()) -> tuple[list[str], list[str]]:
        """The names of the rules that restrict a method and a target, and of the entries that would open it; for explanations."""
        methods = frozenset((method,)) | overrides_in_query(target.query) | also
        readings = self.model.read(target)
        restricting = [
            rule.name for rule in self._rules if any(route.may_hold(methods, readings) for route in rule.routes)
        ]
        return restricting, [one.name for one in self._openings if one.route.holds_exactly(methods, readings)]

    def _restricted(self, matched: Sequence[_CompiledRule], letting_in: Sequence[_CompiledRule]) -> Ruling:
        """`letting_in`: those of `matched` that let programs in."""
        requirements = (self._app_wide, *(rule.requirement for rule in matched))
        acr, contradiction = _common([rule.acr for rule in matched if rule.acr])
        ages = [rule.max_age for rule in matched if rule.max_age is not None]
        said = {rule.programs for rule in matched if rule.programs is not None}
        by_default = not said and self._programs != "never"
        # SECURITY: `never` holds in any reading of the path, and what lets programs in must hold in every one (D-39).
        programs = "never" not in said and (by_default or bool(letting_in))
        return Ruling(
            rule=matched[0].name,
            public=False,
            requirements=(*(each for each in requirements if each is not None), *contradiction),
            max_age=min(ages, default=None),
            acr=acr,
            persons="only" not in (said or {self._programs}),
            programs=programs,
            scopes=frozenset().union(*(rule.scopes for rule in matched)),
        )


def restricting_rules(app: App) -> list[tuple[str, Rule]]:
    """The rules of an app that restrict, each with its name in logs and events."""
    return [(name, rule) for name, rule in _named(app) if not _opens(rule)]


def _named(app: App) -> list[tuple[str, Rule]]:
    return [(rule.name or f"rules[{place}]", rule) for place, rule in enumerate(app.rules)]


def _opens(rule: Rule) -> bool:
    """`public: true`, unless the same rule restricts."""
    restricts = rule.max_age is not None or rule.acr or rule.programs is not None or rule.scopes
    return rule.public and requirement_of("", rule.require) is None and not restricts


def _compiled(name: str, rule: Rule, model: Model) -> _CompiledRule:
    return _CompiledRule(
        name=name,
        routes=tuple(parse_match(text, model) for text in rule.match),
        requirement=requirement_of(name, rule.require),
        max_age=rule.max_age,
        acr=rule.acr,
        programs=rule.programs,
        scopes=frozenset(rule.scopes),
    )


def requirement_of(name: str, require: Require) -> Requirement | None:
    """`require` under the name of its rule; None where it requires nothing."""
    if not (require.groups or require.emails or require.email_domains):
        return None
    domains = (domain.removeprefix("@") for domain in require.email_domains)
    return Requirement(
        rule=name,
        groups=frozenset(require.groups) if require.groups else None,
        emails=_lowered(require.emails) if require.emails else None,
        email_domains=_lowered(domains) if require.email_domains else None,
    )


def _lowered(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text.translate(_LOWER) for text in texts)


def _address(email: str | None) -> tuple[str, str] | None:
    """Local part and domain of an address with exactly one @; ASCII letters without case."""
    # SECURITY: `a@evil.com@company.com` is at no domain, and a Kelvin sign is no k.
    if email is None or email.count("@") != 1:
        return None
    local, _, domain = (email.lower() if email.isascii() else email.translate(_LOWER)).partition("@")
    return (local, domain) if local and domain else None


def _common(wishes: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], tuple[Requirement, ...]]:
    """The context classes that satisfy every rule; where there are none, a requirement that is never met."""
    if not wishes:
        return (), ()
    common = tuple(acr for acr in wishes[0] if all(acr in wish for wish in wishes))
    if common:
        return common, ()
    return (), (Requirement(rule="acr", groups=frozenset()),)


def _listed(entries: frozenset[str]) -> str:
    return ", ".join(sorted(entries)) or "(none can do)"
