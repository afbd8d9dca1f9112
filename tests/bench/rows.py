"""The rows that put one load on several servers, one after the other.

`nginx`, the plain proxy without authentication, is in each of them: the unit of the row. Where only a door has something to answer
(a redirect, a refusal, forward-auth), nginx passes on the page of 1 KiB meanwhile.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.bench import cores
from tests.bench.children import BenchFailed
from tests.bench.load import BROWSER, NAVIGATION, Load, Outcome, ask_once, run_wrk
from tests.bench.measuring import Plan, Sample, Samples, interleaved, middle, ratio
from tests.bench.peers import UPLOAD
from tests.bench.stage import LABELS, Stage, Target
from tests.bench.table import Result, Verdict, compared

_PAGE = Load()
_FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
_ASKS = (("X-Original-Method", "GET"), ("X-Original-URI", "/1k"))


@dataclass(frozen=True, slots=True)
class Goal:
    """CPU of `one` as a multiple of `other`'s."""

    one: str
    other: str
    limit: float

    def judge(self, row: str, samples: Samples) -> Verdict | None:
        if self.one not in samples or self.other not in samples:
            return None
        what = f"{row}: CPU of {LABELS[self.one]} by {LABELS[self.other]}"
        return Verdict(what, ratio(samples, self.one, self.other), self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`loads`: what a target is asked instead of `load`."""

    name: str
    title: str
    targets: tuple[str, ...]
    load: Load = _PAGE
    loads: Mapping[str, Load] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    seconds: float = 3.0

    def measure(self, stage: Stage, plan: Plan) -> Result:
        """Raises BenchFailed when a target does not answer as the row expects."""
        left_out = ("haproxy", "envoy") if plan.quick and self.name != "page" else ()
        targets = [stage.target(name) for name in self.targets if name not in left_out]
        for target in targets:
            self._probe(target)
        samples = interleaved(plan, targets, lambda target: self._put(stage, plan, target))
        verdicts = [goal.judge(self.name, samples) for goal in self.goals]
        return Result(compared(samples), [verdict for verdict in verdicts if verdict is not None])

    def door_load(self) -> tuple[Load, str]:
        """What is asked of which Doorward."""
        (name,) = [name for name in ("logging", "trusting", "door") if name in self.targets][:1]
        return self.loads.get(name, self.load), name

    def _put(self, stage: Stage, plan: Plan, target: Target) -> Outcome:
        return run_wrk(self._load(target), target.port, target.cookie, plan.lasting(self.seconds), stage.folder)

    def _load(self, target: Target) -> Load:
        return self.loads.get(target.name, self.load)

    def _probe(self, target: Target) -> None:
        load = self._load(target)
        status, body = ask_once(load, target.port, target.cookie)
        if status != load.status:
            raise BenchFailed(f"{self.name}: {LABELS[target.name]} answers {status}, not {load.status}: {body[:300]!r}")


PEERS = ("nginx", "door", "haproxy", "envoy")

ROWS = (
    Row(
        name="page",
        title="1 KiB, signed in, 32 connections, access log off",
        targets=(*PEERS, "console"),
        goals=(Goal("door", "nginx", 1.5), Goal("door", "envoy", 0.6), Goal("console", "door", 1.1)),
    ),
    Row(
        name="log",
        title="the same with the JSON access log on",
        targets=("nginx", "door", "logging"),
        goals=(Goal("logging", "door", 1.25),),
    ),
    Row(
        name="file",
        title="100 KiB, signed in",
        targets=PEERS,
        load=Load(path="/100k"),
        goals=(Goal("door", "nginx", 1.3),),
    ),
    Row(
        name="browser",
        title="1 KiB, signed in, with the whole head of a Chromium",
        targets=("nginx", "door", "envoy"),
        load=Load(fields=BROWSER),
        seconds=2,
    ),
    Row(
        name="chunked",
        title="1 KiB that the upstream puts together: chunked, without a length",
        targets=PEERS,
        load=Load(path="/page.html"),
        seconds=2,
    ),
    Row(
        name="upload",
        title="upload of 1 MiB, signed in",
        targets=PEERS,
        load=Load(path="/upload", method="POST", body=UPLOAD, status=204),
        seconds=2,
    ),
    Row(
        name="head",
        title="HEAD for a file, signed in",
        targets=("nginx", "door"),
        load=Load(path="/0k", method="HEAD"),
        seconds=2,
    ),
    Row(
        name="not-modified",
        title="304 for a file that has not changed, signed in",
        targets=("nginx", "door"),
        load=Load(fields=(("If-None-Match", "*"),), status=304),
        seconds=2,
    ),
    Row(
        name="redirect",
        title="not signed in: a page view is sent to the provider (nginx: the page of 1 KiB)",
        targets=("nginx", "door", "envoy"),
        load=Load(signed_in=False, fields=NAVIGATION, status=302),
        loads={"nginx": _PAGE},
        seconds=2,
    ),
    Row(
        name="blocked",
        title="a password route is refused (nginx: the page of 1 KiB)",
        targets=("nginx", "door"),
        load=Load(path="/en/login", method="POST", fields=_FORM, body=64, status=403),
        loads={"nginx": _PAGE},
        seconds=2,
    ),
    Row(
        name="auth",
        title="forward-auth: /oauth2/auth alone, and nginx's auth_request with Doorward, both counted, for 1 KiB",
        targets=("nginx", "trusting", "asking"),
        loads={"trusting": Load(path="/oauth2/auth", fields=_ASKS, status=202)},
        seconds=2,
    ),
    Row(name="one", title="1 KiB, signed in, 1 connection", targets=PEERS, load=Load(connections=1), seconds=2),
    Row(name="many", title="1 KiB, signed in, 512 connections", targets=PEERS, load=Load(connections=512), seconds=2),
)


# --- rows with a load of their own ------------------------------------------------------------------------------------


def measure_misses(stage: Stage, plan: Plan) -> Result:
    """Every request brings a session that the worker does not know and another one served lately: each is one reading of Valkey."""
    return _measure_readings(stage, plan, "miss", signed=True)


def measure_first_requests(stage: Stage, plan: Plan) -> Result:
    """Every request brings a session that no worker served within four minutes: a reading, and a signature."""
    return _measure_readings(stage, plan, "first", signed=False)


def _measure_readings(stage: Stage, plan: Plan, row: str, *, signed: bool) -> Result:
    count = 1_000 if plan.quick else 10_000
    tokens = stage.tokens(count)
    load = Load(tokens=tokens)
    targets = [stage.target("nginx"), stage.target("door")]
    door = stage.door("door")
    valkey = stage.valkey_pids()
    reads, used = [], []

    def forget(target: Target) -> None:
        if target.name == "door":
            stage.forget_sessions("door")
            if not signed:
                stage.forget_signatures()

    def put(target: Target) -> Outcome:
        asked, before = door.metric("doorward_redis_duration_seconds_count"), cores.cpu(valkey)
        outcome = run_wrk(load, target.port, "", 20, stage.folder)
        if target.name == "door":
            reads.append((door.metric("doorward_redis_duration_seconds_count") - asked) / outcome.count)
            used.append((cores.cpu(valkey) - before).total / outcome.count * 1e6)
        return outcome

    if signed:
        stage.serve_before(tokens)
    samples = interleaved(plan, targets, put, forget)
    told = f"Valkey was asked {min(reads):.2f} to {max(reads):.2f} times a request and used {max(used):.1f} us itself, not counted above"
    verdict = Verdict(f"{row}: CPU of Doorward by nginx, plain proxy", ratio(samples, "door", "nginx"), 4.0)
    return Result([*compared(samples), told], [verdict])


def measure_known_tokens(stage: Stage, plan: Plan) -> Result:
    """Every request brings the same access token, which the worker knows; beside it, the same with a session."""
    token = stage.access_tokens(1).read_text()
    load = Load(signed_in=False, fields=(("Authorization", f"Bearer {token}"),))
    return _measure_tokens(stage, plan, lambda: load, Goal("program", "door", 1.3), "bearer")


def measure_new_tokens(stage: Stage, plan: Plan) -> Result:
    """Every request brings an access token of its own: a verification, and a signature of ours."""
    count = 500 if plan.quick else 2_000

    def load() -> Load:
        return Load(signed_in=False, tokens=stage.access_tokens(count), credential="Authorization: Bearer ")

    return _measure_tokens(stage, plan, load, None, "bearer-new")


def _measure_tokens(stage: Stage, plan: Plan, load: Callable[[], Load], goal: Goal | None, row: str) -> Result:
    door = stage.target("door")
    targets = [stage.target("nginx"), door, replace(door, name="program", cookie="")]

    def put(target: Target) -> Outcome:
        asked = load() if target.name == "program" else _PAGE
        return run_wrk(asked, target.port, target.cookie, plan.lasting(2), stage.folder)

    samples = interleaved(plan, targets, put)
    verdict = goal.judge(row, samples) if goal is not None else None
    return Result(compared(samples), [verdict] if verdict is not None else [])


def measure_sockets(stage: Stage, plan: Plan) -> Result:
    """32 WebSockets; a message is 64 bytes there and 64 bytes back."""
    targets = [stage.target(name) for name in PEERS]

    def put(target: Target) -> Outcome:
        command = [sys.executable, "-m", "tests.bench.sockets", "load", str(target.port), str(plan.lasting(2)), "32"]
        done = subprocess.run(command, input=target.cookie, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BenchFailed(f"WebSockets through {LABELS[target.name]}: {done.stderr[-500:]}")
        return Outcome(**json.loads(done.stdout))

    return Result(compared(interleaved(plan, targets, put)))


def measure_workers(stage: Stage, plan: Plan) -> Result:
    """Two workers on two cores, and whatever is left of those cores for the load."""
    one, two = stage.target("door"), stage.pair()
    lines: list[str] = []
    verdicts = []
    loads = (("1 KiB", _PAGE), ("redirect", Load(signed_in=False, fields=NAVIGATION, status=302)))
    for what, load in loads[: 1 if plan.quick else None]:
        upstream: dict[str, list[float]] = {one.name: [], two.name: []}

        def put(target: Target, load: Load = load, upstream: dict[str, list[float]] = upstream) -> Outcome:
            before = cores.cpu(stage.upstream.family())
            with stage.spread(target is two):
                outcome = run_wrk(load, target.port, target.cookie, plan.lasting(2), stage.folder)
            upstream[target.name].append((cores.cpu(stage.upstream.family()) - before).total / outcome.seconds)
            return outcome

        samples = interleaved(plan, [one, two], put)
        lines += [f"{what}:", *compared(samples, "door")]
        remark = _shares(samples[two.name], max(upstream[two.name]))
        lines.append(f"  {remark}")
        # What the machine has no third core for: requests for each second of a worker's CPU, twice as many of which there are.
        alone = 2 / ratio(samples, two.name, one.name)
        lines.append(f"  with a core for each worker and others for the rest, by CPU for each request: {alone:.2f} x")
        gain = ratio(samples, two.name, one.name, lambda each: each.outcome.rate)
        verdicts.append(Verdict(f"workers: requests/s of two by one, {what}", gain, 1.8, least=True, remark=remark))
    return Result(lines, verdicts)


def _shares(taken: Sequence[Sample], upstream: float) -> str:
    workers = middle(taken, lambda one: one.busy)
    generator = middle(taken, lambda one: one.outcome.generator.total / one.outcome.seconds)
    return f"of 200% the workers had {workers:.0%}, wrk {generator:.0%}, the upstream {upstream:.0%}"
