"""`METHODS PATH-GLOB`, compiled: which requests a rule of the configuration is about.

Pure. `*` stands for anything within a segment, `**` for any number of segments, and `X/**` holds for `X` too. Every pattern matches whole
paths, and in linear time whatever the path: each wildcard takes the earliest place that fits and never gives it back.
The invariant: what opens (`holds_exactly`) needs the canonical path and all its readings, what restricts (`may_hold`) any one of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from gateway.config.values import parse_route
from gateway.errors import BadRequest
from gateway.policy.methods import SAFE, answers
from gateway.policy.paths import Target, parse_target


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """`methods`: none means any. `exact` is compared with canonical paths, `folded` with readings.

    `literal` is the one reading that `folded` matches; None when it has wildcards.
    """

    methods: frozenset[str]
    literal: str | None
    exact: re.Pattern[str]
    folded: re.Pattern[str]

    def holds_exactly(self, methods: Iterable[str], target: Target) -> bool:
        """Whether this opens the target: for each of these methods, as it stands and however it may be read."""
        # SECURITY: an open `/assets/*.css` must not open `/admin;.css` or `/admin%23.css` (C-03, C-04, C-05, C-10).
        return (
            all(answers(self.methods, method) for method in methods)
            and self.exact.fullmatch(target.path) is not None
            and all(self.folded.fullmatch(reading) for reading in target.readings)
        )

    def may_hold(self, methods: frozenset[str], target: Target) -> bool:
        """Whether a lenient upstream could take the target for one of these routes."""
        if not any(answers(self.methods, method) for method in methods):
            return False
        # `/app.css` is a static file to everyone who only reads; what writes to it may mean `/app`.
        readings = target.pages if methods <= SAFE else target.stems
        return self.exact.fullmatch(target.path) is not None or any(
            self.folded.fullmatch(reading) for reading in readings
        )


def parse_match(text: str) -> RouteMatch:
    """`GET,POST /x/**` to its RouteMatch. Raises ValueError with what is allowed."""
    methods, glob = parse_route(text)
    try:
        canonical = parse_target(glob.encode())
    except BadRequest as refusal:
        raise ValueError(
            f"{glob!r} is not a plain path ({refusal.detail}); allowed: a path as /x, /x/*.css or /x/**"
        ) from refusal
    if canonical.query is not None:
        raise ValueError(f"{glob!r} holds a query; allowed: a path as /x, /x/*.css or /x/**")
    folded = canonical.folded
    return RouteMatch(
        methods=methods,
        literal=None if "*" in folded else folded,
        exact=_compile(canonical.path),
        folded=_compile(folded),
    )


def _compile(glob: str) -> re.Pattern[str]:
    """A glob to a pattern for `fullmatch`. Groups are atomic: the earliest fit of all but the last piece is as good as any later."""
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
