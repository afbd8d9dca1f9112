"""The console's overview and events: what workers and parents tell Redis, and what a page shows of it while it is open."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.observability import events
from gateway.redis_client.client import connect
from gateway.telemetry.numbers import REQUESTS, NumberStore, Step
from tests.fakes.house import BROWSER, House
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import running
from tests.fakes.waiting import eventually
from tests.fakes.wire import Wire, WireResponse
from tests.flows.conftest import OpenHouse
from tests.flows.test_console_process import KEY

CONSOLE: dict[str, Any] = {"require": {"groups": ["staff"]}, "roles": {"act": {"groups": ["lead"]}}}
JSON = "Accept: application/json\r\n"


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house(console=CONSOLE)


@pytest.fixture
async def operator(house: House) -> str:
    return await house.session("console", groups=["staff"])


async def read(house: House, operator: str, query: str = "", path: str = "/console/events") -> WireResponse:
    return await house.ask(f"{path}?{query}", app="console", cookie=operator, fields=JSON)


async def shown(house: House, operator: str, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await read(house, operator, query)).body)["events"]
    return found


def happen(house: House, name: str = events.LOGOUT, **facts: Any) -> None:
    house.worker.audit.emit(name, app="portal", **{"session": "s1", **facts})


async def test_events_of_the_workers_are_shown_and_filtered(house: House, operator: str) -> None:
    happen(house, events.LOGIN_SUCCEEDED, subject="ada", provider="openid")
    happen(house, events.LOGIN_REFUSED, subject="bob", reason="not_registered")
    happen(house, events.LOGOUT, subject="ada")

    async def names(query: str) -> list[str]:
        return [each["event"] for each in await shown(house, operator, query)]

    await eventually(lambda: names("event=logout"))
    assert await names("event=login.&person=ada") == [events.LOGIN_SUCCEEDED]
    assert await names("outcome=registered") == [events.LOGIN_REFUSED]
    assert await names("app=dashboard") == []
    assert await names("person=ADA") == [events.LOGOUT, events.LOGIN_SUCCEEDED]
    assert await names("count=1&person=a") == [events.LOGOUT]


async def test_older_events_are_on_the_next_page(house: House, operator: str) -> None:
    for number in range(5):
        happen(house, number=number)
    await eventually(lambda: shown(house, operator, "event=logout&outcome=&person="))
    seen: list[int] = []
    older: str | None = ""
    while older is not None:
        page = json.loads((await read(house, operator, f"event=logout&count=2{older}")).body)
        seen += [each["number"] for each in page["events"]]
        older = None if page["older"] is None else f"&before={quote(page['older'])}"
    assert seen == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("query", ["count=0", "count=1001", "count=x", "count=%D9%A1", "before=x", "before=1-1"])
async def test_a_parameter_that_means_nothing_is_400(house: House, operator: str, query: str) -> None:
    refused = await read(house, operator, query)
    assert refused.status == 400
    assert b"allowed" in refused.body or json.loads(refused.body)["code"] == "bad_request"


async def test_events_are_saved_as_json_lines(house: House, operator: str) -> None:
    happen(house, subject="ada")
    happen(house, subject="bob")
    await eventually(lambda: shown(house, operator, "person=bob"))
    saved = await read(house, operator, "person=ada", "/console/events.jsonl")
    assert saved.value("Content-Type") == "application/jsonl"
    assert saved.value("Content-Disposition") == 'attachment; filename="events.jsonl"'
    (line,) = saved.body.decode().splitlines()
    assert json.loads(line)["subject"] == "ada"


async def test_texts_of_strangers_are_text_in_events(house: House, operator: str) -> None:
    """C-94."""
    happen(house, events.LOGIN_REFUSED, reason="<script>alert(1)</script>", subject='"><img src=x>')
    await eventually(lambda: shown(house, operator, "event=login.refused"))
    page = (await house.ask("/console/events", app="console", cookie=operator, fields=BROWSER)).body.decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_a_refused_operator_is_an_event_there_too(house: House, operator: str) -> None:
    assert (await house.ask("/console/act/none", app="console", cookie=operator)).status == 403

    async def denied() -> bool:
        return bool(await shown(house, operator, "event=access.denied"))

    await eventually(denied)


async def test_an_open_page_gets_what_happens(house: House, operator: str) -> None:
    happen(house, subject="before")
    await eventually(lambda: shown(house, operator, "person=before"))
    wire = await Wire.open(house.port)
    head = f"GET /console/events HTTP/1.1\r\nHost: {house.host('console')}\r\nAccept: text/event-stream\r\n"
    await wire.send(f"{head}Cookie: {operator}\r\n\r\n".encode())
    seen = b""

    async def until(part: bytes) -> None:
        nonlocal seen
        async with asyncio.timeout(30):
            while part not in seen:
                more = await wire.reader.read(65536)
                assert more, seen
                seen += more

    await until(b"before")
    assert b"text/event-stream" in seen
    assert b"retry: 3000" in seen
    happen(house, subject="meanwhile")
    await until(b"meanwhile")
    assert b"<h1>" not in seen  # a part of the page, not the page
    await wire.close()


async def test_a_page_that_stands_still_is_a_page_for_every_accept(house: House, operator: str) -> None:
    answer = await house.ask(
        "/console/events.jsonl", app="console", cookie=operator, fields="Accept: text/event-stream\r\n"
    )
    assert answer.value("Content-Type") == "application/jsonl"


async def test_a_replica_tells_its_state_and_its_numbers(
    tmp_path: Path, valkey: str, prefix: str, upstream: RecordingUpstream
) -> None:
    redis = connect(schema.Redis(url=SecretStr(valkey)))
    environ = {"DOORWARD_TEST_KEY": KEY, "DOORWARD_TEST_SECRET": "s", "RUNTIME_DIRECTORY": str(tmp_path)}
    console = {"hosts": ["console.localhost"], **CONSOLE}
    store = {"url": valkey, "key_prefix": prefix}
    try:
        async with running(tmp_path, upstream.url, environ=environ, console=console, redis=store) as door:
            for _ in range(3):
                assert (await door.ask("/open/x")).status == 200
            found = await eventually(lambda: redis.zrange(f"{prefix}replicas", 0, -1), within=30)
            assert len(found) == 1
        assert await redis.zrange(f"{prefix}replicas", 0, -1) == []  # it left the list when it ended
        slots = await NumberStore(redis, prefix).read(Step.HOUR, *await _now(redis))
        assert sum(slot.counts.get((REQUESTS, "portal", "2xx"), 0) for slot in slots) == 3
    finally:
        await redis.aclose()


async def _now(redis: Any) -> tuple[float, float]:
    seconds, _ = await redis.time()
    return seconds - 60.0, float(seconds)


async def test_the_overview_shows_figures_and_replicas(house: House, operator: str) -> None:
    overview = json.loads((await read(house, operator, "span=day", "/console/")).body)
    assert overview["span"] == "day"
    assert len(overview["fleet"]["points"]) in (144, 145)
    page = (await house.ask("/console/", app="console", cookie=operator, fields=BROWSER)).body.decode()
    assert page.count("<svg") == 4
