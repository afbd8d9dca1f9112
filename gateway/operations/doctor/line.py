"""One line of the check-up."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """WARNING works today, and is worth a change. UNKNOWN cannot be told from this machine. Only BROKEN makes an exit status of 1."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`name` is the part that was looked at, `means` a sentence, `action` what to do, empty where nothing is. `addresses` are for copying."""

    name: str
    state: State
    means: str
    action: str = ""
    addresses: tuple[str, ...] = ()


def ok(name: str, means: str) -> Line:
    return Line(name=name, state=State.OK, means=means)


def warning(name: str, means: str, action: str) -> Line:
    return Line(name=name, state=State.WARNING, means=means, action=action)


def unknown(name: str, means: str, action: str = "") -> Line:
    return Line(name=name, state=State.UNKNOWN, means=means, action=action)


def broken(name: str, means: str, action: str) -> Line:
    return Line(name=name, state=State.BROKEN, means=means, action=action)


def worst(lines: Iterable[Line]) -> State:
    """The worst state of all lines; OK where there is none."""
    order = list(State)
    return max((line.state for line in lines), key=order.index, default=State.OK)
