"""What is printed: a table for each row, and at its end which targets were reached."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.measuring import Sample, Samples, middle, ratio
from tests.bench.stage import LABELS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target of this project, and what was measured. `least`: the limit is from below."""

    what: str
    value: float
    limit: float
    unit: str = "x"
    least: bool = False
    remark: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        wanted = f"{'at least' if self.least else 'at most'} {self.limit:g} {self.unit}"
        judged = "reached" if self.reached else "NOT REACHED"
        remark = f" ({self.remark})" if self.remark else ""
        return f"{self.what}: {self.value:.2f} {self.unit}, {wanted}: {judged}{remark}"


@dataclass(frozen=True, slots=True)
class Result:
    """One row, measured."""

    lines: Sequence[str]
    verdicts: Sequence[Verdict] = ()


_HEAD = (
    f"{'':26}{'CPU us':>8}{'user/sys':>14}{'from..to':>16}{'ratio':>7}{'per s':>8}{'busy':>6}{'p50 ms':>9}{'p99 ms':>9}"
)


def compared(samples: Samples, reference: str = "nginx") -> list[str]:
    """A line for each target: medians over the rounds, ratios within each round."""
    lines = [_HEAD]
    for name, taken in samples.items():
        times = ratio(samples, name, reference) if reference in samples else float("nan")
        lines.append(_line(LABELS[name], taken, f"{times:.2f}"))
        wrong, count = sum(one.outcome.wrong for one in taken), sum(one.outcome.count for one in taken)
        if wrong:
            lines.append(f"{'':26}  WRONG: {wrong} answers of {count} were not as they should be")
    return lines


def _line(label: str, taken: Sequence[Sample], times: str) -> str:
    user = middle(taken, lambda one: one.cpu.user / (one.outcome.count or 1) * 1e6)
    system = middle(taken, lambda one: one.cpu.system / (one.outcome.count or 1) * 1e6)
    micros = sorted(one.micros for one in taken)
    spread = f"{micros[0]:.1f}..{micros[-1]:.1f}" if len(taken) > 1 else ""
    outcomes = [one.outcome for one in taken]
    p50, p99 = (sorted(getattr(one, name) for one in outcomes)[len(outcomes) // 2] for name in ("p50", "p99"))
    return (
        f"{label:26}{middle(taken, lambda one: one.micros):8.1f}{f'{user:.1f}/{system:.1f}':>14}{spread:>16}{times:>7}"
        f"{middle(taken, lambda one: one.outcome.rate):8.0f}{middle(taken, lambda one: one.busy):6.0%}{p50:9.2f}{p99:9.2f}"
    )
