"""Fires every knock at a door, some at a time and so many a second, and gathers what came back."""

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.schema import PasswordRule
from gateway.errors.requests import UnknownHost
from gateway.operations.probe.knocks import Knock, basic_knocks, knocks
from gateway.operations.probe.reading import HOLES, ProbeVerdict, ResponseReader, problem_of, read
from gateway.operations.probe.wire import Place, ask

FASTEST: Final = 5000
#: Requests as they are, whatever the sampling.
ALWAYS: Final = ("as it is", "method", "OPTIONS")
_AT_ONCE: Final = 16
_ATTEMPTS: Final = 2  # one that got no answer is asked once more


class NoDoor(Exception):
    """There is no Doorward to probe; the text says what there is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One knock, and what the door said."""

    place: Place
    knock: Knock
    reading: ResponseReader

    @property
    def hole(self) -> bool:
        return self.reading.verdict in HOLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything that was fired, in its order."""

    shots: tuple[Shot, ...]

    @property
    def holes(self) -> list[Shot]:
        return [shot for shot in self.shots if shot.hole]

    @property
    def unanswered(self) -> list[Shot]:
        return [shot for shot in self.shots if shot.reading.verdict is ProbeVerdict.UNKNOWN]

    @property
    def status(self) -> int:
        """The exit status: 1 where one got through, 2 where that cannot be said of all, else 0."""
        return 1 if self.holes else 2 if self.unanswered else 0

    def rows(self) -> list[tuple[str, str, Counter[ProbeVerdict]]]:
        """Host, rule and how many of each verdict, in the order of firing."""
        found: dict[tuple[str, str], Counter[ProbeVerdict]] = {}
        for shot in self.shots:
            found.setdefault((shot.place.host, shot.knock.rule), Counter())[shot.reading.verdict] += 1
        return [(host, rule, counts) for (host, rule), counts in found.items()]


def plan(rules: Iterable[tuple[str, PasswordRule]], *, every: int = 1) -> list[Knock]:
    """The knocks of these rules, and of HTTP Basic and its like. `every`: only one in so many of the tricks; requests as they are always."""
    found = [knock for name, rule in rules for knock in knocks(name, rule)] + list(basic_knocks())
    return list(_sampled(found, every))


def _sampled(found: Sequence[Knock], every: int) -> Iterator[Knock]:
    count = itertools.count()
    for knock in found:
        if knock.group in ALWAYS or next(count) % every == 0:
            yield knock


class Probe:
    """`rate` is requests a second."""

    def __init__(self, rate: int) -> None:
        self._pause = 1 / rate
        self._run = secrets.token_hex(4)
        self._count = itertools.count(1)

    async def fire(self, aims: Sequence[tuple[Place, Sequence[Knock]]]) -> Outcome:
        """Raises NoDoor before anything else is sent."""
        for place, _ in aims:
            await self._recognise(place)
        todo = iter([(place, knock) for place, some in aims for knock in some])
        shots: dict[int, Shot] = {}
        numbered = enumerate(todo)
        loop = asyncio.get_running_loop()
        start, turn = loop.time(), itertools.count()

        async def work() -> None:
            for number, (place, knock) in numbered:
                await asyncio.sleep(max(0.0, start + next(turn) * self._pause - loop.time()))
                shots[number] = Shot(place=place, knock=knock, reading=await self._shot(place, knock))

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
        return Outcome(shots=tuple(shots[number] for number in sorted(shots)))

    async def _recognise(self, place: Place) -> None:
        request_id = self._next_id()
        plain = Knock(rule="", group="", how="", method="GET", target=b"/oauth2/userinfo")
        try:
            answer = await ask(place, plain.written(place.host, request_id))
        except OSError as error:
            raise NoDoor(f"{place.url}: cannot be reached: {error}") from error
        problem = None if answer is None else problem_of(answer)
        if problem is None:
            said = "no answer" if answer is None else f"status {answer.status}"
            raise NoDoor(f"{place.url}: this is not a Doorward: /oauth2/userinfo has {said}")
        if problem["code"] == UnknownHost.code:
            raise NoDoor(f"{place.url}: no app of this Doorward has the host {place.host}")

    async def _shot(self, place: Place, knock: Knock) -> ResponseReader:
        head_only = knock.method == "HEAD"
        for _ in range(_ATTEMPTS):
            request_id = self._next_id()
            try:
                answer = await ask(place, knock.written(place.host, request_id), head_only=head_only)
            except OSError:
                answer = None
            reading = read(answer, request_id, head_only=head_only)
            if reading.verdict is not ProbeVerdict.UNKNOWN:
                break
        return reading

    def _next_id(self) -> str:
        return f"probe-{self._run}-{next(self._count)}"
