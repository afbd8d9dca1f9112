"""What an answer means, and what a row of the table comes to.

Pure. Each request carries a canary: whose cookie was sent, and a number of its own. The application answers with whom the gateway named to
it and with the number; both must come back. Times are seconds of one monotonic clock.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

SEEN_USER: Final = "x-seen-user"
SEEN_NUMBER: Final = "x-seen-number"
_TO_SIGN_IN: Final = (301, 302, 303, 307, 401)


class Meaning(Enum):
    RIGHT = "right"
    WRONG_USER = "wrong user"
    AFTER_REVOCATION = "after revocation"
    REFUSED = "refused"
    SIGNED_OUT = "signed out"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One request: `user` as whom it was sent, `number` its own."""

    user: str
    number: str
    sent_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`headers` by lower-case name. `code`: what a problem document calls the refusal."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a session: `doubtful_from`, a sign-out was sent; `over_from`, it was acknowledged."""

    doubtful_from: float | None = None
    over_from: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`late`: seconds between the acknowledged sign-out and the sending of a request that was accepted all the same."""

    meaning: Meaning
    kind: str = ""
    late: float = 0.0


def judge(
    canary: Canary, answer: Answer, standing: Standing, *, bound: float, application: Sequence[int] = (200,)
) -> Judgement:
    """What the answer to `canary` means. `bound`: how long after an acknowledged sign-out a request may still get through."""
    if SEEN_USER in answer.headers or answer.status in application:
        if not _carries(canary, answer):
            seen = f"{answer.headers.get(SEEN_USER)!r} {answer.headers.get(SEEN_NUMBER)!r}"
            return Judgement(Meaning.WRONG_USER, f"{canary.user} {canary.number} got {seen}")
        late = 0.0 if standing.over_from is None else max(canary.sent_at - standing.over_from, 0.0)
        return Judgement(Meaning.AFTER_REVOCATION if late > bound else Meaning.RIGHT, late=late)
    if answer.status in _TO_SIGN_IN:
        if standing.doubtful_from is not None or standing.over_from is not None:
            return Judgement(Meaning.REFUSED)
        return Judgement(Meaning.SIGNED_OUT, f"{answer.status} {answer.code}".strip())
    # A live session's cookie must stay in the browser whatever else is broken.
    if _takes_cookie(answer) and standing.doubtful_from is None and standing.over_from is None:
        return Judgement(Meaning.SIGNED_OUT, f"{answer.status} takes the cookie")
    return Judgement(Meaning.ERROR, f"{answer.status} {answer.code}".strip())


def _carries(canary: Canary, answer: Answer) -> bool:
    """Head and body speak of this person and this request, and of nobody else."""
    mark = f"{canary.user} {canary.number}\n".encode()
    whole = len(answer.body) // len(mark)
    return (
        answer.headers.get(SEEN_USER) == canary.user
        and answer.headers.get(SEEN_NUMBER) == canary.number
        and whole > 0
        and answer.body == mark * whole
    )


def _takes_cookie(answer: Answer) -> bool:
    given = answer.headers.get("set-cookie", "")
    return "doorward_session=;" in given


@dataclass(slots=True)
class Tally:
    """The judgements of a row, and when the last error was. `forgiving`: the store lost its data, so being signed out is none."""

    sent: int = 0
    meanings: Counter[Meaning] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    latest_error: float = float("-inf")
    latest_late: float = 0.0
    calm: int = 0  # right answers since the last error
    forgiving: bool = False

    def add(self, judgement: Judgement, at: float, *, about: str = "") -> None:
        self.sent += 1
        meaning = judgement.meaning
        self.meanings[meaning] += 1
        self.latest_late = max(self.latest_late, judgement.late)
        if meaning is Meaning.RIGHT:
            self.calm += 1
        if meaning is Meaning.ERROR:
            self.failed(f"{about}{judgement.kind}", at)
        elif meaning is Meaning.SIGNED_OUT and self.forgiving:
            return
        elif meaning in (Meaning.WRONG_USER, Meaning.SIGNED_OUT, Meaning.AFTER_REVOCATION):
            self.latest_error, self.calm = at, 0
            if len(self.examples) < 5:
                self.examples.append(
                    f"{meaning.value}: {judgement.kind}" + (f" {judgement.late:.2f} s late" if judgement.late else "")
                )

    def failed(self, kind: str, at: float) -> None:
        self.errors[kind] += 1
        self.latest_error, self.calm = max(self.latest_error, at), 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `lost`: sessions that their owner could not use any more; None: the store lost its data."""

    name: str
    sent: int
    wrong: int
    lost: int | None
    after_revocation: int
    revoked: int
    late: float
    errors: Mapping[str, int]
    recovery: float | None
    proof: str
    broken: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def unmet(self) -> list[str]:
        """Which musts are not met."""
        found = list(self.broken)
        if not self.sent:
            found.append("nothing was asked: the row shows nothing")
        if not self.proof:
            found.append("nothing proves that the fault took place")
        if self.wrong:
            found.append(f"{self.wrong} answers meant for somebody else")
        if self.lost:
            found.append(f"{self.lost} sessions lost")
        if self.after_revocation:
            found.append(f"{self.after_revocation} requests accepted after a sign-out")
        if self.recovery is None:
            found.append("it does not recover")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured besides faults: lines to print, and which musts are not met."""

    name: str
    lines: Sequence[str]
    unmet: Sequence[str] = ()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; nan without values."""
    ordered = sorted(values)
    return ordered[min(max(math.ceil(share * len(ordered)) - 1, 0), len(ordered) - 1)] if ordered else float("nan")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through the points with the least squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
