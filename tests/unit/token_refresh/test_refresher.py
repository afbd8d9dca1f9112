"""One attempt at a time, its answer stored before anything else, and no hammering: a real Valkey, a real provider, clocks to set."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config.schema import ProviderKeys
from gateway.demo.provider import DemoClient
from gateway.errors.refusal import Refusal
from gateway.errors.signing_in import DirectoryUnavailable, NotRegistered
from gateway.identity.claims import Identity
from gateway.observability.events import Audit
from gateway.oidc.calls import open_session
from gateway.oidc.provider import Provider
from gateway.oidc.providers import ProviderClient, provider_client
from gateway.proxy.identity_fields import specimen
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.redis_client.leases import Leases
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.live import LiveSession, live_from
from gateway.sessions.renewal_hook import Recheck, keep_directory_facts
from gateway.sessions.session import Session
from gateway.sessions.store import SessionStore
from gateway.token_refresh.attempts import MEMORY, Attempts
from gateway.token_refresh.refresher import Refresher
from gateway.token_refresh.renewal import Renewal
from tests.fakes.clock import SettableClock
from tests.fakes.provider import MIA, MisbehavingProvider, earlier_sign_in, says
from tests.fakes.redis_servers import running_cluster
from tests.fakes.valkey import FlakyLink
from tests.fakes.waiting import eventually
from tests.unit.oidc.conftest import SECRET
from tests.unit.sessions.made import APP, HOST, a_client, a_session, with_every_field

HOUR = timedelta(hours=1)


class Fleet:
    """Workers that share a store and a provider; `lines` is what all of them wrote."""

    def __init__(self, redis: Redis, prefix: str, clock: SettableClock, client: ProviderClient, key: str) -> None:
        self.redis = redis
        self.prefix = prefix
        self.clock = clock
        self.client = client
        self.store = SessionStore(redis, KeyRing([key]), prefix, clock.now)
        self.lines: list[dict[str, Any]] = []
        self.changed: list[str] = []
        self.refreshers: list[Refresher] = []

    def worker(
        self,
        recheck: Recheck = keep_directory_facts,
        lease: timedelta = timedelta(seconds=5),
        attempts: Redis | None = None,
    ) -> Refresher:
        refresher = Refresher(
            store=self.store,
            leases=Leases(self.redis, self.prefix, asyncio.get_running_loop().time),
            attempts=Attempts(attempts or self.redis, self.prefix),
            renewal=Renewal(self.store, recheck, asyncio.get_running_loop().time, self.clock.now),
            client_of=lambda session: self.client.refresh,
            on_change=self.changed.append,
            audit=Audit(lambda line: self.lines.append(json.loads(line))),
            clock=self.clock.monotonic,
            now=self.clock.now,
            lease=lease,
        )
        self.refreshers.append(refresher)
        return refresher

    async def issue(self, provider: MisbehavingProvider, **changes: Any) -> str:
        return self.store.key_of(await self.store.issue(a_session(**{**earlier_sign_in(provider), **changes})))

    async def live(self, refresher: Refresher, key: str) -> LiveSession:
        stored = await self.store.fetch(key, HOST, APP)
        assert stored is not None
        live = live_from(key, stored, self.clock.monotonic())
        refresher.schedule(live, self.clock.monotonic())
        return live

    async def session(self, key: str) -> Session | None:
        stored = await self.store.fetch(key, HOST, APP)
        return None if stored is None else stored.session

    async def look_after(self, refresher: Refresher, key: str) -> LiveSession:
        """As a request does that finds the session's attention due."""
        live = await self.live(refresher, key)
        begun = refresher.renew(live, self.clock.monotonic())
        if begun is not None:
            await asyncio.wait_for(begun, 60)
        return live

    async def let_the_pause_pass(self, key: str) -> None:
        """Here and in Redis; nobody's tokens come back to life by that."""
        self.clock.advance(600)
        await self.redis.pexpire(f"{self.prefix}refresh:{key}", MEMORY)

    def told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
async def provider(clock: SettableClock) -> AsyncIterator[MisbehavingProvider]:
    fake = MisbehavingProvider(now=clock.now)
    fake.register(DemoClient(client_id="doorward", client_secret=SECRET, redirect_uris=("https://app.example/cb",)))
    await fake.start()
    yield fake
    await fake.close()


@pytest.fixture
async def client(provider: MisbehavingProvider, clock: SettableClock) -> AsyncIterator[ProviderClient]:
    http = open_session()
    keys = ProviderKeys(authority_url=provider.issuer, client_id="doorward", client_secret=SecretStr(SECRET))
    known = Provider(keys, http)
    await known.ping()
    yield provider_client("openid", keys, known, clock.now)
    await known.close()
    await http.close()


@pytest.fixture
async def fleet(redis: Redis, prefix: str, clock: SettableClock, client: ProviderClient) -> AsyncIterator[Fleet]:
    fleet = Fleet(redis, prefix, clock, client, new_key())
    yield fleet
    for refresher in fleet.refreshers:
        await refresher.close()


def refreshes(provider: MisbehavingProvider) -> int:
    return sum(request.form.get("grant_type") == "refresh_token" for request in provider.seen)


async def test_who_lost_the_lease_on_the_way_does_not_ask_the_provider(
    fleet: Fleet, provider: MisbehavingProvider, valkey: str
) -> None:
    """A-71: it passed to another worker while this one waited for Redis; the token may be spent already."""
    async with FlakyLink(valkey) as link:
        slow = a_client(link.url)
        await slow.ping()
        key = await fleet.issue(provider)
        refresher = fleet.worker(lease=timedelta(milliseconds=300), attempts=slow)
        link.stall()
        begun = refresher.renew(await fleet.live(refresher, key), fleet.clock.monotonic())
        assert begun is not None
        lock = f"{fleet.prefix}lock:refresh:{key}"
        await eventually(lambda: fleet.redis.set(lock, "another", xx=True))
        reached = asyncio.get_running_loop().time() + 1.5 * 0.3
        await eventually(
            lambda: asyncio.get_running_loop().time() > reached
        )  # it is renewed three times in that, and found lost
        link.restore()
        await asyncio.wait_for(begun, 60)
        await slow.aclose()
    assert refreshes(provider) == 0
    assert await fleet.redis.get(lock) == b"another"


async def test_of_many_workers_one_asks_the_provider(fleet: Fleet, provider: MisbehavingProvider) -> None:
    """A-71: all of them find the record renewed; the provider ends the family of a token that comes twice."""
    key = await fleet.issue(provider)
    await asyncio.gather(*(fleet.look_after(fleet.worker(), key) for _ in range(8)))
    assert refreshes(provider) == 1
    session = await fleet.session(key)
    assert session is not None
    assert session.access_expires_at == fleet.clock.now() + HOUR
    assert fleet.changed.count(key) == 8
    assert not await fleet.redis.exists(f"{fleet.prefix}refresh:{key}")


async def test_a_lease_is_kept_while_the_provider_takes_its_time(fleet: Fleet, provider: MisbehavingProvider) -> None:
    """A-71: longer than a lease lasts when nobody renews it."""
    fleet_lease = timedelta(milliseconds=300)
    key = await fleet.issue(provider)
    asked = asyncio.Event()

    async def slow() -> None:
        asked.set()
        await asyncio.sleep(4 * fleet_lease.total_seconds())  # the provider's own slowness

    provider.before_tokens = slow
    first, second = fleet.worker(lease=fleet_lease), fleet.worker(lease=fleet_lease)
    winner = asyncio.create_task(fleet.look_after(first, key))
    await asyncio.wait_for(asked.wait(), 60)
    await asyncio.gather(winner, fleet.look_after(second, key))
    assert refreshes(provider) == 1


async def test_whoever_failed_is_left_alone_for_longer_each_time_by_every_worker(
    fleet: Fleet, provider: MisbehavingProvider
) -> None:
    """A-73."""
    key = await fleet.issue(provider)
    provider.faults["token"] = says("busy", status=503)
    first, second = fleet.worker(), fleet.worker()
    for round_ in (1, 2, 3):
        live = await fleet.look_after(first, key)
        await eventually(lambda: refreshes(provider) == round_)  # noqa: B023
        await first.close()
        assert live.renewal_due > fleet.clock.monotonic()
        await fleet.look_after(second, key)
        await fleet.look_after(first, key)
        await second.close()
        assert refreshes(provider) == round_
        left = await fleet.redis.pttl(f"{fleet.prefix}refresh:{key}") / 1000 - MEMORY.total_seconds()
        assert 0.7 * 5 * 2 ** (round_ - 1) < left < 1.3 * 5 * 2 ** (round_ - 1)
        await fleet.let_the_pause_pass(key)
    assert [line["failures"] for line in fleet.told("token.refresh_failed")] == [1, 2, 3]
    del provider.faults["token"]
    await fleet.look_after(second, key)
    await second.close()
    assert len(fleet.told("token.refreshed")) == 1
    assert await fleet.session(key) is not None


async def test_after_a_failure_nobody_waits_for_the_next_attempt(fleet: Fleet, provider: MisbehavingProvider) -> None:
    """A-73: a provider that hangs must not make everybody's requests hang."""
    key = await fleet.issue(provider)
    provider.faults["token"] = says("busy", status=503)
    refresher = fleet.worker()
    await fleet.look_after(refresher, key)
    await fleet.let_the_pause_pass(key)
    go_on = asyncio.Event()

    async def hanging(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.Response(status=503)

    provider.faults["token"] = hanging
    await fleet.look_after(refresher, key)  # returns although the provider does not
    assert len(fleet.told("token.refresh_failed")) == 1
    go_on.set()
    await refresher.close()
    assert len(fleet.told("token.refresh_failed")) == 2


async def test_new_tokens_are_written_again_and_again_while_redis_is_away(
    provider: MisbehavingProvider, clock: SettableClock, client: ProviderClient, own_valkey: EmbeddedValkey
) -> None:
    """A-71: the provider's answer exists nowhere else."""
    redis = a_client(own_valkey.url)
    fleet = Fleet(redis, "doorward:", clock, client, new_key())
    key = await fleet.issue(provider)
    before = await fleet.session(key)
    gone = asyncio.Event()

    async def and_redis_goes() -> None:
        await asyncio.to_thread(own_valkey.stop)
        gone.set()

    provider.before_tokens = and_redis_goes
    refresher = fleet.worker()
    looking = asyncio.create_task(fleet.look_after(refresher, key))
    await asyncio.wait_for(gone.wait(), 60)
    await asyncio.to_thread(own_valkey.start)
    await looking
    await refresher.close()
    after = await fleet.session(key)
    assert before is not None
    assert after is not None
    assert after.refresh_token not in (None, before.refresh_token)
    assert provider.tokens.refresh(after.refresh_token or "", "doorward"), "the family is alive"
    await redis.aclose()


async def test_it_is_the_same_in_a_cluster(
    provider: MisbehavingProvider, clock: SettableClock, client: ProviderClient
) -> None:
    """A-71: lease, note and record lie in different slots; no command names two of them."""
    with running_cluster(replicas=False) as servers:
        redis = a_client(servers.url)
        fleet = Fleet(redis, "doorward:", clock, client, new_key())
        keys = [await fleet.issue(provider) for _ in range(6)]
        await asyncio.gather(*(fleet.look_after(fleet.worker(), key) for key in keys for _ in range(3)))
        assert refreshes(provider) == len(keys)
        for key in keys:
            session = await fleet.session(key)
            assert session is not None
            assert session.access_expires_at == clock.now() + HOUR
        await redis.aclose()


async def test_a_session_that_ends_meanwhile_stays_ended_and_its_new_tokens_are_revoked(
    fleet: Fleet, provider: MisbehavingProvider
) -> None:
    """A-71, C-44."""
    key = await fleet.issue(provider)

    async def and_out() -> None:
        await fleet.store.revoke(key)

    provider.before_tokens = and_out
    await fleet.look_after(fleet.worker(), key)
    assert await fleet.session(key) is None
    assert provider.count("revoke") == 2
    assert fleet.told("token.refreshed") == []


async def test_a_record_that_others_rewrite_meanwhile_loses_neither_their_change_nor_the_tokens(
    fleet: Fleet, provider: MisbehavingProvider
) -> None:
    """A-71: keys are changed on touch, too."""
    key = await fleet.issue(provider)

    async def and_another() -> None:
        stored = await fleet.store.fetch(key, HOST, APP)
        assert stored is not None
        assert await fleet.store.rewrite(key, stored, replace(stored.session, acr="written meanwhile"))

    provider.before_tokens = and_another
    await fleet.look_after(fleet.worker(), key)
    session = await fleet.session(key)
    assert session is not None
    assert session.acr == "written meanwhile"
    assert session.access_expires_at == fleet.clock.now() + HOUR


async def test_a_refusal_of_a_token_that_somebody_else_has_replaced_meanwhile_ends_nothing(
    fleet: Fleet, provider: MisbehavingProvider
) -> None:
    """A-71: of a worker that was stopped for a while in mid-attempt."""
    key = await fleet.issue(provider)

    async def refused(request: web.Request) -> web.StreamResponse:
        stored = await fleet.store.fetch(key, HOST, APP)
        assert stored is not None
        assert await fleet.store.rewrite(key, stored, replace(stored.session, refresh_token="theirs"))
        return web.json_response({"error": "invalid_grant"}, status=400)

    provider.faults["token"] = refused
    await fleet.look_after(fleet.worker(), key)
    session = await fleet.session(key)
    assert session is not None
    assert session.refresh_token == "theirs"


async def test_no_field_of_a_session_or_of_who_was_asked_for_is_lost_in_a_renewal(
    fleet: Fleet, provider: MisbehavingProvider
) -> None:
    """C-70: what a refresh does not renew stays, and what it found out about the person is stored as a whole."""

    async def rechecked(session: Session, identity: Identity) -> Identity:
        return replace(specimen(), issuer=identity.issuer, subject=identity.subject)

    issued = earlier_sign_in(provider)
    changes = {**issued, "created_at": fleet.clock.now(), "lifetime": 24 * HOUR}
    before = with_every_field(**changes)
    key = fleet.store.key_of(await fleet.store.issue(before))
    await fleet.look_after(fleet.worker(rechecked), key)
    after = await fleet.session(key)
    assert after is not None
    assert after.refresh_token != before.refresh_token
    assert after.identity == await rechecked(after, before.identity)
    renewed = (
        "identity",
        "id_token",
        "access_token",
        "refresh_token",
        "dpop_key",
        "access_expires_at",
        "access_lifetime",
    )
    assert replace(after, **{name: getattr(before, name) for name in renewed}) == before


async def test_a_rewritten_record_keeps_its_idle_timeout(fleet: Fleet, provider: MisbehavingProvider) -> None:
    """C-46: a refresh is no use of the session."""
    key = await fleet.issue(provider)
    name = fleet.store.record_prefix + key
    await fleet.redis.pexpire(name, 60_000)
    await fleet.look_after(fleet.worker(), key)
    assert 0 < await fleet.redis.pttl(name) <= 60_000


# --- who else is asked ------------------------------------------------------------------------------------------------


async def test_the_recheck_adds_what_it_knows(fleet: Fleet, provider: MisbehavingProvider) -> None:
    """A-74."""
    key = await fleet.issue(provider)
    provider.people[str(MIA["sub"])]["groups"] = ["staff"]
    seen: list[tuple[Session, Identity]] = []

    async def recheck(session: Session, identity: Identity) -> Identity:
        seen.append((session, identity))
        return identity.with_directory({"id": "5"})

    await fleet.look_after(fleet.worker(recheck), key)
    session = await fleet.session(key)
    assert session is not None
    assert session.identity.directory == {"id": "5"}
    ((before, identity),) = seen
    assert before.identity.groups == ("members",)
    assert identity.groups == ("staff",)


@pytest.mark.parametrize(
    ("refusal", "ended"), [(NotRegistered("gone"), True), (DirectoryUnavailable("timeout"), False)]
)
async def test_a_recheck_that_refuses_ends_the_session_and_one_that_cannot_tell_does_not(
    fleet: Fleet, provider: MisbehavingProvider, refusal: Refusal, ended: bool
) -> None:
    key = await fleet.issue(provider)
    known = await fleet.session(key)
    assert known is not None

    async def recheck(session: Session, identity: Identity) -> Identity:
        raise refusal

    refresher = fleet.worker(recheck)
    await fleet.look_after(refresher, key)
    session = await fleet.session(key)
    if ended:
        assert session is None
        assert [line["reason"] for line in fleet.told("token.refresh_failed")] == ["not_registered"]
        await refresher.close()
        assert provider.count("revoke") == 2
    else:
        assert session is not None
        assert session.identity.directory == known.identity.directory
        assert len(fleet.told("token.refreshed")) == 1
