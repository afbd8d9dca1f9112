"""What one worker has open by break-glass: heard of at once, closed in doubt, and never brought back by who can only write to Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.break_glass.store import Openings
from gateway.break_glass.watcher import OpeningWatcher, WatcherParts
from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.policy.break_glass import ActiveOpening, Opening, parse_range
from gateway.redis_client.client import connect, push_sources
from gateway.redis_client.embedded import EmbeddedValkey
from gateway.sessions.keyring import KeyRing
from gateway.sessions.store import SessionStore
from tests.fakes.redis_commands import command, stored
from tests.fakes.waiting import eventually

RING = KeyRing([bytes(range(32))])


def opening(app: str = "portal", *, lasts: float = 600, id: str = "one") -> Opening:
    now = datetime.now(UTC)
    ends = now + timedelta(seconds=lasts)
    return Opening(
        id=id, app=app, networks=(parse_range("203.0.113.0/24"),), opened_at=now, ends_at=ends, reason="test", by="me"
    )


class Watched:
    """A watch on a server, with what it showed and told. `ahead` and `later` are put onto its two clocks."""

    def __init__(self, url: str, prefix: str, ring: KeyRing = RING, **options: Any) -> None:
        settings = schema.Redis(url=SecretStr(url))
        self.redis = connect(settings)
        self.openings = Openings(self.redis, ring, prefix)
        self.name = f"{prefix}glass:portal"
        self.shown: dict[str, ActiveOpening | None] = {}
        self.told: list[tuple[str, str]] = []
        self.over: list[str] = []
        self.ahead = 0.0
        self.later = timedelta(0)
        self.ended: list[str] = []
        parts = WatcherParts(
            openings=self.openings,
            sources=push_sources(self.redis, settings),
            clock=lambda: time.monotonic() + self.ahead,
            now=lambda: datetime.now(UTC) + self.later,
            tick=0.2,
            on_ended=self.ended.append,
            **{"once": SessionStore(self.redis, ring, prefix).consume, **options},
        )
        self.watcher = OpeningWatcher(
            parts,
            ["portal", "dashboard"],
            on_change=self.shown.__setitem__,
            on_close=lambda opening: self.over.append(opening.id),
            emit=lambda event, opening: self.told.append((event, opening.id)),
        )
        self.watcher.start()

    async def write(self, opening: Opening) -> None:
        await self.openings.write(opening, datetime.now(UTC))

    def is_open(self, app: str = "portal") -> bool:
        active = self.shown.get(app)
        return active is not None and self.watcher.is_open(active)

    async def close(self) -> None:
        await self.watcher.close()
        await self.redis.aclose()


Watching = Callable[..., Watched]


@pytest.fixture
async def watching(valkey: str, prefix: str, redis: Redis) -> AsyncIterator[Watching]:
    made: list[Watched] = []

    def watch(url: str = valkey, ring: KeyRing = RING, **options: Any) -> Watched:
        made.append(Watched(url, prefix, ring, **options))
        return made[-1]

    yield watch
    for each in made:
        await each.close()


async def test_what_is_opened_is_open_in_every_worker_and_told_by_one(watching: Watching) -> None:
    workers = [watching() for _ in range(3)]
    await workers[0].write(opening())
    await eventually(lambda: all(worker.is_open() for worker in workers))
    assert not workers[1].is_open("dashboard")
    assert await workers[2].openings.close("portal")
    await eventually(lambda: not any(worker.is_open() for worker in workers))
    await eventually(lambda: sum(len(worker.told) for worker in workers) == 2)
    assert sorted(told for worker in workers for told in worker.told) == [("closed", "one"), ("opened", "one")]
    assert all(worker.over == ["one"] for worker in workers)


async def test_a_worker_that_starts_later_finds_what_is_open(watching: Watching) -> None:
    first = watching()
    await first.write(opening())
    await eventually(first.is_open)
    second = watching()
    await eventually(second.is_open)
    await eventually(lambda: first.told + second.told == [("opened", "one")])


async def test_it_closes_by_itself(watching: Watching) -> None:
    worker = watching()
    await worker.write(opening(lasts=1.0))
    await eventually(worker.is_open)
    await eventually(lambda: not worker.is_open())
    await eventually(lambda: worker.told == [("opened", "one"), ("expired", "one")])


async def test_it_counts_no_moment_longer_than_its_deadline_however_late_the_worker_looks(watching: Watching) -> None:
    """C-46: a worker that was stopped asks its clock first, before anything closes what is over."""
    worker = watching()
    await worker.write(opening())
    await eventually(worker.is_open)
    shown = worker.shown["portal"]
    assert shown is not None
    assert worker.watcher.is_open(shown)
    assert not worker.watcher.is_open(replace(shown, deadline=time.monotonic()))


async def test_who_can_only_write_to_redis_opens_nothing(watching: Watching, redis: Redis) -> None:
    """C-08: not sealed, sealed by other keys, for another app or another fleet on the same Redis, without an end."""
    worker = watching()
    stranger = Openings(redis, KeyRing([bytes(32)]), worker.name.removesuffix("glass:portal"))
    await worker.write(opening("dashboard", id="other"))
    await eventually(lambda: worker.is_open("dashboard"))
    copied = await stored(redis, worker.name.replace("portal", "dashboard"))
    await stranger.write(opening(), datetime.now(UTC))
    fleet = Openings(redis, RING, worker.name.removesuffix("glass:portal") + "other:")
    await fleet.write(opening(), datetime.now(UTC))
    elsewhere = await stored(redis, fleet.prefix + "portal")
    for value in (b"", b"{}", b"\x80\x04", copied, elsewhere, b"x" * 100_000):
        await redis.set(worker.name, value, px=60_000)
        await asyncio.sleep(0)
        assert await worker.openings.read("portal", datetime.now(UTC)) is None
    await redis.delete(worker.name)
    await redis.rpush(worker.name, "x")
    assert await worker.openings.read("portal", datetime.now(UTC)) is None
    await redis.delete(worker.name)
    await worker.write(opening())
    await redis.persist(worker.name)
    assert await worker.openings.read("portal", datetime.now(UTC)) is None


async def test_a_record_that_is_put_back_opens_nothing_that_was_closed(watching: Watching, redis: Redis) -> None:
    """C-08."""
    worker = watching()
    await worker.write(opening())
    await eventually(worker.is_open)
    sealed = await stored(redis, worker.name)
    await worker.openings.close("portal")
    await eventually(lambda: ("closed", "one") in worker.told)
    await redis.set(worker.name, sealed, px=60_000)
    await worker.write(opening("dashboard", id="two"))
    await eventually(lambda: worker.is_open("dashboard"))  # by then the other one was read too
    assert not worker.is_open()


async def notes(worker: Watched) -> list[bytes]:
    """What Redis has noted of openings that are over."""
    return [name async for name in worker.redis.scan_iter(match=worker.name.replace("glass:portal", "glass-over:*"))]


async def closed_and_put_back(worker: Watched, *, noted: bool) -> None:
    """`one` was open and closed; its record is in Redis again. Not `noted`: and whoever put it there took the note away."""
    await worker.write(opening())
    await eventually(worker.is_open)
    sealed = await stored(worker.redis, worker.name)
    assert await worker.openings.close("portal")
    await eventually(lambda: worker.ended == ["one"])
    assert len(await notes(worker)) == 1
    if not noted:
        await worker.redis.delete(*await notes(worker))
    await worker.redis.set(worker.name, sealed, px=60_000)


async def test_a_record_that_is_put_back_opens_nothing_in_a_worker_that_starts_later(watching: Watching) -> None:
    """C-73: the one after a reload, and the one of another gateway."""
    await closed_and_put_back(watching(), noted=True)
    later = watching()
    await later.write(opening("dashboard", id="two"))
    await eventually(lambda: later.is_open("dashboard"))
    assert not later.is_open()
    assert ("opened", "one") not in later.told


async def test_a_record_that_is_put_back_with_its_note_gone_opens_nothing_where_it_was_seen_to_end(
    watching: Watching,
) -> None:
    """C-73: who can write to Redis takes the note away as well; the gateway's workers tell each other, and note it again."""
    first = watching()
    await closed_and_put_back(first, noted=False)
    later = watching()
    later.watcher.mark_ended(first.ended)
    await eventually(lambda: notes(later))
    await later.write(opening("dashboard", id="two"))
    await eventually(lambda: later.is_open("dashboard"))
    assert not first.is_open()
    assert not later.is_open()
    elsewhere = watching()
    await eventually(lambda: elsewhere.is_open("dashboard"))
    assert not elsewhere.is_open()


async def test_what_another_worker_saw_end_is_closed_here_too(watching: Watching) -> None:
    """C-73: this one may have been told of the record that was put back, and not of the moment without one."""
    worker = watching()
    await worker.write(opening())
    await eventually(worker.is_open)
    worker.watcher.mark_ended(["one"])
    await eventually(lambda: worker.over == ["one"])
    assert not worker.is_open()
    await eventually(lambda: ("closed", "one") in worker.told)


async def test_an_opening_that_another_one_took_the_place_of_does_not_come_back(watching: Watching) -> None:
    """C-73."""
    worker = watching()
    await worker.write(opening(id="one"))
    sealed = await stored(worker.redis, worker.name)
    await worker.write(opening(id="two"))
    await worker.redis.set(worker.name, sealed, px=60_000)
    assert await worker.openings.read("portal", datetime.now(UTC)) is None


async def test_an_opening_that_is_written_again_is_open(watching: Watching) -> None:
    worker = watching()
    for _ in range(2):
        await worker.write(opening())
    assert await worker.openings.read("portal", datetime.now(UTC)) is not None


async def test_a_redis_that_forgot_what_is_over_is_told_again(own_valkey: EmbeddedValkey, watching: Watching) -> None:
    """C-73: it came back from a backup, or a replica that lagged was promoted."""
    worker = watching(own_valkey.url)
    await closed_and_put_back(worker, noted=False)
    await eventually(lambda: notes(worker))
    await worker.redis.delete(worker.name, *await notes(worker))
    own_valkey.stop()
    own_valkey.start()
    await eventually(lambda: notes(worker))


async def test_a_gateway_that_comes_upon_an_opening_late_tells_of_it_whatever_redis_says(watching: Watching) -> None:
    """C-73: whoever told of it before may have been another fleet, before a backup was put back. Once for a gateway."""
    early = watching(gateway="early")
    old = opening()
    await early.write(replace(old, opened_at=old.opened_at - timedelta(minutes=2)))
    await eventually(early.is_open)
    late = watching(gateway="late")
    await eventually(late.is_open)
    reloaded = watching(gateway="late")
    await eventually(reloaded.is_open)
    assert early.told == late.told == [("opened", "one")]
    assert reloaded.told == []


async def test_nobody_is_let_in_by_an_opening_of_which_nothing_is_told(watching: Watching) -> None:
    """C-73: Redis does not say whether it was told. Rather twice than never."""

    async def once(name: str, ttl: timedelta) -> bool:
        raise StoreUnavailable("OutOfMemoryError")

    worker = watching(once=once)
    await worker.write(opening())
    await eventually(worker.is_open)
    assert worker.told == [("opened", "one")]


async def test_clocks_that_jump_prolong_nothing(watching: Watching, redis: Redis) -> None:
    """C-46: the wall clock goes back an hour, and somebody prolongs the TTL."""
    worker = watching()
    await worker.write(opening(lasts=300))
    await eventually(worker.is_open)
    active = worker.shown["portal"]
    assert active is not None
    deadline = active.deadline
    worker.later = timedelta(hours=-1)
    worker.shown["portal"] = None
    await redis.pexpire(worker.name, 7_200_000)
    await eventually(lambda: worker.shown["portal"] is not None)
    assert active.deadline <= deadline
    assert worker.watcher.is_open(active)
    worker.ahead = 5  # the process stood still for as long: what happened meanwhile it has not heard
    assert not worker.watcher.is_open(active)


async def test_what_cannot_be_confirmed_is_closed_until_it_can(own_valkey: EmbeddedValkey, watching: Watching) -> None:
    """C-43: Redis goes away; nobody could close it any more. It comes back, and the record is still there."""
    worker = watching(own_valkey.url)
    await worker.write(opening())
    await eventually(worker.is_open)
    own_valkey.stop()
    await eventually(lambda: not worker.is_open())
    assert worker.watcher.open_now == []
    own_valkey.start()
    await eventually(worker.is_open)
    assert worker.told == [("opened", "one")]


async def test_what_was_closed_while_a_worker_heard_nothing_stays_closed(
    own_valkey: EmbeddedValkey, watching: Watching
) -> None:
    worker = watching(own_valkey.url)
    await worker.write(opening())
    await eventually(worker.is_open)
    await command(worker.redis, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await worker.openings.close("portal")
    await eventually(lambda: ("closed", "one") in worker.told)
    assert not worker.is_open()


async def test_peers_that_forward_are_remembered_for_the_fleet(watching: Watching) -> None:
    first, second = watching(), watching()
    first.watcher.on_forwarding("203.0.113.9")
    second.watcher.on_forwarding("2001:db8::9")
    found: list[str] = []

    async def both() -> bool:
        found[:] = await first.openings.forwarders(datetime.now(UTC))
        return len(found) == 2

    await eventually(both)
    assert sorted(found) == ["2001:db8::9", "203.0.113.9"]
    # A process that runs for months says it again: what Redis forgets after a month is still there.
    await first.redis.delete(first.openings.prefix.removesuffix("glass:") + "forwarders")
    first.ahead = second.ahead = 86_401
    await eventually(both)
