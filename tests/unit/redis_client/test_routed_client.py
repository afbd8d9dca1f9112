"""Sessions in a cluster and under sentinels: spread, followed where they go, written where they outlast a failover."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import connect
from gateway.redis_client.connection_factory import ConnectionFactory, NotPrimary
from gateway.redis_client.leases import LeaseBusy, Leases
from gateway.redis_client.routed_client import RoutedClient
from gateway.redis_client.topology import Topology, one_primary, slot_of
from gateway.sessions.store import SessionStore
from tests.fakes.clock import SettableClock
from tests.fakes.house import free_port
from tests.fakes.redis_servers import RedisServer, SentinelSet, ValkeyCluster, replicas_of, until
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import APP, HOST, ISSUER, a_fleet, a_session, a_store, settings

Person = TypeVar("Person", bound=Hashable)


async def people_found(store: SessionStore, tokens: Mapping[Person, str]) -> dict[Person, str | None]:
    """Who each token is said to be."""
    found: dict[Person, str | None] = {}
    for person, token in tokens.items():
        stored = await store.fetch(store.key_of(token), HOST, APP)
        found[person] = None if stored is None else stored.session.identity.subject
    return found


# --- the store on a fleet ---------------------------------------------------------------------------------------------


async def test_sessions_are_issued_found_and_ended_wherever_their_keys_are(fleet: RoutedClient, prefix: str) -> None:
    """C-41."""
    store = a_store(fleet, prefix)
    tokens = {f"p{number}": await store.issue(a_session(f"p{number}")) for number in range(30)}
    assert await people_found(store, tokens) == {person: person for person in tokens}
    mine = [await store.issue(a_session("ana", provider_sid=f"s{number}")) for number in range(10)]
    assert len(await store.revoke_person(ISSUER, "ana")) == 10
    assert await people_found(store, dict(enumerate(mine))) == dict.fromkeys(range(10))
    assert len(await store.revoke_provider_session(ISSUER, "provider-sid-1")) == 30
    assert await people_found(store, tokens) == dict.fromkeys(tokens)
    assert [key async for key in fleet.scan_iter(match=f"{prefix}s:*")] == []


async def test_a_replaced_session_is_dead_when_the_new_one_is_handed_out(fleet: RoutedClient, prefix: str) -> None:
    """C-40."""
    store = a_store(fleet, prefix)
    for _ in range(10):
        old = store.key_of(await store.issue(a_session()))
        new = await store.issue(a_session(), replaces=old)
        assert await store.fetch(old, HOST, APP) is None
        assert await store.fetch(store.key_of(new), HOST, APP) is not None


async def test_all_keys_are_found_by_a_scan_of_all_primaries(fleet: RoutedClient, prefix: str) -> None:
    store = a_store(fleet, prefix)
    keys = {store.key_of(await store.issue(a_session(f"p{number}"))) for number in range(40)}
    found = [key async for key in fleet.scan_iter(match=f"{prefix}s:*", count=10)]
    assert {key.decode().removeprefix(f"{prefix}s:") for key in found} == keys


async def test_a_login_attempt_is_used_up_once(fleet: RoutedClient, prefix: str) -> None:
    """A-54."""
    store = a_store(fleet, prefix)
    for number in range(10):
        assert await store.consume(f"attempt-{number}", timedelta(minutes=1))
        assert not await store.consume(f"attempt-{number}", timedelta(minutes=1))


async def test_a_lease_has_one_holder_and_is_given_back(fleet: RoutedClient, prefix: str, clock: SettableClock) -> None:
    leases = Leases(fleet, prefix, clock.monotonic)
    for number in range(10):
        async with leases.hold(f"work-{number}", timedelta(0)):
            with pytest.raises(LeaseBusy):
                async with leases.hold(f"work-{number}", timedelta(0)):
                    raise AssertionError("two holders")
        async with leases.hold(f"work-{number}", timedelta(0)):
            pass


async def test_what_is_written_is_answered_when_the_replicas_have_it_too(
    fleet: RoutedClient, prefix: str, request: pytest.FixtureRequest
) -> None:
    """C-44: whichever of them is promoted knows of a sign-out."""
    store = a_store(fleet, prefix)
    keys = [store.key_of(await store.issue(a_session(f"p{number}"))) for number in range(20)]
    for key in keys:
        await store.revoke(key)
    assert fleet.unconfirmed == 0
    # The replicas are asked, not the primaries: nothing of it is left in any of them.
    name = "cluster" if "cluster" in request.node.name else "sentinels"
    servers = request.getfixturevalue(name)
    for server in getattr(servers, "nodes", None) or servers.servers:
        assert server.admin(lambda client: list(client.scan_iter(match=f"{prefix}s:*"))) == []


async def test_a_transaction_over_a_fleet_is_refused(fleet: RoutedClient) -> None:
    with pytest.raises(ValueError, match="no transaction"):
        fleet.pipeline()


# --- a cluster --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def spread(cluster: ValkeyCluster) -> AsyncIterator[RoutedClient]:
    client = a_fleet(cluster.url)
    yield client
    await client.aclose()


async def test_nobody_gets_anothers_session_and_none_is_lost_while_slots_move(
    cluster: ValkeyCluster, spread: RoutedClient, prefix: str
) -> None:
    """C-41, D-05: slots wander from node to node and back while sixteen readers ask for sessions in them."""
    store = a_store(spread, prefix)
    tokens = {f"p{number}": await store.issue(a_session(f"p{number}")) for number in range(120)}
    keys = {person: store.key_of(token) for person, token in tokens.items()}
    slots = sorted({slot_of(f"{prefix}s:{key}".encode()) for key in keys.values()})[:16]
    answers: list[tuple[str, str | None]] = []
    moving = True

    async def read(number: int) -> None:
        while moving:
            for person in list(keys)[number::16]:
                stored = await store.fetch(keys[person], HOST, APP)
                answers.append((person, None if stored is None else stored.session.identity.subject))

    readers = [asyncio.create_task(read(number)) for number in range(16)]
    primaries = [node for node in cluster.nodes if node.command("ROLE")[0] == "master"]
    for turn in range(2):
        for index, slot in enumerate(slots):
            await asyncio.to_thread(cluster.move_slot, slot, primaries[(index + turn) % len(primaries)])
    await eventually(lambda: len(answers) > 500)
    moving = False
    await asyncio.gather(*readers)
    assert [answer for answer in answers if answer[0] != answer[1]] == []
    assert {person for person, _ in answers} == set(keys)


async def test_a_key_that_is_on_its_way_is_found_where_it_goes(
    cluster: ValkeyCluster, spread: RoutedClient, prefix: str
) -> None:
    """D-05: MIGRATING and IMPORTING stay as they are, as when a reshard was interrupted."""
    store = a_store(spread, prefix)
    key = store.key_of(await store.issue(a_session()))
    slot = slot_of(f"{prefix}s:{key}".encode())
    source = cluster.primary_of(slot)
    target = next(node for node in cluster.nodes if node is not source and node.command("ROLE")[0] == "master")
    await asyncio.to_thread(cluster.begin_move, slot, target)
    assert all(await asyncio.gather(*(store.fetch(key, HOST, APP) for _ in range(40))))
    await store.touch({key: timedelta(hours=9)})
    assert await store.revoke(key) is not None
    assert await store.fetch(key, HOST, APP) is None
    await asyncio.to_thread(cluster.end_move, slot, target)
    key = store.key_of(await store.issue(a_session()))
    assert await store.fetch(key, HOST, APP) is not None
    assert await store.revoke(key) is not None
    assert await store.fetch(key, HOST, APP) is None


async def test_a_primary_that_dies_costs_503_until_its_replica_took_over_and_nobody_a_session(
    cluster: ValkeyCluster, spread: RoutedClient, prefix: str
) -> None:
    """C-43, D-05: whoever asks meanwhile gets the session or a refusal, never "no session"; nobody gets another's."""
    store = a_store(spread, prefix)
    tokens = {f"p{number}": await store.issue(a_session(f"p{number}")) for number in range(60)}
    keys = {person: store.key_of(token) for person, token in tokens.items()}
    assert spread.unconfirmed == 0
    refused: list[tuple[int, int | None]] = []
    answers: list[tuple[str, str | None]] = []
    failing = True

    async def read(number: int) -> None:
        while failing:
            for person in list(keys)[number::8]:
                await asyncio.sleep(0)
                try:
                    stored = await store.fetch(keys[person], HOST, APP)
                except StoreUnavailable as refusal:
                    refused.append((refusal.status, refusal.retry_after))
                    await asyncio.sleep(0.01)
                else:
                    answers.append((person, None if stored is None else stored.session.identity.subject))

    readers = [asyncio.create_task(read(number)) for number in range(8)]
    slot = slot_of(f"{prefix}s:{keys['p0']}".encode())
    victim = cluster.primary_of(slot)
    replica = cluster.replica_of(victim)
    victim.kill()
    await asyncio.to_thread(until, lambda: replica.command("ROLE")[0] == "master", "the replica took over")
    await asyncio.to_thread(cluster.wait_whole)
    before = len(answers)
    await eventually(lambda: {person for person, _ in answers[before:]} == set(keys))
    failing = False
    await asyncio.gather(*readers)
    assert set(refused) == {(503, 2)}
    assert [answer for answer in answers if answer[0] != answer[1]] == []
    victim.start()  # the old primary comes back as a replica of the new one
    await asyncio.to_thread(until, lambda: replicas_of(replica) == 1, "it follows")
    assert await people_found(store, tokens) == {person: person for person in tokens}


async def test_a_cluster_that_misses_slots_is_a_refusal(
    cluster: ValkeyCluster, spread: RoutedClient, prefix: str
) -> None:
    """C-43: CLUSTERDOWN is no "no session"."""
    store = a_store(spread, prefix)
    key = store.key_of(await store.issue(a_session()))
    slot = next(number for number in range(16384) if cluster.primary_of(number) is not cluster.primary_of(0))
    owner = cluster.primary_of(slot)
    for node in cluster.nodes:
        node.command("CLUSTER", "DELSLOTS", slot)
    await asyncio.to_thread(
        until, lambda: "cluster_state:fail" in str(cluster.nodes[0].admin(_cluster_info)), "the cluster is down"
    )
    with pytest.raises(StoreUnavailable):
        await store.fetch(key, HOST, APP)
    owner.command("CLUSTER", "ADDSLOTS", slot)
    await asyncio.to_thread(cluster.wait_whole)
    await eventually(lambda: _found(store, key))


def _cluster_info(client: redis.Redis) -> str:
    return str(client.execute_command("CLUSTER", "INFO"))  # type: ignore[no-untyped-call]


async def _found(store: SessionStore, key: str) -> bool:
    try:
        return await store.fetch(key, HOST, APP) is not None
    except StoreUnavailable:
        return False


# --- sentinels --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def watched(sentinels: SentinelSet) -> AsyncIterator[RoutedClient]:
    client = a_fleet(sentinels.url)
    yield client
    await client.aclose()


async def test_a_replica_is_never_read(sentinels: SentinelSet, watched: RoutedClient, prefix: str) -> None:
    """C-43, C-44: it may not know yet of a sign-out; not even for one whose address the configuration gives."""
    store = a_store(watched, prefix)
    key = store.key_of(await store.issue(a_session()))
    replica = next(one for one in sentinels.servers if one is not sentinels.primary)
    assert replica.command("EXISTS", f"{prefix}s:{key}") == 1
    client = connect(settings(f"redis://{replica.address}"))
    with pytest.raises(StoreUnavailable, match="the server is a replica"):
        await a_store(client, prefix).fetch(key, HOST, APP)
    with pytest.raises(NotPrimary):
        await client.ping()
    await client.aclose()


async def test_without_sentinels_the_known_primary_is_used_and_a_new_process_is_refused(
    sentinels: SentinelSet, watched: RoutedClient, prefix: str
) -> None:
    """C-43."""
    store = a_store(watched, prefix)
    key = store.key_of(await store.issue(a_session()))
    for sentinel in sentinels.sentinels:
        sentinel.kill()
    assert await store.fetch(key, HOST, APP) is not None
    fresh = a_fleet(sentinels.url)
    with pytest.raises(StoreUnavailable):
        await a_store(fresh, prefix).fetch(key, HOST, APP)
    for sentinel in sentinels.sentinels:
        sentinel.start()
    assert await a_store(fresh, prefix).fetch(key, HOST, APP) is not None
    await fresh.aclose()


async def test_a_name_that_the_sentinels_do_not_know_is_a_refusal(sentinels: SentinelSet, prefix: str) -> None:
    """C-43."""
    client = a_fleet(sentinels.url.replace("/doors", "/windows"))
    with pytest.raises(StoreUnavailable):
        await a_store(client, prefix).ping()
    await client.aclose()


async def test_a_write_that_no_replica_has_is_not_answered_for(
    sentinels: SentinelSet, watched: RoutedClient, prefix: str
) -> None:
    """C-43, C-44: a primary that was cut off takes a sign-out, and the failover forgets it; reading goes on."""
    store = a_store(watched, prefix)
    key = store.key_of(await store.issue(a_session()))
    replicas = [server for server in sentinels.servers if server is not sentinels.primary]
    for replica in replicas:
        replica.pause()
    with pytest.raises(StoreUnavailable, match="no replica confirmed the write"):
        await store.revoke(key)
    with pytest.raises(StoreUnavailable, match="no replica confirmed the write"):
        await store.consume("attempt", timedelta(minutes=1))
    for replica in replicas:
        replica.go_on()
    await asyncio.to_thread(until, lambda: replicas_of(sentinels.primary) == 2, "they follow again")
    await eventually(lambda: _issued(store))


async def _issued(store: SessionStore) -> bool:
    try:
        return bool(await store.issue(a_session()))
    except StoreUnavailable:
        return False


async def test_after_a_failover_the_new_primary_is_used_and_no_session_is_lost(
    sentinels: SentinelSet, watched: RoutedClient, prefix: str
) -> None:
    """C-43, D-05: ordered by an operator, then because the primary died."""
    store = a_store(watched, prefix)
    tokens = {f"p{number}": await store.issue(a_session(f"p{number}")) for number in range(20)}
    sentinels.fail_over()
    await eventually(lambda: _found(store, store.key_of(tokens["p0"])))
    assert await people_found(store, tokens) == {person: person for person in tokens}
    await asyncio.to_thread(until, lambda: replicas_of(sentinels.primary) >= 1, "another follows")
    await watched.refresh_topology()
    tokens["late"] = await store.issue(a_session("late"))
    victim = sentinels.primary
    victim.kill()
    with pytest.raises(StoreUnavailable):
        await store.fetch(store.key_of(tokens["late"]), HOST, APP)
    await eventually(lambda: _found(store, store.key_of(tokens["late"])))
    assert await people_found(store, tokens) == {person: person for person in tokens}
    victim.start()


class TwoServers:
    """A discovery that says of one of two servers that it is the primary."""

    def __init__(self, servers: list[RedisServer]) -> None:
        self.servers = servers
        self.primary = servers[0]

    async def discover(self, known: Topology | None) -> Topology:
        return one_primary(("127.0.0.1", self.primary.port), 0)

    async def aclose(self) -> None: ...


@pytest.fixture
def two_servers(tmp_path: Path) -> Iterator[TwoServers]:
    servers = [RedisServer(tmp_path / name, {"port": str(free_port()), "save": ""}) for name in ("one", "other")]
    yield TwoServers([server.start() for server in servers])
    for server in servers:
        server.kill()


def clients_of(server: RedisServer) -> int:
    return str(server.command("CLIENT", "LIST")).count("doorward")


async def test_another_primary_is_announced_before_it_is_read_and_the_old_one_is_left(two_servers: TwoServers) -> None:
    """C-43, C-44: who listens for changes does not hear the new one's yet; what still reads the old one lags."""
    before, after = two_servers.servers
    changes: list[int] = []
    client = RoutedClient(ConnectionFactory(settings(f"redis://{before.address}")), two_servers, 4)
    client.watch_servers(lambda: changes.append(clients_of(after)))
    await client.execute_command("SET", "k", "v")
    assert (len(changes), clients_of(before)) == (1, 1)
    await client.refresh_topology()
    assert len(changes) == 1  # nothing changed
    two_servers.primary = after
    await client.refresh_topology()
    assert changes[1:] == [0]
    await client.execute_command("SET", "k", "v")
    await eventually(lambda: (clients_of(before), clients_of(after)) == (0, 1))
    await client.aclose()
