"""One load on one server: what is sent, and what came of it. The generator is wrk: one thread, its connections always busy."""

import json
import resource
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.children import BenchFailed
from tests.bench.cores import Cpu
from tests.bench.parties import HOST
from tests.bench.peers import program

_SPARE_SECONDS: Final = 15  # wrk stops by its own clock; this is for one that does not
COOKIE: Final = "doorward_session="

# As Chromium sends it, less what `Load` says itself.
NAVIGATION: Final = (("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
BROWSER: Final = (
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,pt;q=0.8"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`tokens`: a file of tokens, each used once behind `credential`; then the load is over, whatever `seconds` says."""

    path: str = "/1k"
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: int = 0
    signed_in: bool = True
    connections: int = 32
    tokens: Path | None = None
    credential: str = f"Cookie: {COOKIE}"
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Times in milliseconds. `generator`: what the load itself cost. `wrong`: answers that are not as they should be."""

    count: int
    seconds: float
    p50: float
    p99: float
    wrong: int = 0
    generator: Cpu = field(default_factory=Cpu)

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0


_SCRIPT: Final = """
wrk.method = {method}
wrk.headers["Host"] = {host}
{fields}
{body}
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format('{{"count": %d, "us": %d, "p50": %f, "p99": %f, "refused": %d, "failed": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""

_ROTATING: Final = """
local tokens, at = {{}}, 0
local head = {head}
function init(args)
  for token in io.lines({file}) do tokens[#tokens + 1] = token end
end
function request()
  at = at + 1
  if at > #tokens then
    wrk.thread:stop()
    -- The main thread sleeps until the load's time is over, or until this; while os.execute runs, it would not hear it.
    os.execute("P=$PPID; (sleep 0.1; kill -INT $P) &")
    at = 1
  end
  return head .. tokens[at] .. "\\r\\n\\r\\n"
end
"""


def _script(load: Load, cookie: str) -> str:
    fields = [*load.fields, *([("Cookie", cookie)] if cookie else [])]
    text = _SCRIPT.format(
        method=json.dumps(load.method),
        host=json.dumps(HOST),
        fields="\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields),
        body=f'wrk.body = string.rep("x", {load.body})' if load.body else "",
    )
    if load.tokens is not None:
        head = f"{load.method} {load.path} HTTP/1.1\r\nHost: {HOST}\r\n{load.credential}"
        text += _ROTATING.format(head=json.dumps(head), file=json.dumps(str(load.tokens)))
    return text


def run_wrk(load: Load, port: int, cookie: str, seconds: float, folder: Path) -> Outcome:
    """Raises BenchFailed when the generator itself fails."""
    script = folder / "load.lua"
    script.write_text(_script(load, cookie if load.signed_in else ""))
    command = [
        program("wrk"), "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
        "-s", str(script), f"http://127.0.0.1:{port}{load.path}",
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _SPARE_SECONDS, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = next((line for line in done.stdout.splitlines() if line.startswith('{"count"')), None)
    if done.returncode or line is None:
        raise BenchFailed(f"wrk: {done.stdout[-500:]}{done.stderr[-500:]}")
    told = json.loads(line)
    refused = told["count"] - told["refused"] if load.status >= 400 else told["refused"]
    return Outcome(
        count=told["count"],
        seconds=told["us"] / 1e6,
        p50=told["p50"] / 1e3,
        p99=told["p99"] / 1e3,
        wrong=refused + told["failed"],
        generator=Cpu(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime),
    )


def request_bytes(load: Load, cookie: str, *more: tuple[str, str]) -> bytes:
    """One such request, with `more` fields."""
    fields = [("Host", HOST), *load.fields, *more]
    fields += [("Cookie", cookie)] if cookie and load.signed_in else []
    fields += [("Content-Length", str(load.body))] if load.body else []
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{load.method} {load.path} HTTP/1.1\r\n{lines}\r\n".encode() + b"x" * load.body


def ask_once(load: Load, port: int, cookie: str) -> tuple[int, bytes]:
    """The status and body of one such request, on a connection of its own."""
    answer = b""
    end = time.monotonic() + 10
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(request_bytes(load, cookie, ("Connection", "close")))
        while data := sock.recv(65536):
            answer += data
            if time.monotonic() > end:
                break
    status_line, _, body = answer.partition(b"\r\n")
    words = status_line.split()
    return (int(words[1]) if len(words) > 1 else 0), body.partition(b"\r\n\r\n")[2]
