"""A directory of the product in front of a stub, with a sleep that only writes down how long it was."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.directory.account import Directory
from gateway.directory.account_links import AccountLinks
from gateway.directory.api.calls import ApiTransport
from gateway.directory.backends.nexudus import NexudusDirectory
from gateway.directory.creation_markers import CreationMarkers
from gateway.directory.person import Person
from gateway.directory.provisioner import Provisioner, ProvisioningPolicy
from gateway.identity.claims import Identity
from gateway.observability.events import Audit
from gateway.redis_client.leases import Leases
from gateway.sessions.keyring import KeyRing
from tests.fakes.clock import SettableClock
from tests.fakes.directories import UNLIMITED

EMAIL = "ana@tenant.example"
ANA = Identity(issuer="https://login.example.com/", subject="sub-1", email=EMAIL, name="Ana Ruiz")
PERSON = Person(identity=ANA)
LIST = "GET /api/spaces/coworkers"
READ = "GET /api/spaces/coworkers/*"
CREATE = "POST /api/spaces/coworkers"
TOKEN = "POST /api/token"


def section(url: str, timeout: float = 5.0, **fields: Any) -> schema.Nexudus:
    settings: dict[str, Any] = {
        "kind": "nexudus",
        "base_url": url,
        "username": SERVICE[0],
        "password": SecretStr(SERVICE[1]),
        "business_ids": (501,),
        "country_id": 1113,
        "time_zone_id": 2029,
        "create_login": False,
        "timeout": timedelta(seconds=timeout),
        "budget": UNLIMITED,
    } | fields
    return schema.Nexudus(**settings)


def provisioner(
    directory: Directory | None,
    redis: Redis,
    prefix: str,
    audit: Audit,
    timeout: float = 5.0,
    *,
    notes: CreationMarkers | None = None,
    habits: Mapping[str, Any] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Provisioner:
    """As the product puts it together, with one key ring for all tests: processes must open each other's links."""
    return Provisioner(
        directory,
        Leases(redis, prefix, time.monotonic),
        audit,
        markers=notes or CreationMarkers(redis, prefix),
        links=AccountLinks(redis, prefix, KeyRing([bytes(32)]), "tests"),
        policy=ProvisioningPolicy(timeout=timedelta(seconds=timeout), **(habits or {})),
        now=now,
    )


@dataclass
class Bench:
    """`waited` holds the sleeps that the directory asked for; the clock went on by each of them."""

    stub: NexudusStub
    directory: NexudusDirectory
    clock: SettableClock
    waited: list[float] = field(default_factory=list)


@asynccontextmanager
async def bench(*, timeout: float = 5.0, settings: dict[str, Any] | None = None, **stub: Any) -> AsyncIterator[Bench]:
    clock = SettableClock()
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)

    async with NexudusStub(clock=clock.monotonic, **stub) as running, aiohttp.ClientSession() as http:
        config = section(running.url, timeout, **(settings or {}))
        directory = NexudusDirectory(config, ApiTransport(http=http, clock=clock.monotonic, sleep=sleep))
        yield Bench(running, directory, clock, waited)
