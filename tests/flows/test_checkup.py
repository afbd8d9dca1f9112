"""`doorward check --online`: each thing that the door depends on, a line each."""

from gateway.operations.check import check_all
from tests.fakes.house import NOBODY
from tests.fakes.provider import MisbehavingProvider
from tests.flows.conftest import OpenHouse


async def test_everything_that_answers_is_ok(open_house: OpenHouse, provider: MisbehavingProvider) -> None:
    house = await open_house(provider=provider)
    answers = await check_all(house.worker.config)
    assert answers == [
        ("redis", None),
        ("provider discovery", None),
        ("provider keys", None),
        ("apps.portal.upstream", None),
    ]


async def test_what_does_not_answer_is_named_with_its_reason(open_house: OpenHouse) -> None:
    house = await open_house(upstreams={"portal": NOBODY})
    answers = dict(await check_all(house.worker.config))
    assert answers["redis"] is None
    assert NOBODY in (answers["provider discovery"] or "")
    assert answers["provider keys"] == "not asked: discovery failed"
    assert "cannot connect" in (answers["apps.portal.upstream"] or "")


async def test_keys_that_cannot_be_had_are_told_apart_from_discovery(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    house = await open_house(provider=provider)
    provider.told.jwks = {"keys": "none"}
    answers = dict(await check_all(house.worker.config))
    assert answers["provider discovery"] is None
    assert (answers["provider keys"] or "").startswith("keys")
