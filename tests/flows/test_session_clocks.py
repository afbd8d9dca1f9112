"""A session ends by itself, on the server, and that is told once (D-09)."""

import json

from tests.fakes.house import House
from tests.fakes.waiting import eventually
from tests.flows.conftest import OpenHouse


def told(house: House, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in b"".join(house.lines).splitlines()]
    return [line for line in lines if line.get("event") == event]


async def test_an_idle_session_ends_and_is_told(open_house: OpenHouse) -> None:
    """C-46."""
    house = await open_house(apps={"portal": {"session": {"idle": "1s", "lifetime": "1h"}}})
    cookie = await house.session()
    assert (await house.ask("/", cookie=cookie)).status == 200
    (event,) = await eventually(lambda: told(house, "session.expired"))
    assert (event["why"], event["app"]) == ("idle", "portal")
    assert "email" not in event
    assert (await house.ask("/", cookie=cookie)).status == 401


async def test_a_session_ends_at_its_lifetime_however_busy_it_is(open_house: OpenHouse) -> None:
    """C-46."""
    house = await open_house(apps={"portal": {"session": {"idle": "2s", "lifetime": "2s"}}})
    cookie = await house.session()

    async def refused() -> bool:
        return (await house.ask("/", cookie=cookie)).status == 401

    assert not await refused()
    await eventually(refused)
    (event,) = await eventually(lambda: told(house, "session.expired"))
    assert event["why"] == "lifetime"


async def test_a_session_that_was_signed_out_did_not_expire(house: House) -> None:
    cookie = await house.session()
    assert (await house.ask("/", cookie=cookie)).status == 200
    store = house.worker.store
    await store.revoke(store.key_of(cookie.partition("=")[2]))
    await eventually(lambda: house.worker.cache.size == 0)
    assert told(house, "session.expired") == []
