"""Problem, Finding (which may become one), and the exception that carries all problems.

No text here contains a value of a secret. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to correct. `key` is a path as `apps.portal.rules[0].match`, or the name of an environment variable.

    `file` is the rule pack that the line is in; None: the configuration itself.
    """

    key: str
    what: str
    allowed: str = ""
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        text = f"{self.key}: {self.what}; {self.allowed}" if self.allowed else f"{self.key}: {self.what}"
        place = [self.file or "", "" if self.line is None else f"line {self.line}"]
        where = ", ".join(part for part in place if part)
        return f"{text} ({where})" if where else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem between keys. `reads`: the keys that it depends on; it is dropped where one of them is wrong itself."""

    key: str
    what: str
    allowed: str = ""
    reads: tuple[str, ...] = ()

    def depends_on(self, broken: Iterable[str]) -> bool:
        return any(overlap(mine, other) for mine in (self.key, *self.reads) for other in broken)


class ConfigInvalid(Exception):
    """The configuration cannot be used. `problems` are all of its problems, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.line is None, problem.file or "", problem.line or 0))
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shown(path: Iterable[str | int]) -> str:
    """A path as people write it: `apps.portal.rules[0].match`.

    Of an unexpected key only the start that looks like one: `client_secret:hunter2`, its blank forgotten, is a secret.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = re.sub(r"(?s)([\w.-]{0,64}).*", r"\1", part)
            name = part if name == part else name + "…"
            text += f".{name}" if text else name
    return text


def overlap(one: str, other: str) -> bool:
    """Whether a path is another one, stands above it or below it."""
    return one == other or is_below(one, other) or is_below(other, one)


def is_below(path: str, above: str) -> bool:
    """Whether a path is inside of another one."""
    return path.startswith((above + ".", above + "["))


def with_parents(path: str) -> Iterator[str]:
    """The path, then what it stands in, up to the top."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
