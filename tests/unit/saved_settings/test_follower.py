"""What a parent process knows of the saved settings: followed, kept, put back, and never an earlier or a foreign record."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.config import schema
from gateway.observability.events import Audit
from gateway.redis_client.client import connect, push_sources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.follower import FollowerParts, SettingsFollower
from gateway.saved_settings.record import NO_RECORD, SettingsRecord, SettingsVersion
from gateway.saved_settings.store import SettingsStore
from gateway.sessions.keyring import KeyRing
from tests.fakes.waiting import eventually

RING = KeyRing([bytes(range(32))])
CLOSED = {"openid.prevent_password_login": True}
OPEN = {"openid.prevent_password_login": False}


class Replica:
    """One parent process's follower. `later` seconds are put onto the clock of the fleet."""

    def __init__(self, url: str, prefix: str, folder: Path | None = None, ring: KeyRing = RING) -> None:
        settings = schema.Redis(url=SecretStr(url))
        self.redis = connect(settings)
        self.store = SettingsStore(self.redis, ring, prefix)
        self.later = 0.0
        self.lines: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        parts = FollowerParts(
            store=self.store, copy=SettingsCopy(folder), sources=push_sources(self.redis, settings), audit=Audit(self._write),
            clock=time.monotonic, now=lambda: time.time() + self.later, tick=0.1,
        )  # fmt: skip
        self.follower = SettingsFollower(parts, lambda: self.changes.append(dict(self.follower.in_force.values)))

    def _write(self, line: bytes) -> None:
        self.lines.append(json.loads(line))

    async def start(self) -> None:
        await self.follower.begin()
        self.follower.start()

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.follower.in_force.values)

    def events(self) -> list[str]:
        return [
            line["event"] + (f" {line['reason']}" if line["event"] in TOLD_WITH_REASON else "") for line in self.lines
        ]

    async def save(
        self, values: dict[str, Any], before: SettingsRecord, confirm_in: float | None = None
    ) -> SettingsRecord:
        now = time.time()
        confirm_by = None if confirm_in is None else now + confirm_in
        version = SettingsVersion(
            number=0, kind="saved", at=now, by="ana", reason="a drill", values=values, confirm_by=confirm_by
        )
        record = before.with_version(version)
        assert await self.store.swap(await self.store.read(), self.store.seal(record))
        return record

    async def close(self) -> None:
        await self.follower.close()
        await self.redis.aclose()


TOLD_WITH_REASON = ("settings.lost", "settings.refused")
Start = Callable[..., Any]


@pytest.fixture
async def start(valkey: str, prefix: str, redis: Redis) -> AsyncIterator[Start]:
    made: list[Replica] = []

    async def starting(folder: Path | None = None, url: str = valkey, ring: KeyRing = RING) -> Replica:
        made.append(Replica(url, prefix, folder, ring))
        await made[-1].start()
        return made[-1]

    yield starting
    for each in made:
        await each.close()


async def test_what_is_saved_is_in_force_in_every_replica_and_told_by_one(start: Start) -> None:
    one, two = await start(), await start()
    await one.save(CLOSED, NO_RECORD)
    await eventually(lambda: one.values == two.values == CLOSED)
    assert one.changes == two.changes == [CLOSED]
    await eventually(lambda: one.events() + two.events() == ["settings.saved"])
    told = (one.lines + two.lines)[0]
    assert (told["by"], told["reason"], told["version"], told["keys"]) == ("ana", "a drill", 1, *CLOSED)
    three = await start()
    assert three.values == CLOSED
    assert three.events() == []


async def test_a_record_that_was_altered_moved_or_made_up_changes_nothing_and_is_replaced(
    start: Start, redis: Redis, prefix: str, valkey: str
) -> None:
    """C-96: a writer to Redis without a key."""
    replica = await start()
    record = await replica.save(CLOSED, NO_RECORD)
    await eventually(lambda: replica.values == CLOSED)
    name, good = f"{prefix}settings:record", await replica.store.read()
    elsewhere = Replica(valkey, f"{prefix}other:")
    later = SettingsRecord(revision=9).with_version(record.versions[0])
    altered = bytearray(good)
    altered[-1] ^= 1
    for planted in (
        bytes(altered), b"9" + good[1:], b"9:" + good.partition(b":")[2], elsewhere.store.seal(later), b"nonsense", b"7:", b"x" * 2_000_000,
    ):  # fmt: skip
        before = replica.events().count("settings.refused altered")
        await redis.set(name, planted)
        await eventually(lambda: _opens(replica), within=10)
        assert replica.values == CLOSED
        assert replica.events().count("settings.refused altered") > before, planted[:20]
    await redis.delete(name)
    await redis.rpush(name, b"a list")
    await eventually(lambda: _opens(replica), within=10)
    assert replica.changes == [CLOSED]
    await elsewhere.close()


def problem_of(replica: Replica) -> str | None:
    return replica.follower.problem.reason if replica.follower.problem is not None else None


def numbers(replica: Replica) -> list[int]:
    return [version.number for version in replica.follower.record.versions]


async def _opens(replica: Replica) -> bool:
    value = await replica.store.read()
    try:
        return replica.store.open(value) == replica.follower.record
    except ValueError:
        return False


async def test_an_earlier_record_that_is_put_back_is_refused_and_replaced(
    start: Start, redis: Redis, prefix: str
) -> None:
    """C-96: sealed by us, and old: doors that were closed stay closed, for replicas that start later too."""
    replica = await start()
    first = await replica.save(OPEN, NO_RECORD)
    await eventually(lambda: replica.values == OPEN)
    old = await replica.store.read()
    await replica.save(CLOSED, first)
    await eventually(lambda: replica.values == CLOSED)
    await redis.set(f"{prefix}settings:record", old)
    await eventually(lambda: "settings.refused replayed" in replica.events())
    await eventually(lambda: _opens(replica))
    assert replica.values == CLOSED
    assert "settings.restored" in replica.events()
    assert (await start()).values == CLOSED


async def test_the_copy_knows_of_a_later_record_than_redis_after_a_restart(
    start: Start, redis: Redis, prefix: str, tmp_path: Path
) -> None:
    """C-96: no process runs while the old record is put back."""
    replica = await start(tmp_path)
    first = await replica.save(OPEN, NO_RECORD)
    await eventually(lambda: replica.values == OPEN)
    old = await replica.store.read()
    await replica.save(CLOSED, first)
    await eventually(lambda: replica.values == CLOSED)
    await replica.close()
    await redis.set(f"{prefix}settings:record", old)
    again = await start(tmp_path)
    assert again.values == CLOSED
    assert again.events() == ["settings.refused replayed", "settings.restored"]


async def test_redis_that_was_emptied_opens_nothing_and_gets_the_settings_back(
    start: Start, redis: Redis, prefix: str
) -> None:
    """C-97: above all for a replica that starts afterwards, and has neither a memory nor a copy."""
    replica = await start()
    await replica.save(CLOSED, NO_RECORD)
    await eventually(lambda: replica.values == CLOSED)
    await redis.delete(f"{prefix}settings:record")
    await eventually(lambda: "settings.lost missing" in replica.events())
    await eventually(lambda: _opens(replica))
    assert problem_of(replica) == "missing"  # a minute long
    assert replica.values == CLOSED
    assert (await start()).values == CLOSED


async def test_without_redis_the_copy_is_in_force_and_redis_that_comes_back_empty_gets_it(
    own_valkey: EmbeddedValkey, start: Start, tmp_path: Path
) -> None:
    """C-97: a start while Redis is out of reach."""
    folder = tmp_path / "data"
    replica = await start(folder, own_valkey.url)
    await replica.save(CLOSED, NO_RECORD)
    await eventually(lambda: replica.values == CLOSED)
    await replica.close()
    assert (folder / "settings.sealed").stat().st_mode & 0o777 == 0o600
    own_valkey.stop()
    again = await start(folder, own_valkey.url)
    assert again.values == CLOSED
    assert again.events() == ["settings.lost unreachable"]
    assert problem_of(again) == "unreachable"
    own_valkey.start()
    await again.redis.flushall()
    await eventually(lambda: _opens(again), within=20)


async def test_what_is_not_confirmed_in_time_is_rolled_back_by_one_replica(start: Start) -> None:
    """C-98: the deadline lies in the record; both replicas see it, one writes it down."""
    one, two = await start(), await start()
    kept = await one.save(CLOSED, NO_RECORD)
    await one.save(OPEN, kept, confirm_in=300)
    await eventually(lambda: one.values == two.values == OPEN)
    assert one.follower.record.in_force(time.time() + 299).values == OPEN
    one.later = two.later = 301.0
    await eventually(lambda: one.values == two.values == CLOSED)
    await eventually(lambda: (one.events() + two.events()).count("settings.rolled_back") == 1)
    await eventually(lambda: numbers(one) == numbers(two) == [1, 2, 3])
    assert one.follower.record.versions[-1].restores == 1


async def test_a_deadline_passes_without_redis_and_counts_after_a_restart(
    own_valkey: EmbeddedValkey, start: Start, tmp_path: Path
) -> None:
    """C-98: Redis is gone between the saving and the confirmation; what nobody confirmed does not stay."""
    replica = await start(tmp_path, own_valkey.url)
    kept = await replica.save(CLOSED, NO_RECORD)
    await replica.save(OPEN, kept, confirm_in=300)
    await eventually(lambda: replica.values == OPEN)
    own_valkey.stop()
    replica.later = 301.0
    await eventually(lambda: replica.values == CLOSED, within=20)
    assert "settings.rolled_back" not in replica.events()
    own_valkey.start()
    await eventually(lambda: "settings.rolled_back" in replica.events(), within=20)
    assert replica.values == CLOSED


async def test_of_two_who_save_at_once_one_succeeds(start: Start) -> None:
    """C-99: both read the same record; the second changes nothing."""
    replica = await start()
    before = await replica.store.read()
    records = [
        NO_RECORD.with_version(
            SettingsVersion(
                number=0, kind="saved", at=time.time(), by=by, reason="mine", values={"openid.create_users": wanted}
            )
        )
        for by, wanted in (("ana", True), ("ben", False))
    ]
    swaps = [replica.store.swap(before, replica.store.seal(record)) for record in records]
    done = await asyncio.gather(*swaps)
    assert sorted(done) == [False, True]
    assert replica.store.open(await replica.store.read()) == records[done.index(True)]


async def test_a_new_first_key_seals_the_record_and_the_copy_anew(start: Start, tmp_path: Path) -> None:
    replica = await start(tmp_path)
    await replica.save(CLOSED, NO_RECORD)
    await eventually(lambda: replica.values == CLOSED)
    newer = KeyRing([bytes(range(1, 33)), bytes(range(32))])
    rotated = await start(tmp_path, ring=newer)
    only = SettingsStore(rotated.redis, KeyRing([bytes(range(1, 33))]), rotated.store.prefix.removesuffix("settings:"))

    def sealed_anew(value: bytes) -> bool:
        try:
            return bool(only.open(value) == rotated.follower.record)
        except ValueError:
            return False

    await eventually(lambda: sealed_anew((tmp_path / "settings.sealed").read_bytes()))

    async def in_redis() -> bool:
        return sealed_anew(await only.read())

    await eventually(in_redis)
    assert rotated.values == CLOSED
