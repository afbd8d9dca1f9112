"""A directory of the product in front of a stub, with a sleep that only writes down how long it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from pydantic import SecretStr

from gateway.config import schema
from gateway.demo.nexudus_stub import SERVICE, NexudusStub
from gateway.directory.nexudus import NexudusDirectory
from gateway.identity import Identity
from tests.fakes.clock import SettableClock

EMAIL = "ana@tenant.example"
ANA = Identity(issuer="https://login.example.com/", subject="sub-1", email=EMAIL, name="Ana Ruiz")
LIST = "GET /api/spaces/coworkers"
READ = "GET /api/spaces/coworkers/*"
CREATE = "POST /api/spaces/coworkers"
TOKEN = "POST /api/token"


def section(url: str, timeout: float = 5.0, **fields: Any) -> schema.Directory:
    return schema.Directory(
        **{
            "kind": "nexudus",
            "base_url": url,
            "username": SERVICE[0],
            "password": SecretStr(SERVICE[1]),
            "business_ids": (501,),
            "country_id": 1113,
            "time_zone_id": 2029,
            "create_login": False,
            "timeout": timedelta(seconds=timeout),
        }
        | fields
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
        directory = NexudusDirectory(config, http, clock=clock.monotonic, sleep=sleep)
        yield Bench(running, directory, clock, waited)
