"""The last events of the fleet: what is kept of them, in which order they are read, and what strangers cannot do."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.observability import events
from gateway.observability.events import Audit
from gateway.sessions.keyring import KeyRing, new_key
from gateway.telemetry import event_log
from gateway.telemetry.event_log import ALIKE, EventLog, EventSeal
from gateway.telemetry.event_reader import Cursor, EventReader
from tests.fakes.waiting import eventually

NOON = 1_800_000_000.0


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing([new_key()])


@pytest.fixture
async def log(redis: Redis, ring: KeyRing, prefix: str) -> AsyncIterator[EventLog]:
    log = EventLog(redis, ring, prefix)
    log.start()
    yield log
    await log.close(1.0)


@pytest.fixture
def reader(redis: Redis, ring: KeyRing, prefix: str) -> EventReader:
    return EventReader(redis, ring, prefix)


def _of_person(name: str, **facts: Any) -> dict[str, Any]:
    return {"event": name, "app": "portal", "session": "s1", **facts}


def _refusal(client: str, rule: str = "login") -> dict[str, Any]:
    return {"event": events.ROUTE_BLOCKED, "app": "portal", "client": client, "rule": rule}


def _any(line: Mapping[str, Any]) -> bool:
    return True


async def _names(reader: EventReader, count: int = 100) -> list[str]:
    return [event.line["event"] for event in (await reader.page(count, _any)).events]


async def test_an_event_of_the_audit_is_read_by_another_process(log: EventLog, reader: EventReader) -> None:
    audit = Audit(lambda line: None)
    audit.keep = log.put
    audit.emit(events.LOGOUT, app="portal", session="s1", kind="own")

    async def read() -> bool:
        page = await reader.page(10, _any)
        return [event.line for event in page.events] == [
            {"event": "logout", "app": "portal", "session": "s1", "kind": "own"}
        ]

    await eventually(read)


async def test_pages_of_both_streams_hold_each_event_once_the_newest_first(log: EventLog, reader: EventReader) -> None:
    for number in range(30):
        log.put(
            NOON + number, _of_person(events.LOGOUT, number=number) if number % 3 else _refusal(f"192.0.2.{number}")
        )
    await log.close(5.0)
    seen: list[float] = []
    page = await reader.page(7, _any)
    while True:
        seen += [event.at for event in page.events]
        if page.older is None:
            break
        page = await reader.page(7, _any, Cursor.parse(str(page.older)))
    assert sorted(seen) == [NOON + number for number in range(30)]
    people = await reader.page(100, lambda line: line["event"] == events.LOGOUT)
    assert [event.line["number"] for event in people.events] == [number for number in range(29, 0, -1) if number % 3]
    assert people.older is None


@pytest.mark.parametrize(
    "text", ["", "1-1", "1-1,2-2,3-3", "a-b,1-1", "1,2", "١-1,1-1", "-,-", "1-" + "9" * 30 + ",1-1"]
)
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        Cursor.parse(text)


async def test_a_flood_of_strangers_is_counted_by_the_minute_and_pushes_out_nobody(
    log: EventLog, reader: EventReader, redis: Redis, prefix: str
) -> None:
    """C-82."""
    log.put(NOON, _of_person(events.LOGIN_SUCCEEDED))
    for number in range(5_000):
        log.put(NOON + 1, _refusal("192.0.2.1"))
        log.put(NOON + 1, _refusal(f"198.51.{number % 50}.{number // 50}"))
    log.put(NOON + 60, _of_person(events.LOGOUT))
    await log.close(5.0)
    entries = (await reader.page(1_000, _any)).events
    blocked = [event.line for event in entries if event.line["event"] == events.ROUTE_BLOCKED]
    assert (
        len(blocked) == ALIKE + 3
    )  # the first of each, then how often the first client and all those without a place came
    assert [line["count"] for line in blocked if line.get("client") == "192.0.2.1" and "count" in line] == [4_999]
    assert sum(line.get("count", 1) for line in blocked) == 10_000
    assert {events.LOGIN_SUCCEEDED, events.LOGOUT} <= {event.line["event"] for event in entries}
    assert await redis.xlen(f"{prefix}events:{event_log.PEOPLE}") == 2
    assert log.dropped == 0


async def test_a_queue_that_is_full_drops_and_counts(redis: Redis, ring: KeyRing, prefix: str) -> None:
    log = EventLog(redis, ring, prefix)  # not started: as when Redis does not answer
    for _ in range(event_log.QUEUE + 7):
        log.put(NOON, _of_person(events.LOGOUT))
    assert log.dropped == 7


async def test_events_wait_while_redis_refuses_them_and_those_it_took_are_not_written_again(
    redis: Redis, ring: KeyRing, prefix: str, log: EventLog
) -> None:
    key = f"{prefix}events:{event_log.PEOPLE}"
    await redis.set(key, "not a stream")
    log.put(NOON, _of_person(events.LOGOUT))
    log.put(NOON, _refusal("192.0.2.1"))
    reader = EventReader(redis, ring, prefix)

    async def took_one() -> bool:
        return await redis.xlen(f"{prefix}events:{event_log.STRANGERS}") == 1

    await eventually(took_one)
    await redis.delete(key)

    async def written() -> bool:
        return await _names(reader) == [events.LOGOUT, events.ROUTE_BLOCKED]

    await eventually(written)


async def test_an_entry_that_is_moved_or_forged_is_no_event(
    log: EventLog, reader: EventReader, redis: Redis, ring: KeyRing, prefix: str
) -> None:
    """C-82."""
    log.put(NOON, _of_person(events.LOGOUT))
    await log.close(5.0)
    seal = EventSeal(ring, prefix)
    moved = seal.seal(event_log.PEOPLE, NOON, _of_person(events.LOGIN_SUCCEEDED))
    forged = EventSeal(KeyRing([new_key()]), prefix).seal(event_log.STRANGERS, NOON, _refusal("192.0.2.1"))
    for entry in (moved, forged, b"", b"{}"):
        await redis.xadd(seal.key(event_log.STRANGERS), {b"e": entry})
    await redis.xadd(seal.key(event_log.STRANGERS), {b"other": b"field"})
    assert await _names(reader) == [events.LOGOUT]
