"""Several servers that answer as one: a primary of a Sentinel set is replaced, a node of a cluster is lost, slots move (real servers, real signals)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.redis_client.topology import slot_of
from tests.chaos.stage import PREFIX, Stage
from tests.chaos.trial import BLIND_BOUND, Fault, Proof
from tests.fakes.redis_servers import RedisServer, SentinelSet, ValkeyCluster, replicas_of, until

_SLOTS: Final = 24


async def _in_thread(work: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.to_thread(work, *given)


def _sentinels(stage: Stage) -> SentinelSet:
    assert isinstance(stage.servers, SentinelSet)
    return stage.servers


def _cluster(stage: Stage) -> ValkeyCluster:
    assert isinstance(stage.servers, ValkeyCluster)
    return stage.servers


@asynccontextmanager
async def failover_asked(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    made = _sentinels(stage)
    before = await _in_thread(lambda: made.primary)
    await _in_thread(made.fail_over)
    yield
    after = await _in_thread(lambda: made.primary)
    proof.text = f"SENTINEL FAILOVER: port {after.port} instead of {before.port}" if after is not before else ""
    await _in_thread(_all_in_touch, made)


def _all_in_touch(made: SentinelSet) -> None:
    until(lambda: replicas_of(made.primary) == 2, "both others follow the primary")


@asynccontextmanager
async def primary_killed(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    made = _sentinels(stage)
    before = await _in_thread(lambda: made.primary)
    await _in_thread(before.kill)
    yield
    await _in_thread(until, lambda: made.primary is not before, "another is primary")
    after = await _in_thread(lambda: made.primary)
    await _in_thread(before.start)
    proof.text = f"kill -9 of the primary; port {after.port} instead of {before.port}"
    await _in_thread(_all_in_touch, made)


@asynccontextmanager
async def primary_frozen(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """It wakes after another took its place, and for a moment believes that it is still the primary."""
    made = _sentinels(stage)
    before = await _in_thread(lambda: made.primary)
    before.pause()
    await _in_thread(until, lambda: made.primary is not before, "another is primary")
    after = await _in_thread(lambda: made.primary)
    before.go_on()
    yield
    proof.text = f"SIGSTOP of the primary until port {after.port} took the place of {before.port}, then SIGCONT"
    await _in_thread(_all_in_touch, made)


@asynccontextmanager
async def node_lost(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    cluster = _cluster(stage)
    node = await _in_thread(cluster.primary_of, 0)
    replica: RedisServer = await _in_thread(cluster.replica_of, node)
    await _in_thread(node.kill)
    yield
    await _in_thread(until, lambda: replica.command("ROLE")[0] == "master", "the replica took over")
    await _in_thread(node.start)
    proof.text = f"kill -9 of node {node.port}; its replica {replica.port} took over"
    await _in_thread(cluster.wait_whole)
    await _in_thread(until, lambda: replicas_of(replica) == 1, "the lost node follows")


@asynccontextmanager
async def resharding(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """The slots of sessions that are asked for move, key by key, to a node that had none of them."""
    cluster = _cluster(stage)
    keys = [key async for key in stage.client.scan_iter(match=f"{PREFIX}s:*", count=1000)]
    slots = list(dict.fromkeys(slot_of(key) for key in keys))[:_SLOTS]
    primaries = list({await _in_thread(cluster.primary_of, slot) for slot in (0, 8192, 16383)})
    moved = 0

    async def move() -> None:
        nonlocal moved
        for slot in slots:
            source = await _in_thread(cluster.primary_of, slot)
            target = next(one for one in primaries if one is not source)
            await _in_thread(cluster.move_slot, slot, target)
            moved += (await _in_thread(cluster.primary_of, slot)) is target

    task = asyncio.create_task(move())
    yield
    await task
    proof.text = f"{moved} slots with sessions moved to other nodes" if moved else ""
    await _in_thread(cluster.wait_whole)


SENTINEL_FAULTS: Final = (
    Fault(name="sentinel: failover asked for", happening=failover_asked, at_once=True),
    Fault(name="sentinel: primary killed", happening=primary_killed, at_once=True),
    Fault(name="sentinel: primary frozen", happening=primary_frozen, at_once=True, bound=BLIND_BOUND),
)
CLUSTER_FAULTS: Final = (
    Fault(name="cluster: resharding", happening=resharding),
    Fault(name="cluster: node lost", happening=node_lost, at_once=True, seconds=6.0),
)
