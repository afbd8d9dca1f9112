"""What can happen to the store: done to the real server, or to the link to it, and proved by the server's own INFO or the link's counters."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from tests.chaos.stage import Stage
from tests.chaos.trial import BLIND_BOUND, Fault, Proof
from tests.fakes.redis_commands import command


async def _info(stage: Stage, section: str) -> dict[str, Any]:
    found: dict[str, Any] = await stage.redis.info(section)
    return found


async def _refused(stage: Stage) -> str:
    """What the server says to a write."""
    try:
        await stage.redis.set("doorward-chaos-probe", b"x" * 64)
    except RedisError as error:
        return type(error).__name__.removesuffix("Error")
    await stage.redis.delete("doorward-chaos-probe")
    return ""


@asynccontextmanager
async def slow(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    link = stage.links["redis"]
    before = link.counts["delayed pieces"]
    link.misbehave("delay", 0.15)
    yield
    link.behave()
    proof.text = f"{link.counts['delayed pieces'] - before} pieces 150 ms late"


@asynccontextmanager
async def down(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    run = (await _info(stage, "server"))["run_id"]
    await asyncio.to_thread(stage.valkey.stop)
    yield
    refused = not os.path.exists(stage.valkey.url.removeprefix("unix://"))
    await asyncio.to_thread(stage.valkey.start)
    if refused and (await _info(stage, "server"))["run_id"] != run:
        proof.text = "no server for the whole time, then another process"


@asynccontextmanager
async def restarted(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    run = (await _info(stage, "server"))["run_id"]
    await asyncio.to_thread(stage.valkey.stop)
    await asyncio.to_thread(stage.valkey.start)
    size = await stage.redis.dbsize()
    if (await _info(stage, "server"))["run_id"] != run and size:
        proof.text = f"another process, {size} keys"
    yield


@asynccontextmanager
async def killed(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """kill -9: what was acknowledged must be in its file."""
    server = await _info(stage, "server")
    os.kill(int(server["process_id"]), signal.SIGKILL)
    await asyncio.to_thread(stage.valkey.stop)
    await asyncio.to_thread(stage.valkey.start)
    size = await stage.redis.dbsize()
    if (await _info(stage, "server"))["run_id"] != server["run_id"] and size:
        proof.text = f"kill -9, another process, {size} keys"
    yield


@asynccontextmanager
async def emptied(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    run = (await _info(stage, "server"))["run_id"]
    await asyncio.to_thread(stage.valkey.stop)
    for entry in (stage.folder / "store" / "valkey").iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.suffix in (".rdb", ".aof"):
            entry.unlink()
    await asyncio.to_thread(stage.valkey.start)
    size = await stage.redis.dbsize()
    if (await _info(stage, "server"))["run_id"] != run and size < 10:
        proof.text = f"another process, {size} keys"
    yield


@asynccontextmanager
async def read_only(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    await command(stage.redis, "REPLICAOF", "127.0.0.1", "9")
    said = await _refused(stage)
    yield
    role = (await _info(stage, "replication"))["role"]
    await command(stage.redis, "REPLICAOF", "NO", "ONE")
    if said == "ReadOnly" and role == "slave":
        proof.text = f"role {role}, a write: {said}"


@asynccontextmanager
async def full(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    await stage.redis.config_set("maxmemory-policy", "noeviction")
    await stage.redis.config_set("maxmemory", "1mb")
    said = await _refused(stage)
    yield
    stats = await _info(stage, "memory")
    await stage.redis.config_set("maxmemory", "0")
    if said == "OutOfMemory":
        proof.text = f"maxmemory {stats['maxmemory_human']}, used {stats['used_memory_human']}, a write: {said}"


@asynccontextmanager
async def connections_killed(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """Every connection of the gateway's, four times a second."""
    killed = 0
    stop = asyncio.Event()

    async def kill() -> None:
        nonlocal killed
        while not stop.is_set():
            for line in await stage.redis.client_list():
                # Ours come by the same socket; the gateway's are those that came through the link, by file descriptor of this process.
                if line["name"] == "doorward" and line["id"] not in mine:
                    killed += int(await stage.redis.client_kill_filter(_id=line["id"]))
            await asyncio.sleep(0.25)

    mine = {line["id"] for line in await stage.redis.client_list() if line["cmd"] == "client|list"}
    task = asyncio.create_task(kill())
    yield
    stop.set()
    await task
    if killed:
        proof.text = f"CLIENT KILL ended {killed} connections"


@asynccontextmanager
async def paused(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    before = (await _info(stage, "stats"))["total_commands_processed"]
    await command(stage.redis, "CLIENT", "PAUSE", "3000", "ALL")
    yield
    await asyncio.sleep(0.2)
    stats = await _info(stage, "stats")
    proof.text = f"CLIENT PAUSE for 3 s; {stats['total_commands_processed'] - before} commands since"


@asynccontextmanager
async def frozen(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    pid = int((await _info(stage, "server"))["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        with open(f"/proc/{pid}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
    finally:
        os.kill(pid, signal.SIGCONT)
    if state == "T":
        proof.text = f"process {pid} was stopped (SIGSTOP)"


FAULTS = (
    Fault(name="redis slow", happening=slow),
    Fault(name="redis down", happening=down),
    Fault(name="redis read-only", happening=read_only),
    Fault(name="redis full", happening=full),
    Fault(name="redis restarted, data kept", happening=restarted, at_once=True, seconds=2.0),
    Fault(name="redis killed, data kept", happening=killed, at_once=True, seconds=2.0),
    Fault(name="redis connections killed", happening=connections_killed),
    Fault(name="redis paused", happening=paused, bound=BLIND_BOUND),
    Fault(name="redis frozen", happening=frozen, bound=BLIND_BOUND, seconds=5.0),
    Fault(name="redis restarted empty", happening=emptied, at_once=True, keeps=False, seconds=2.0),
)
SERVED_FAULTS = (Fault(name="redis down, serve_cached", happening=down, serves=True, bound=BLIND_BOUND),)
