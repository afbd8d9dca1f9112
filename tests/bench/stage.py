"""Everything that runs during a benchmark, started when it is first asked for and ended by its process id.

Loopback only, every port a free one. The measured servers are on one core; upstream, Valkey, provider and load share the other.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from gateway.redis_client.embedded import EmbeddedValkey
from tests.bench import cores, peers
from tests.bench.children import BenchFailed, Child, free_port, listens
from tests.bench.doors import Doorward, Household, new_key
from tests.bench.load import Load, ask_once, run_wrk
from tests.bench.parties import EMAIL, access_token, sign_in
from tests.fakes.forge import rsa_key

_DOORS: Final = ("door", "logging", "trusting", "console")
#: What makes each of them other than the first.
SECTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "door": {},
    "logging": {"log": {"access": True}},
    "console": {"console": {"hosts": ["console.localhost"], "require": {"groups": ["staff"]}}},
    "trusting": {"trusted_proxies": ["127.0.0.1/32"]},
    "pair": {"workers": 2},
}
LABELS: Final = {
    "direct": "the upstream itself",
    "nginx": "nginx, plain proxy",
    "haproxy": "haproxy, plain proxy",
    "envoy": "Envoy, oauth2 filter",
    "door": "Doorward",
    "logging": "Doorward, access log on",
    "console": "Doorward, with a console",
    "trusting": "Doorward, asked alone",
    "asking": "nginx asking Doorward",
    "program": "Doorward, access token",
    "pair": "Doorward, two workers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`pids`: whose CPU time counts. `cookie`: what a signed-in browser sends there."""

    name: str
    port: int
    pids: tuple[int, ...]
    cookie: str


class Stage:
    """`with Stage() as stage: stage.target("door")`."""

    def __enter__(self) -> "Stage":
        os.sched_setaffinity(0, cores.OTHERS)  # whoever is started without a core of its own is on this one
        self.folder = Path(tempfile.mkdtemp(prefix="doorward-bench-"))
        self.folder.chmod(0o755)  # nginx's workers are nobody
        self._children: list[Child] = []
        self._targets: dict[str, Target] = {}
        self._doors: dict[str, Doorward] = {}
        self._valkey = EmbeddedValkey()
        self._valkey.start()
        self._provider_port, self.upstream_port, self._echo_port = free_port(), free_port(), free_port()
        self.issuer = f"http://127.0.0.1:{self._provider_port}"
        self.house = Household(redis=self._valkey.url, key=new_key(), issuer=self.issuer, upstream=self.upstream_port)
        self.provider_key = rsa_key("bench")
        (self.folder / "provider.jwk").write_text(json.dumps(self.provider_key.as_dict(private=True)))
        self.session = ""
        self._tokens: list[str] = []
        self._issued = 0
        try:
            self.upstream = self._keep(peers.start_upstream(self.folder, self.upstream_port, self._echo_port))
            self.echo = self._keep(self._python("echo", "tests.bench.sockets", "echo", str(self._echo_port)))
            self.start_provider()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.stop()
        self._valkey.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- who is there ---

    def target(self, name: str) -> Target:
        """Raises BenchFailed when it does not come up."""
        if name not in self._targets:
            self._targets[name] = self._start(name)
        return self._targets[name]

    def door(self, name: str) -> Doorward:
        """One of the Doorwards: `door`, `logging`, `trusting`, `console` or `pair` (two workers)."""
        if name not in self._doors:
            self._doors[name] = self.open_door(name).wait_provider()
        return self._doors[name]

    def open_door(self, name: str) -> Doorward:
        """A Doorward of its own, ready."""
        on = cores.BOTH if name == "pair" else cores.MEASURED
        door = Doorward(name, self.house, self.folder, on=on, **SECTIONS.get(name, {}))
        self._keep(door.child)
        return door.wait_ready()

    def start_provider(self) -> None:
        self._provider = self._keep(
            self._python(
                "provider", "tests.bench.provider", str(self._provider_port), str(self.folder / "provider.jwk")
            )
        )
        self._provider.wait_until(lambda: listens(self._provider_port))

    def leave_alone(self) -> None:
        """End what shares a library with a Doorward: a page that processes share is only counted in part."""
        for door in self._doors.values():
            door.stop()
        self._doors.clear()
        for name in (*_DOORS, "asking", "pair"):
            self._targets.pop(name, None)
        self._provider.stop()

    def pair(self) -> Target:
        """Two workers, a core each."""
        if "pair" not in self._targets:
            door = self.door("pair")
            for worker, core in zip(door.workers(), sorted(cores.BOTH), strict=False):
                os.sched_setaffinity(worker, {core})
            self._targets["pair"] = self._at("pair", door.port, door.child, self.signed_in())
        return self._targets["pair"]

    @contextmanager
    def spread(self, wide: bool) -> Iterator[None]:
        """Let load and upstream have both cores for a while, if `wide`."""
        movable = [os.getpid(), *self.upstream.family()] if wide else []
        for pid in movable:
            os.sched_setaffinity(pid, cores.BOTH)
        try:
            yield
        finally:
            for pid in movable:
                os.sched_setaffinity(pid, cores.OTHERS)

    def valkey_pids(self) -> list[int]:
        return [pid for pid in cores.family(os.getpid()) if "valkey" in cores.command(pid)]

    # --- sessions ---

    def signed_in(self) -> str:
        """The session's cookie, among two of the application's own. All Doorwards share the session."""
        if not self.session:
            self.session = asyncio.run(sign_in(self.door("door").port, self.issuer))
        return f"theme=dark; {self.session}; lang=en"

    def access_tokens(self, count: int) -> Path:
        """A file with that many access tokens of the person, none of them used before."""
        file = self.folder / "access-tokens"
        numbers = range(self._issued, self._issued + count)
        self._issued += count
        file.write_text("\n".join(access_token(self.issuer, self.provider_key, number) for number in numbers))
        return file

    def tokens(self, count: int) -> Path:
        """A file with the tokens of that many further sessions."""
        file = self.folder / "tokens"
        if len(self._tokens) < count:
            self.signed_in()
            command = [sys.executable, "-m", "tests.bench.sessions", self.house.redis, str(count), str(file)]
            given = f"{self.house.key}\n{self.session.partition('=')[2]}\n"
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise BenchFailed(f"sessions: {done.stderr[-1000:]}")
            self._tokens = file.read_text().split()
        some = self.folder / f"tokens-{count}"
        some.write_text("\n".join(self._tokens[:count]))
        return some

    def serve_before(self, tokens: Path) -> None:
        """Ask for each of these sessions once: what is signed for them is there for every worker."""
        run_wrk(Load(tokens=tokens), self.door("door").port, "", 60, self.folder)

    def forget_sessions(self, name: str) -> None:
        """Make a Doorward's cache empty: it gives up all that it knows when its line to Valkey breaks."""
        door, cookie = self.door(name), self.signed_in()
        for line in self._valkey_says("CLIENT LIST").splitlines():
            fields = dict(field.split("=", 1) for field in line.split(" ") if "=" in field)
            if "B" in fields.get("flags", ""):  # listens to everything that changes
                self._valkey_says(f"CLIENT KILL ID {fields['id']}")
        self._await(lambda: door.metric("doorward_sessions_cached") == 0, "the cache does not become empty")

        def caches_again() -> bool:
            ask_once(Load(), door.port, cookie)
            return door.metric("doorward_sessions_cached") > 0

        self._await(caches_again, "the cache does not come back")

    def forget_signatures(self) -> None:
        """Take away what workers left for each other."""
        self._valkey_says(
            "EVAL \"for _, key in ipairs(redis.call('KEYS', 'doorward:a:*')) do redis.call('DEL', key) end\" 0"
        )

    def _valkey_says(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(self.house.redis.removeprefix("unix://"))
            link.sendall(f"{command}\r\n".encode())
            answer = link.recv(65536)
            if answer[:1] == b"$":
                size, _, _ = answer[1:].partition(b"\r\n")
                while len(answer) < int(size):
                    answer += link.recv(65536)
        return answer.decode()

    @staticmethod
    def _await(condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            if time.monotonic() > deadline:
                raise BenchFailed(otherwise)
            time.sleep(0.05)

    # --- starting ---

    def _keep(self, child: Child) -> Child:
        self._children.append(child)
        return child

    def _python(self, name: str, *words: str) -> Child:
        return Child(name, [sys.executable, "-m", *words], self.folder, cores.OTHERS)

    def _start(self, name: str) -> Target:
        port, upstream = free_port(), self.upstream_port
        if name == "direct":
            return Target(name=name, port=upstream, pids=tuple(self.upstream.family()), cookie="")
        if name in _DOORS:
            door = self.door(name)
            target = self._at(name, door.port, door.child, self.signed_in())
        elif name == "nginx":
            target = self._at(name, port, self._keep(peers.start_nginx(self.folder, port, upstream)), self.signed_in())
        elif name == "haproxy":
            target = self._at(
                name, port, self._keep(peers.start_haproxy(self.folder, port, upstream)), self.signed_in()
            )
        elif name == "envoy":
            child = self._keep(peers.start_envoy(self.folder, port, upstream, self.issuer))
            cookie = f"theme=dark; {asyncio.run(sign_in(port, self.issuer))}; lang=en"
            target = self._at(name, port, child, cookie)
        else:
            door = self.door("trusting")
            child = self._keep(peers.start_nginx_that_asks(self.folder, port, upstream, door.port))
            target = self._at(name, port, child, self.signed_in(), door.child)
        return target

    @staticmethod
    def _at(name: str, port: int, child: Child, cookie: str, *more: Child) -> Target:
        """A target that answers, and tells the upstream who asks, if it tells of anybody. Raises BenchFailed."""
        expected = "" if name in ("nginx", "haproxy", "envoy") else EMAIL
        status, body = ask_once(Load(path="/whoami"), port, cookie)
        if status != 200 or body.decode().strip() != expected:
            raise BenchFailed(f"{LABELS[name]}: {status} {body[:200]!r} instead of {expected!r}")
        # Only now: who answers has started all of its processes.
        pids = [pid for each in (child, *more) for pid in each.family()]
        return Target(name=name, port=port, pids=tuple(pids), cookie=cookie)
