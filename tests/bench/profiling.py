"""Where a worker's time goes under load: by function (py-spy), by shared object (perf), and in system calls (strace).

Each is taken by itself, because each slows the worker in its own way.
"""

import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.children import BenchFailed
from tests.bench.load import Load, run_wrk
from tests.bench.peers import program
from tests.bench.stage import Stage, Target

_SECONDS: Final = 4
_SHOWN: Final = 40
_MISSES: Final = 20_000


def profile(load: Load, title: str, *, misses: bool = False) -> int:
    """Prints all three; what cannot be had is said. `misses`: every request brings a session that is not cached, and was served before."""
    with Stage() as stage:
        target, worker = stage.target("door"), stage.door("door").workers()[0]
        if misses:
            tokens = stage.tokens(_MISSES)
            load = Load(tokens=tokens)
            stage.serve_before(tokens)
        for what, take in (("by function", _functions), ("by symbol", _symbols), ("system calls", _calls)):
            print(f"\n{what}: {title}", flush=True)
            if misses:
                stage.forget_sessions("door")
            try:
                with _loaded(stage, target, load):
                    lines = take(stage, worker)
            except (BenchFailed, subprocess.SubprocessError) as error:
                lines = [f"not to be had: {error}"]
            print(*(f"  {line}" for line in lines), sep="\n", flush=True)
    return 0


@contextmanager
def _loaded(stage: Stage, target: Target, load: Load) -> Iterator[None]:
    running = threading.Thread(target=run_wrk, args=(load, target.port, target.cookie, _SECONDS + 3, stage.folder))
    running.start()
    try:
        yield
    finally:
        running.join()


def _run(command: Sequence[str | Path], seconds: float = _SECONDS + 30) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise BenchFailed(f"{command[0]}: {(done.stderr or done.stdout)[-500:].strip()}")
    return done.stdout + done.stderr


def _functions(stage: Stage, worker: int) -> list[str]:
    """Self time of each Python function; what it calls in C counts as its own."""
    file = stage.folder / "stacks"
    seen = f"record --pid {worker} --duration {_SECONDS} --rate 500 --format raw --function --output {file}"
    _run([program("py-spy"), *seen.split()])
    own: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        own[stack.rpartition(";")[2]] += int(count)
    total = sum(own.values()) or 1
    return [f"{count / total:6.1%}  {name}" for name, count in own.most_common(_SHOWN)]


def _symbols(stage: Stage, worker: int) -> list[str]:
    """Where the processor was: each shared object, then the functions in them."""
    file = stage.folder / "perf.data"
    seen = f"record --event cpu-clock --freq 999 --pid {worker} --output {file} -- sleep {_SECONDS}"
    _run([program("perf"), *seen.split()])
    lines: list[str] = []
    for sort, shown in (("dso", 10), ("symbol,dso", 30)):
        told = _run([program("perf"), "report", "--stdio", "--sort", sort, "--input", file])
        found = re.findall(r"^\s*([\d.]+)%\s+(\S.*?)\s*$", told, re.M)
        lines += [f"{float(share):5.1f}%  {re.sub(r'  +', '  ', name)}" for share, name in found[:shown]]
    return lines


def _calls(stage: Stage, worker: int) -> list[str]:
    """Counted while strace looks on; the times would be strace's own."""
    door, file = stage.door("door"), stage.folder / "calls"
    command = [program("strace"), "-c", "-f", "-p", str(worker), "-o", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as looking:
        assert looking.stderr is not None
        said = looking.stderr.readline()
        if "attached" not in said:
            raise BenchFailed(f"strace: {said}")
        before = door.metric("doorward_requests_total")
        time.sleep(_SECONDS)
        requests = door.metric("doorward_requests_total") - before
        looking.send_signal(signal.SIGINT)
    counted = {}
    for line in file.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            counted[words[-1]] = int(words[3])
    often = sorted(counted.items(), key=lambda one: -one[1])[:15]
    return [
        f"{count / max(requests, 1):7.3f} a request  {name}"
        for name, count in (("all together", sum(counted.values())), *often)
    ]
