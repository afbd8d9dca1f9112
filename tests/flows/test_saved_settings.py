"""Settings that are saved while gateways run: every worker of every replica follows, and no request or session is lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.redis_client.client import connect
from gateway.saved_settings.record import NO_RECORD, SettingsRecord, SettingsVersion
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually

KEY = "9W0mY3pVvT1cQk7XJb2sRz8dLhNfUoAe4iGxKqCw5tE"
ENVIRON = {"DOORWARD_TEST_KEY": KEY, "DOORWARD_TEST_SECRET": "s"}
CLOSED = {"openid.prevent_password_login": True}
OPEN = {"openid.prevent_password_login": False}
PASSWORD = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 42\r\n"


class Fleet:
    """Gateways of one Redis, and the record of their saved settings."""

    def __init__(
        self, folder: Path, url: str, prefix: str, upstream: RecordingUpstream, data_dir: bool = False
    ) -> None:
        self.folder, self.url, self.prefix, self.upstream, self.data_dir = folder, url, prefix, upstream, data_dir
        self.redis = connect(schema.Redis(url=SecretStr(url)))
        self.store = SettingsStore(self.redis, KeyRing([KEY]), prefix)

    @contextlib.asynccontextmanager
    async def gateway(
        self, name: str, environ: dict[str, str] | None = None, **sections: Any
    ) -> AsyncIterator[Running]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        redis = {"url": self.url, "key_prefix": self.prefix}
        if self.data_dir:
            redis["data_dir"] = str(folder / "data")
        host = "portal.localhost"
        portal = {
            "hosts": [host], "upstream": self.upstream.url, "public": ["GET /open/**"],
            "password_routes": "nexudus", "unauthenticated": "pass",
        }  # fmt: skip
        office = {"hosts": ["office.localhost"], "upstream": self.upstream.url, "require": {"groups": ["ops"]}}
        async with running(
            folder, self.upstream.url, environ={**ENVIRON, **(environ or {})},
            **{"redis": redis, "keys": [KEY], "apps": {"portal": portal, "office": office}, "external_url_scheme": "https", **sections},
        ) as door:  # fmt: skip
            yield door

    async def save(self, values: dict[str, Any], before: SettingsRecord = NO_RECORD, **given: Any) -> SettingsRecord:
        version = SettingsVersion(
            number=0, kind="saved", at=time.time(), by="ana", reason="a drill", values=values, **given
        )
        record = before.with_version(version)
        assert await self.store.swap(await self.store.read(), self.store.seal(record))
        return record


async def answer(door: Running, line: str, fields: str = "", body: bytes = b"") -> int:
    """The status of a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(f"{line} HTTP/1.1\r\nHost: portal.localhost\r\nConnection: close\r\n{fields}\r\n".encode() + body)
    status = (await reader.read()).split()[1]
    writer.close()
    return int(status)


async def token(door: Running) -> int:
    """The status of a password grant."""
    return await answer(door, "POST /api/token", PASSWORD, b"grant_type=password&username=a&password=bc")


async def doors(*gateways: Running) -> set[int]:
    """The statuses of password grants at all workers of these gateways."""
    return {await token(door) for door in gateways for _ in range(8)}


async def version(door: Running) -> int:
    found: int = (await door.ready())["process"]["settings_version"]
    return found


@pytest.fixture
async def upstream() -> AsyncIterator[RecordingUpstream]:
    recorder = RecordingUpstream()
    await recorder.start()
    yield recorder
    await recorder.close()


async def test_every_worker_of_every_replica_follows_without_losing_a_request(
    tmp_path: Path, valkey: str, prefix: str, redis: Redis, upstream: RecordingUpstream
) -> None:
    """Two replicas of two workers under load."""
    fleet = Fleet(tmp_path, valkey, prefix, upstream)
    async with fleet.gateway("one") as one, fleet.gateway("two") as two:
        assert await doors(one, two) == {200}
        stopped = asyncio.Event()
        statuses: set[int] = set()

        async def load(door: Running) -> None:
            while not stopped.is_set():
                statuses.add(await answer(door, "GET /open/x"))

        loads = [asyncio.create_task(load(door)) for door in (one, two)]
        began = time.monotonic()
        await fleet.save(CLOSED)

        async def followed() -> bool:
            return await doors(one, two) == {403}

        await eventually(followed)
        print(f"saved settings are in force in two replicas after {time.monotonic() - began:.2f} s")
        stopped.set()
        await asyncio.gather(*loads)
        assert statuses == {200}
        assert await version(one) == await version(two) == 1
        assert "version 1 is in force; over the file: openid.prevent_password_login" in one.errors
        assert (await one.ready())["dependencies"]["settings"]["state"] == "ok"
        assert [door.output.count('"settings.saved"') for door in (one, two)] in ([0, 1], [1, 0])
    await fleet.redis.aclose()


async def test_a_restart_without_redis_begins_with_the_copy(
    tmp_path: Path, own_valkey: Any, prefix: str, upstream: RecordingUpstream
) -> None:
    """C-97: what was closed on the page stays closed, and /ready says that the settings could not be read."""
    fleet = Fleet(tmp_path, own_valkey.url, prefix, upstream, data_dir=True)
    async with fleet.gateway("one") as one:
        record = await fleet.save(CLOSED)
        await eventually(lambda: _is(one, 1))
        await fleet.redis.flushall()
        await eventually(lambda: '"settings.lost"' in one.output)
        assert (await one.ready())["dependencies"]["settings"]["state"] == "degraded"
        assert await doors(one) == {403}
        # A reload reads the file, and what was saved stays over it.
        one.hang_up()
        await eventually(lambda: _reloaded(one))
        assert await doors(one) == {403}
        # Settings that do not fit this replica's file change nothing.
        refused = await fleet.save({"openid.enabled": False}, record)
        await eventually(lambda: '"settings.refused"' in one.output)
        settings = (await one.ready())["dependencies"]["settings"]
        assert settings["last_error"] == "settings_invalid"
        assert "apps.office" in settings["last_error_detail"]
        assert await doors(one) == {403}
        await fleet.save(CLOSED, refused)
        await eventually(lambda: one.output.count('"settings.saved"') == 3)
    own_valkey.stop()
    async with fleet.gateway("one") as again:
        assert await doors(again) == {403}
        settings = (await again.ready())["dependencies"]["settings"]
        assert (settings["state"], settings["last_error"]) == ("degraded", "settings_unreachable")
    await fleet.redis.aclose()


async def test_a_replica_without_a_copy_waits_for_redis_where_settings_are_edited(
    tmp_path: Path, own_valkey: Any, prefix: str, upstream: RecordingUpstream
) -> None:
    """C-97: it begins with what was saved, never with the file alone."""
    fleet = Fleet(tmp_path, own_valkey.url, prefix, upstream)
    await fleet.save(CLOSED)
    await fleet.redis.aclose()
    own_valkey.stop()
    (tmp_path / "one").mkdir()

    async def come_back() -> None:
        errors = tmp_path / "one" / "errors"
        await eventually(lambda: errors.exists() and "waiting for Redis" in errors.read_text(), within=60)
        await asyncio.to_thread(own_valkey.start)

    coming = asyncio.create_task(come_back())
    console = {"hosts": ["console.localhost"], "require": {"groups": ["ops"]}}
    async with fleet.gateway("one", console=console) as one:
        await coming
        assert await doors(one) == {403}


async def _is(door: Running, wanted: int) -> bool:
    return await version(door) == wanted


async def _reloaded(door: Running) -> bool:
    process: dict[str, Any] = (await door.ready())["process"]
    return process["reloads"] == 1 and process["problem"] is None
