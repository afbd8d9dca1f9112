"""Interleaved rounds: every target once a round, so that whatever the machine does meets all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from tests.bench import cores
from tests.bench.cores import Cpu
from tests.bench.load import Outcome
from tests.bench.stage import Target

_RUN_SECONDS: Final = 540.0
_QUICK_SECONDS: Final = 100.0


class Plan:
    """How much is measured. `over()`: no new round may begin."""

    def __init__(self, *, quick: bool, rounds: int | None, seconds: float | None) -> None:
        self.quick = quick
        self.rounds = rounds or (1 if quick else 3)
        self.seconds = seconds
        self._end = time.monotonic() + (_QUICK_SECONDS if quick else _RUN_SECONDS)

    def over(self) -> bool:
        return time.monotonic() > self._end

    def lasting(self, seconds: float) -> float:
        """How long a load lasts that should last `seconds`."""
        return 1.0 if self.quick else self.seconds or seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One load on one target, and what the target's processes used for it."""

    outcome: Outcome
    cpu: Cpu
    wall: float

    @property
    def micros(self) -> float:
        """CPU microseconds a request."""
        return self.cpu.total / self.outcome.count * 1e6 if self.outcome.count else float("inf")

    @property
    def busy(self) -> float:
        """Share of one core while the load was on."""
        return self.cpu.total / self.outcome.seconds if self.outcome.seconds else 0.0


Samples = Mapping[str, Sequence[Sample]]


def sample(pids: Sequence[int], load: Callable[[], Outcome]) -> Sample:
    before, began = cores.cpu(pids), time.monotonic()
    outcome = load()
    return Sample(outcome, cores.cpu(pids) - before, time.monotonic() - began)


def interleaved(
    plan: Plan,
    targets: Sequence[Target],
    load: Callable[[Target], Outcome],
    before: Callable[[Target], None] = lambda _: None,
) -> Samples:
    """All rounds; every other one goes backwards. `before` is not measured."""
    taken: dict[str, list[Sample]] = {target.name: [] for target in targets}
    for number in range(plan.rounds):
        if number and plan.over():
            break
        for target in targets if number % 2 == 0 else targets[::-1]:
            before(target)
            taken[target.name].append(sample(target.pids, partial(load, target)))
    return taken


def middle(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    return median(value(one) for one in samples)


def ratio(samples: Samples, one: str, other: str, value: Callable[[Sample], float] = lambda each: each.micros) -> float:
    """The median over the rounds of `one` by `other` in the same round."""
    return median(value(a) / value(b) for a, b in zip(samples[one], samples[other], strict=True))
