"""The provider and the directory themselves: down, slow, or answering with nonsense."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from aiohttp import web

from gateway.demo.nexudus_stub import Fault as DirectoryFault
from gateway.runtime.composition import utc_now
from tests.chaos.load import Load
from tests.chaos.process_faults import created_twice
from tests.chaos.stage import Stage
from tests.chaos.trial import Fault, Proof
from tests.fakes.provider import Fault as ProviderFault
from tests.fakes.provider import broken_off, says

_ASKED: Final = ("openid-configuration", "jwks", "token", "userinfo")


@asynccontextmanager
async def provider_down(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    before = stage.links["provider"].counts["connections"]
    await stage.provider.close()
    yield
    asked = stage.links["provider"].counts["connections"] - before
    await stage.provider.start(port=stage.provider_port)
    proof.text = f"it did not listen; the gateway tried {asked} connections"


def _answering(name: str, fault: ProviderFault) -> Fault:
    @asynccontextmanager
    async def happening(stage: Stage, proof: Proof) -> AsyncIterator[None]:
        before = len(stage.provider.seen)
        stage.provider.faults.update(dict.fromkeys(_ASKED, fault))
        yield
        spoiled = sum(1 for seen in stage.provider.seen[before:] if seen.endpoint in _ASKED)
        for endpoint in _ASKED:
            stage.provider.faults.pop(endpoint)
        proof.text = f"{spoiled} requests of the gateway were answered so" if spoiled else ""

    return Fault(name=name, happening=happening, sign_ins=4, untouched=True)


async def _slowly(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response(status=503)


@asynccontextmanager
async def directory_down(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    before = stage.links["directory"].counts["connections"]
    port = int(stage.directory.url.rpartition(":")[2])
    await stage.directory.close()
    yield
    asked = stage.links["directory"].counts["connections"] - before
    await stage.directory.start(port=port)
    proof.text = f"it did not listen; the gateway tried {asked} connections" if asked else ""


def _directory(name: str, *faults: DirectoryFault) -> Fault:
    @asynccontextmanager
    async def happening(stage: Stage, proof: Proof) -> AsyncIterator[None]:
        before = len(stage.directory.seen)
        stage.directory.faults.add(*faults)
        yield
        stage.directory.faults.clear()
        spoiled = len(stage.directory.seen) - before
        proof.text = f"{spoiled} requests of the gateway met it" if spoiled else ""

    return Fault(name=name, happening=happening, sign_ins=4, untouched=True, after=nobody_twice)


def _clock(minutes: float) -> Fault:
    """D-09: what the provider says of times is wrong by so much."""

    @asynccontextmanager
    async def happening(stage: Stage, proof: Proof) -> AsyncIterator[None]:
        stage.provider_ahead = timedelta(minutes=minutes)
        proof.text = (
            f"the provider says it is {stage.provider.now():%H:%M:%S}, the gateway's machine {utc_now():%H:%M:%S}"
        )
        yield
        stage.provider_ahead = timedelta(0)

    name = f"provider's clock {abs(minutes):g} min {'fast' if minutes > 0 else 'slow'}"
    return Fault(name=name, happening=happening, sign_ins=4, untouched=True)


async def nobody_twice(stage: Stage, load: Load, proof: Proof) -> None:
    proof.broken += created_twice(stage)
    proof.remarks.append(f"{len(stage.directory.coworkers)} people in the directory, each once")


FAULTS: Final = (
    Fault(name="provider down", happening=provider_down, sign_ins=4, untouched=True),
    _answering("provider slow", _slowly),
    _answering("provider garbage", says("<html>It works!</html>", content_type="text/html")),
    _answering("provider breaks off", broken_off),
    _clock(5),
    _clock(-5),
    Fault(name="directory down", happening=directory_down, sign_ins=4, untouched=True, after=nobody_twice),
    _directory("directory slow", DirectoryFault(kind="slow", times=None, seconds=1.5)),
    _directory("directory fails after the effect", DirectoryFault(kind="cut", times=None, after=True)),
)
