"""`METHODS PATH-GLOB`, compiled: which requests a rule of the configuration matches.

`*` stands for anything within a segment, `**` for any number of segments, and `X/**` matches `X` too. Every pattern matches whole paths in
linear time: each wildcard takes the earliest place that fits, without backtracking. The invariant: an entry that opens (`holds_exactly`) must
match the canonical path and all readings of it, one that restricts (`may_hold`) any one reading. Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from gateway.config.values import parse_entry
from gateway.errors.requests import BadRequest
from gateway.policy.methods import CHANGES_OF_PROTOCOL, answers
from gateway.policy.paths import parse_target
from gateway.policy.readings import EVERY, SCRIPTS, Model, Readings
from gateway.policy.servers import Trait

_SCRIPT = re.compile(rf"\.{SCRIPTS}\Z")
#: What a name may be sent without: a program's extension, or a document's.
_LEFT_OUT = re.compile(rf"(?P<stem>[^/]*[^/*.][^/]*)\.{SCRIPTS}\Z")
_DOCUMENT = re.compile(r"(?:index|default)(?:\.[a-z0-9]+)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """`methods`: none means any. `exact` is compared with canonical paths, `folded` with readings.

    `lenient` matches more readings than `folded`: for `/login.php` also `/login`, where the extension may be left out. `literal` is the one
    reading that `lenient` matches; None where there may be more. `script`: the route names a program itself; `page`: it may be a page that a
    request can name by its number; `by_form`: a form may name it.
    """

    methods: frozenset[str]
    literal: str | None
    exact: re.Pattern[str]
    folded: re.Pattern[str]
    lenient: re.Pattern[str]
    script: bool
    page: bool
    by_form: bool

    def answers(self, methods: Iterable[str]) -> bool:
        """Whether the route is for one of the methods."""
        return any(answers(self.methods, method) for method in methods)

    def holds_exactly(self, methods: Iterable[str], readings: Readings) -> bool:
        """Whether an entry with this route opens the target: it matches for each of the methods and in every reading."""
        wanted = frozenset(methods)
        change = wanted & CHANGES_OF_PROTOCOL
        if change:
            # SECURITY: neither GET nor `*` makes a handshake public; WEBSOCKET does, and the handshake alone (C-19).
            if not change <= self.methods:
                return False
            wanted -= change | {"GET"}
        # SECURITY: an open `/assets/*.css` must not open `/admin;.css` or `/admin%23.css` (C-03, C-04, C-05, C-10), and an open `/assets/**` not
        # `/assets/index.php/admin` (C-65) or `/assets/x?rest_route=/wp/v2/users` (C-66).
        return (
            all(answers(self.methods, method) for method in wanted)
            and self.exact.fullmatch(readings.canonical) is not None
            and all(self.folded.fullmatch(reading) for reading in readings.opening)
            and (self.script or all(self.folded.fullmatch(reading) for reading in readings.scripts))
            and not readings.any_page
        )

    def may_hold(self, methods: frozenset[str], readings: Readings) -> bool:
        """Whether some upstream could read the target, by one of the methods, as a path of this route."""
        if not self.answers(methods):
            return False
        return (
            self.exact.fullmatch(readings.canonical) is not None
            or any(self.lenient.fullmatch(reading) for reading in readings.paths)
            or (readings.any_page and self.page)
        )


def parse_match(text: str, model: Model = EVERY) -> RouteMatch:
    """The RouteMatch of `GET,POST /x/**`. `model` decides which extensions may be left out. Raises ValueError with what is allowed."""
    methods, glob = parse_entry(text)
    try:
        canonical = parse_target(glob.encode())
    except BadRequest as refusal:
        raise ValueError(
            f"{glob!r} is not a plain path ({refusal.detail}); allowed: a path as /x, /x/*.css or /x/**"
        ) from refusal
    if canonical.query is not None:
        raise ValueError(f"{glob!r} holds a query; allowed: a path as /x, /x/*.css or /x/**")
    folded = canonical.folded
    others = _left_out(folded, model)
    scripts = [segment for segment in folded.split("/") if _SCRIPT.search(segment)]
    return RouteMatch(
        methods=methods,
        literal=None if "*" in folded or others else folded,
        exact=_compile(canonical.path),
        folded=_compile(folded),
        lenient=re.compile("|".join(_compile(each).pattern for each in (folded, *others)), re.DOTALL),
        script=any("*" not in segment for segment in scripts),
        page=not scripts and "/wp-" not in folded,
        by_form=not scripts and ("/wp-" not in folded or "/wp-json" in folded),
    )


def _left_out(glob: str, model: Model) -> list[str]:
    """The globs of the same resource, where a name is sent without its extension, or a folder without its document."""
    segments = glob.split("/")
    place = len(segments) - 1 - (segments[-1] == "**" and len(segments) > 2)
    before, name = segments[:place], segments[place]
    others = []
    # SECURITY: `/login` and `/login/x` run `login.php` under MultiViews, `/x/` is `/x/index.php` (C-65).
    if model.traits & Trait.BARE and (match := _LEFT_OUT.match(name)) is not None:
        others.append("/".join((*before, match["stem"], "**")))
    if model.traits & (Trait.INDEX | Trait.ACTION) and _DOCUMENT.match(name) is not None:
        others.append("/".join(before) or "/")
    if model.traits & Trait.ACTION and before == [""] and name == "home":
        others.append("/")
    return others


def _compile(glob: str) -> re.Pattern[str]:
    """The pattern of a glob, for `fullmatch`. Groups are atomic: for all pieces but the last the earliest fit is as good as a later one."""
    runs = [
        (wild, list(segments)) for wild, segments in groupby(glob.split("/")[1:], key=lambda segment: segment == "**")
    ]
    pattern = ""
    for place, (wild, segments) in enumerate(runs):
        if not wild:
            piece = "".join("/" + _compile_segment(segment) for segment in segments)
            after = place > 0
            last = place == len(runs) - 1
            pattern += piece if not after else f"(?:/[^/]*+)*?{piece}" if last else f"(?>(?:/[^/]*+)*?{piece}(?=/|\\Z))"
        elif place == len(runs) - 1:
            pattern += "(?:/.*)?"
    return re.compile(pattern, re.DOTALL)


def _compile_segment(segment: str) -> str:
    first, *rest = (re.escape(piece) for piece in segment.split("*"))
    if not rest:
        return first
    *between, last = rest
    return first + "".join(f"(?>[^/]*?{piece})" for piece in between) + f"[^/]*{last}(?=/|\\Z)"
