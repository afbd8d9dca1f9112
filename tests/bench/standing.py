"""The rows of latency and of memory: what a server adds to the time of a request, and what it holds while nothing happens."""

import json
import math
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack

from tests.bench import cores
from tests.bench.children import BenchFailed
from tests.bench.load import Load, Outcome, run_wrk
from tests.bench.measuring import Plan, interleaved, middle
from tests.bench.parties import HOST
from tests.bench.stage import LABELS, Stage, Target
from tests.bench.table import Result, Verdict

_MIB = 1024 * 1024
_IDLE = 5_000
_IDLE_OF_ONE = 1_000  # from each loopback address: there is a limit for one address
_KNOWN = 1_000  # sessions that are cached before the first look, so that buffers and tables have their size


def measure_latency(stage: Stage, plan: Plan) -> Result:
    """The same steady rate for all: half of what one worker of Doorward reaches here."""
    door = stage.target("door")
    most = run_wrk(Load(), door.port, door.cookie, plan.lasting(2), stage.folder).rate
    rate = most / 2

    def put(target: Target) -> Outcome:
        seconds = plan.lasting(3)
        command = [sys.executable, "-m", "tests.bench.paced", str(target.port), "/1k", str(rate), str(seconds), "64"]
        done = subprocess.run(command, input=target.cookie, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BenchFailed(f"{LABELS[target.name]}: {done.stderr[-500:]}")
        return Outcome(seconds=seconds, **json.loads(done.stdout))

    targets = [stage.target(name) for name in ("direct", "nginx", "door", *(() if plan.quick else ("envoy",)))]
    samples = interleaved(plan, targets, put)
    p50 = {name: middle(taken, lambda one: one.outcome.p50) for name, taken in samples.items()}
    p99 = {name: middle(taken, lambda one: one.outcome.p99) for name, taken in samples.items()}
    behind = [LABELS[name] for name in samples if math.isinf(p99[name])]
    if any(math.isinf(p99[name]) for name in ("direct", "nginx", "door")):
        raise BenchFailed(f"{rate:.0f} requests a second are too many for {', '.join(behind)}")
    lines = [
        f"{rate:.0f} requests a second, half of the {most:.0f} that one worker reached with wrk just now",
        f"{'':26}{'p50 ms':>9}{'added':>9}{'p99 ms':>9}{'added':>9}",
    ]
    lines += [f"{label} does not keep up with this rate" for label in behind]
    for name in samples:
        if math.isinf(p99[name]):
            continue
        added = (p50[name] - p50["direct"], p99[name] - p99["direct"])
        lines.append(f"{LABELS[name]:26}{p50[name]:9.3f}{added[0]:9.3f}{p99[name]:9.3f}{added[1]:9.3f}")
    least = 0.001  # a microsecond: what nginx adds can vanish in the noise
    times = (p99["door"] - p99["direct"]) / max(p99["nginx"] - p99["direct"], least)
    return Result(lines, [Verdict("latency: p99 added by Doorward, by what nginx adds", times, 3.0)])


def measure_memory(stage: Stage, plan: Plan) -> Result:
    """One worker, alone: no other Doorward and no provider runs, so nearly no page of it is shared (but in a quick run)."""
    count = 1_000 if plan.quick else 50_000
    connections = min(_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    file, cookie = stage.tokens(count + _KNOWN), stage.signed_in()
    some = stage.folder / "tokens-known"
    some.write_text("\n".join(file.read_text().split()[:_KNOWN]))
    if plan.quick:
        door = stage.door("door")
    else:
        stage.leave_alone()
        door = stage.open_door("alone")
    worker = door.workers()[0]
    pss, rss = cores.memory(worker)
    parent = cores.memory(door.child.pid)[0]
    run_wrk(Load(), door.port, cookie, 1, stage.folder)
    idle = _idle_bytes(door.port, cookie, worker, connections)
    run_wrk(Load(tokens=some), door.port, "", 20, stage.folder)
    known, before = door.metric("doorward_sessions_cached"), cores.memory(worker)[0]
    run_wrk(Load(tokens=file), door.port, "", 60, stage.folder)
    filled, after = door.metric("doorward_sessions_cached"), cores.memory(worker)[0]
    each = (after - before) / max(filled - known, 1)
    if not plan.quick:
        door.stop()
        stage.start_provider()
    lines = [
        f"at start: worker {pss / _MIB:.1f} MiB PSS ({rss / _MIB:.1f} MiB RSS), parent {parent / _MIB:.1f} MiB PSS",
        f"{known:.0f} sessions cached: {before / _MIB:.1f} MiB; {filled:.0f} cached: {after / _MIB:.1f} MiB",
        f"{connections} idle keep-alive connections: {idle / 1024:.1f} KiB each, in the worker",
    ]
    lines += [
        f"{LABELS[name]}: {_family_pss(stage.target(name)) / _MIB:.1f} MiB PSS, all processes"
        for name in ("nginx", "haproxy", "envoy")
    ]
    return Result(
        lines,
        [
            Verdict("memory: PSS of a worker at start", pss / 1e6, 80, "MB"),
            Verdict("memory: a further cached session", each / 1e3, 2, "KB"),
            Verdict("memory: an idle connection", idle / 1e3, 20, "KB"),
        ],
    )


def _idle_bytes(port: int, cookie: str, worker: int, count: int) -> float:
    """What the worker holds for a connection that has had one request and waits for the next."""
    request = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n".encode()
    before = cores.memory(worker)[0]
    with ExitStack() as open_ones:
        for number in range(count):
            source = (f"127.0.0.{2 + number // _IDLE_OF_ONE}", 0)
            sock = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 5, source))
            sock.sendall(request)
            if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                raise BenchFailed("an idle connection got no answer")
        return (cores.memory(worker)[0] - before) / count


def _family_pss(target: Target) -> int:
    return sum(cores.memory(pid)[0] for pid in target.pids)
