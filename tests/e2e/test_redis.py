"""The distribution's Redis 7: TLS with client certificates and an ACL user, and the promises about clusters and sentinels once more."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import connect, push_sources
from gateway.redis_client.routed_client import RoutedClient
from gateway.redis_client.self_test import examine
from gateway.sessions.cache import SessionCache
from gateway.sessions.store import SessionStore
from tests.e2e.needs import program
from tests.fakes.house import free_port
from tests.fakes.redis_servers import (
    RedisServer,
    SentinelSet,
    ValkeyCluster,
    running_cluster,
    running_sentinels,
)
from tests.fakes.waiting import eventually
from tests.unit.redis_client.test_client import a_certificate
from tests.unit.redis_client.test_routed_client import (  # noqa: F401 - the same promises, kept by another server
    spread,
    test_a_cluster_that_misses_slots_is_a_refusal,
    test_a_key_that_is_on_its_way_is_found_where_it_goes,
    test_a_lease_has_one_holder_and_is_given_back,
    test_a_login_attempt_is_used_up_once,
    test_a_primary_that_dies_costs_503_until_its_replica_took_over_and_nobody_a_session,
    test_a_replaced_session_is_dead_when_the_new_one_is_handed_out,
    test_a_replica_is_never_read,
    test_after_a_failover_the_new_primary_is_used_and_no_session_is_lost,
    test_nobody_gets_anothers_session_and_none_is_lost_while_slots_move,
    test_sessions_are_issued_found_and_ended_wherever_their_keys_are,
    test_what_is_written_is_answered_when_the_replicas_have_it_too,
    watched,
)
from tests.unit.redis_client.test_self_test import RIGHTS
from tests.unit.sessions.made import APP, HOST, ISSUER, a_fleet, a_session, a_store

BINARY = str(program("redis-server"))
USER = "doorward"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with running_cluster(binary=BINARY) as servers:
        yield servers


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelSet]:
    with running_sentinels(binary=BINARY) as servers:
        yield servers


@pytest.fixture(params=["cluster", "sentinels"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[RoutedClient]:
    servers = request.getfixturevalue(request.param)
    if isinstance(servers, ValkeyCluster):
        await asyncio.to_thread(servers.wait_replicas)  # the test before may have moved slots, or killed a primary
    client = a_fleet(servers.url)
    yield client
    await client.aclose()


@asynccontextmanager
async def a_worker(settings: schema.Redis, prefix: str) -> AsyncIterator[tuple[SessionStore, SessionCache]]:
    redis = connect(settings)
    await examine(redis, push_sources(redis, settings), prefix)
    store = a_store(redis, prefix)
    cache = SessionCache(store, push_sources(redis, settings), time.monotonic, tick=0.02, ping_every=0.5)
    cache.start()
    try:
        await eventually(lambda: cache.trusted, within=20)
        yield store, cache
    finally:
        await cache.close()
        await redis.aclose()


async def sign_in_and_out(settings: schema.Redis, prefix: str) -> None:
    """Sessions are issued, answered from memory, and ended in another worker's memory."""
    async with a_worker(settings, prefix) as (store, _), a_worker(settings, prefix) as (_, other):
        keys = [store.key_of(await store.issue(a_session("ana", provider_sid=f"s{number}"))) for number in range(9)]
        for key in keys:
            assert await other.load(key, HOST, APP) is not None
            assert other.peek(key, HOST) is not None
        assert len(await store.revoke_person(ISSUER, "ana")) == len(keys)
        await eventually(lambda: not any(other.peek(key, HOST) for key in keys))


# --- TLS and ACL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return a_certificate(tmp_path)


def tls_settings(certificate: Path, port: int) -> dict[str, str]:
    files = dict.fromkeys(("tls-cert-file", "tls-key-file", "tls-ca-cert-file"), str(certificate))
    return {**files, "tls-port": str(port), "tls-auth-clients": "yes"}


def url_of(scheme: str, password: str, *ports: int) -> SecretStr:
    return SecretStr(f"{scheme}://{USER}:{password}@{','.join(f'127.0.0.1:{port}' for port in ports)}")


async def test_one_server_over_tls_with_a_client_certificate_and_a_user_of_few_rights(
    tmp_path: Path, certificate: Path
) -> None:
    """C-43, C-48: the user of the guide suffices; without the certificate or with another password nobody gets in."""
    secure = free_port()
    settings = {"port": str(free_port()), "bind": "127.0.0.1", "save": "", **tls_settings(certificate, secure)}
    server = RedisServer(tmp_path / "server", settings, binary=BINARY).start()
    try:
        server.command("ACL", "SETUSER", USER, "on", ">p@ss/word", "~doorward:*", "resetchannels", *RIGHTS.split())
        tls = schema.RedisTls(ca=certificate, certificate=certificate, key=certificate)
        url = url_of("rediss", "p%40ss%2Fword", secure)
        await sign_in_and_out(schema.Redis(url=url, tls=tls), "doorward:")
        without = schema.Redis(url=url, tls=schema.RedisTls(ca=certificate))
        wrong = schema.Redis(url=url_of("rediss", "other", secure), tls=tls)
        unknown = schema.Redis(url=url, tls=schema.RedisTls(ca=a_certificate(tmp_path), certificate=certificate))
        for refused in (without, wrong, unknown):
            redis = connect(refused)
            with pytest.raises(StoreUnavailable):
                await a_store(redis, "doorward:").ping()
            await redis.aclose()
    finally:
        server.kill()


async def test_a_cluster_over_tls_with_a_user_of_few_rights(certificate: Path) -> None:
    """C-43, C-44: every node is reached and heard over TLS, at the ports that the cluster tells."""
    with running_cluster(replicas=False, binary=BINARY, tls=certificate) as cluster:
        for node in cluster.nodes:
            node.command("ACL", "SETUSER", USER, "on", ">pw", "~doorward:*", "resetchannels", *RIGHTS.split())
        tls = schema.RedisTls(ca=certificate, certificate=certificate, key=certificate)
        url = url_of("rediss+cluster", "pw", cluster.nodes[0].tls_port)
        await sign_in_and_out(schema.Redis(url=url, tls=tls), "doorward:")


async def test_sentinels_and_servers_with_users_of_their_own(sentinels: SentinelSet) -> None:
    """C-48: the servers' password does not go to the sentinels, nor theirs to the servers."""
    for server in sentinels.servers:
        server.command("ACL", "SETUSER", USER, "on", ">pw", "~doorward:*", "resetchannels", *RIGHTS.split())
    watcher = ("+sentinel|master", "+sentinel|replicas", "+sentinel|slaves", "+@connection")
    for sentinel in sentinels.sentinels:
        sentinel.command("ACL", "SETUSER", "watch", "on", ">looking", "-@all", *watcher)
    url = sentinels.url.replace("://", f"://{USER}:pw@")
    mine = schema.RedisSentinel(username="watch", password=SecretStr("looking"))
    await sign_in_and_out(schema.Redis(url=SecretStr(url), sentinel=mine), "doorward:")
    redis = connect(schema.Redis(url=SecretStr(url), sentinel=schema.RedisSentinel(password=SecretStr("wrong"))))
    with pytest.raises(StoreUnavailable):
        await a_store(redis, "doorward:").ping()
    await redis.aclose()
