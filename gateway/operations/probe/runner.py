"""Sends all requests of a probe to a gateway, 16 at a time and at most so many a second, and collects the verdicts."""

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.config.schema import App, PasswordRule, Rule
from gateway.errors.network import network_reason
from gateway.errors.requests import UnknownHost
from gateway.operations.probe.front import MALFORMED, FrontAnswers, certainly_refused, front_answers
from gateway.operations.probe.requests import ProbeRequest, access_requests, basic_requests, probe_requests
from gateway.operations.probe.verdicts import (
    PASSED_VERDICTS,
    ProbeFinding,
    ProbeResponse,
    ProbeVerdict,
    problem_of,
    read,
)
from gateway.operations.probe.wire import GatewayAddress, send
from gateway.policy.passwords import named_rules
from gateway.policy.readings import EVERY, Model, model_of
from gateway.policy.rules import restricting_rules

FASTEST: Final = 5000
#: Groups that are sent in full, with any sampling.
ALWAYS: Final = ("as it is", "method", "OPTIONS")
_AT_ONCE: Final = 16
_ATTEMPTS: Final = 2  # a request without a response is sent once more


class NotDoorward(Exception):
    """The address is not a Doorward's; the text has the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One request, and the verdict on its response."""

    gateway: GatewayAddress
    request: ProbeRequest
    finding: ProbeFinding

    @property
    def passed(self) -> bool:
        """Whether the request got through, or would have with a session where the rule is for all people."""
        if self.request.restricting:
            return self.finding.verdict is ProbeVerdict.THROUGH
        return self.finding.verdict in PASSED_VERDICTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The results of a probe, in the order of the requests."""

    results: tuple[ProbeResult, ...]

    @property
    def passed(self) -> list[ProbeResult]:
        return [result for result in self.results if result.passed]

    @property
    def unanswered(self) -> list[ProbeResult]:
        return [result for result in self.results if result.finding.verdict is ProbeVerdict.UNKNOWN]

    @property
    def status(self) -> int:
        """The exit status: 1 if a request passed, 2 if that is not known of all, else 0."""
        return 1 if self.passed else 2 if self.unanswered else 0

    def rows(self) -> list[tuple[str, str, Counter[ProbeVerdict]]]:
        """Host, rule and the number of each verdict, in the order of the requests."""
        found: dict[tuple[str, str], Counter[ProbeVerdict]] = {}
        for result in self.results:
            found.setdefault((result.gateway.host, result.request.rule), Counter())[result.finding.verdict] += 1
        return [(host, rule, counts) for (host, rule), counts in found.items()]


def plan(
    rules: Iterable[tuple[str, PasswordRule]],
    access: Iterable[tuple[str, Rule]] = (),
    *,
    model: Model = EVERY,
    every: int = 1,
) -> list[ProbeRequest]:
    """The requests for password rules and access rules by their names, and for HTTP Basic and other schemes.

    `model` has the rows whose spellings are tried. `every`: one in so many, except for the groups of ALWAYS.
    """
    found = [request for name, rule in rules for request in probe_requests(name, rule, model)]
    found += [request for name, rule in access for request in access_requests(name, rule, model)]
    return list(_sampled([*found, *basic_requests()], every))


def plan_for(app: App, given: Sequence[tuple[str, PasswordRule]] = (), *, every: int = 1) -> list[ProbeRequest]:
    """The requests for one app of the configuration. Rules that are `given` take the place of its own."""
    model = model_of(app)
    if given:
        return plan(given, model=model, every=every)
    return plan(named_rules(app), restricting_rules(app), model=model, every=every)


def _sampled(found: Sequence[ProbeRequest], every: int) -> Iterator[ProbeRequest]:
    count = itertools.count()
    for request in found:
        if request.group in ALWAYS or next(count) % every == 0:
            yield request


async def require_doorward(gateway: GatewayAddress, request_id: str) -> None:
    """Raises NotDoorward where no Doorward answers for this host."""
    plain = ProbeRequest(rule="", group="", how="", method="GET", target=b"/oauth2/userinfo")
    try:
        response = await send(gateway, plain.to_bytes(gateway.host, request_id))
    except OSError as error:
        raise NotDoorward(f"{gateway.url}: cannot be reached: {network_reason(error)}") from error
    problem = None if response is None else problem_of(response)
    if problem is None:
        text = "no answer" if response is None else f"status {response.status}"
        raise NotDoorward(f"{gateway.url}: this is not a Doorward: /oauth2/userinfo has {text}")
    if problem["code"] == UnknownHost.code:
        raise NotDoorward(f"{gateway.url}: no app of this Doorward has the host {gateway.host}")


class Probe:
    """Probes gateways. `rate` is in requests a second."""

    def __init__(self, rate: int) -> None:
        self._pause = 1 / rate
        self._run_id = secrets.token_hex(4)
        self._count = itertools.count(1)
        self._fronts: dict[GatewayAddress, FrontAnswers] = {}

    async def run(self, targets: Sequence[tuple[GatewayAddress, Sequence[ProbeRequest]]]) -> Outcome:
        """Send all requests. Raises NotDoorward before the first of them."""
        for gateway, _ in targets:
            await require_doorward(gateway, self._next_id())
            self._fronts[gateway] = await self._probe_front(gateway)
        todo = iter([(gateway, request) for gateway, some in targets for request in some])
        results: dict[int, ProbeResult] = {}
        numbered = enumerate(todo)
        loop = asyncio.get_running_loop()
        start, turn = loop.time(), itertools.count()

        async def work() -> None:
            for number, (gateway, request) in numbered:
                await asyncio.sleep(max(0.0, start + next(turn) * self._pause - loop.time()))
                results[number] = ProbeResult(
                    gateway=gateway, request=request, finding=await self._probe(gateway, request)
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
        return Outcome(results=tuple(results[number] for number in sorted(results)))

    async def _probe_front(self, gateway: GatewayAddress) -> FrontAnswers:
        """What a proxy before the gateway answers itself; nothing where it cannot be told from what is behind it."""
        plain = ProbeRequest(rule="", group="", how="", method="GET", target=b"/")
        finding, _ = await self._send(gateway, certainly_refused(plain))
        if finding.verdict in (ProbeVerdict.THROUGH, ProbeVerdict.UNKNOWN):
            return FrontAnswers()  # the field does not travel
        sent = [each.replace(b"{host}", gateway.host.encode()) for each in MALFORMED]
        return front_answers([await self._exchange(gateway, each) for each in sent])

    async def _probe(self, gateway: GatewayAddress, request: ProbeRequest) -> ProbeFinding:
        for _ in range(_ATTEMPTS):
            finding, response = await self._send(gateway, request)
            if finding.verdict is not ProbeVerdict.UNKNOWN:
                break
        front, head_only = self._fronts[gateway], request.method == "HEAD"
        if finding.verdict is ProbeVerdict.THROUGH and front.may_be_refusal(response, head_only=head_only):
            again, same = await self._send(gateway, certainly_refused(request))
            if again == finding and front.may_be_refusal(same, head_only=head_only):
                return ProbeFinding(verdict=ProbeVerdict.FRONT, text=finding.text)
        return finding

    async def _send(self, gateway: GatewayAddress, request: ProbeRequest) -> tuple[ProbeFinding, ProbeResponse | None]:
        request_id, head_only = self._next_id(), request.method == "HEAD"
        response = await self._exchange(gateway, request.to_bytes(gateway.host, request_id), head_only=head_only)
        return read(response, request_id, head_only=head_only), response

    async def _exchange(self, gateway: GatewayAddress, data: bytes, *, head_only: bool = False) -> ProbeResponse | None:
        try:
            return await send(gateway, data, head_only=head_only)
        except OSError:
            return None

    def _next_id(self) -> str:
        return f"probe-{self._run_id}-{next(self._count)}"
