"""Whatever is open under a session ends with it, whoever ends it and wherever: C-44."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.identity.claims import Identity
from gateway.sessions.keyring import new_key
from gateway.sessions.store import SessionStore
from tests.fakes.house import House
from tests.fakes.provider import MIA, MisbehavingProvider
from tests.fakes.recorder import Recorded
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire
from tests.flows.conftest import OpenHouse
from tests.flows.test_session_commands import Operator, written
from tests.flows.test_sign_out import logout_token
from tests.flows.test_websockets import echo_socket, handshake

BEGUN = {"/socket", "/events", "/download", "/upload"}


@dataclass
class Stage:
    """An upstream's four long answers: which began, and which saw their connection end; how much was uploaded."""

    began: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    uploaded: int = 0

    async def __call__(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.began.add(request.target)
        try:
            await self._answer(request, reader, writer)
        finally:
            self.ended.add(request.target)

    async def _answer(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.target == "/socket":
            await echo_socket(request, reader, writer)
            return
        heads = {
            "/events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
            "/download": b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000,
        }
        writer.write(heads.get(request.target, b""))
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.uploaded += len(piece)


async def open_all(house: House, stage: Stage, cookie: str) -> list[Wire]:
    house.upstream.answer, house.upstream.read_bodies = stage, False
    wires = [await Wire.open(house.port) for _ in BEGUN]
    common = f"Host: {house.host()}\r\nCookie: {cookie}\r\n"
    await wires[0].send(handshake(house, cookie))
    await wires[1].send(f"GET /events HTTP/1.1\r\n{common}\r\n".encode())
    await wires[2].send(f"GET /download HTTP/1.1\r\n{common}\r\n".encode())
    await wires[3].send(f"POST /upload HTTP/1.1\r\n{common}Content-Length: 10000000\r\n\r\n".encode() + b"u" * 100_000)
    await wires[0].reader.readuntil(b"hello")
    await wires[1].reader.readuntil(b"data: 1\n\n\r\n")
    await wires[2].reader.readuntil(b"x" * 1000)
    await eventually(lambda: stage.began == BEGUN and stage.uploaded == 100_000)
    assert stage.ended == set()
    return wires


async def sees_the_end(wire: Wire) -> bool:
    """Nothing more arrives, not even a proper end of the message."""
    async with asyncio.timeout(60):
        try:
            return await wire.reader.read(65536) == b""
        except ConnectionError:
            return True


@dataclass(kw_only=True)
class Scene:
    """A door with everything open, and another door of the same fleet."""

    house: House
    other: House
    provider: MisbehavingProvider
    operator: Operator
    key: str
    sid: str


async def by_another_process(scene: Scene) -> None:
    assert await scene.other.worker.store.revoke(scene.key)


async def by_a_command(scene: Scene) -> None:
    assert (await scene.operator("revoke", scene.sid, "--yes")).exit_code == 0


async def by_a_logout_token_at_the_other_door(scene: Scene) -> None:
    form = "Content-Type: application/x-www-form-urlencoded\r\n"
    body = urlencode({"logout_token": logout_token(scene.provider, sid="mia-at-work")}).encode()
    answer = await scene.other.ask("/oauth2/backchannel-logout", method="POST", fields=form, body=body)
    assert answer.status == 200


async def by_an_operator_in_redis(scene: Scene) -> None:
    assert await scene.other.worker.redis.delete(scene.other.worker.store.record_prefix + scene.key) == 1


async def by_its_lifetime(scene: Scene) -> None:
    """It is short in this scene."""


Ending = Callable[[Scene], Awaitable[None]]


@pytest.mark.parametrize(
    "end",
    [by_another_process, by_a_command, by_a_logout_token_at_the_other_door, by_an_operator_in_redis, by_its_lifetime],
)
async def test_everything_that_is_open_ends_with_the_session(
    open_house: OpenHouse, provider: MisbehavingProvider, tmp_path: Path, end: Ending
) -> None:
    """C-44, A-23: a WebSocket, an event stream, a download, an upload; the upstream sees each of them broken off."""
    keys = [new_key()]
    house = await open_house(provider=provider, keys=keys)
    other = await open_house(provider=provider, keys=keys)
    await eventually(lambda: other.worker.providers["openid"].provider.ready)
    times: dict[str, Any] = (
        {"idle": timedelta(seconds=2), "lifetime": timedelta(seconds=2)} if end is by_its_lifetime else {}
    )
    sid = SessionStore.new_sid()
    mia = Identity(issuer=provider.issuer, subject=str(MIA["sub"]))
    cookie = await house.session(identity=mia, sid=sid, provider_sid="mia-at-work", **times)
    bystander = await house.session(subject=secrets.token_hex(4))
    stage, another = Stage(), Stage()
    calm = await open_all(house, another, bystander)
    wires = await open_all(house, stage, cookie)
    scene = Scene(
        house=house,
        other=other,
        provider=provider,
        operator=Operator(written(house, tmp_path / "gateway.yaml")),
        key=house.worker.store.key_of(cookie.partition("=")[2]),
        sid=sid,
    )
    await end(scene)
    assert await asyncio.gather(*map(sees_the_end, wires)) == [True] * 4
    await eventually(lambda: stage.ended == BEGUN)
    assert stage.uploaded < 10_000_000
    for door in (house, other):
        assert (await door.ask("/oauth2/userinfo", cookie=cookie)).status == 401
    assert another.ended == set()
    for wire in calm:
        await wire.close()
