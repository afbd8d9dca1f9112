"""Broken answers of an upstream: each client sees a sound message or its visible end, and nobody another's."""

import asyncio

from tests.flows.conftest import OpenHouse
from tests.fuzz.answers import Answers, AnswerTrial, BrokenUpstream

COUNT = 960
AT_ONCE = 240
SEED = 11


async def test_what_a_client_sees_is_sound_or_visibly_broken_whatever_the_upstream_says(open_house: OpenHouse) -> None:
    """B-42, B-44, B-45, B-47, B-54, D-03."""
    upstream = BrokenUpstream(Answers(SEED))
    await upstream.start()
    house = await open_house(
        upstreams={"portal": upstream.url}, apps={"portal": {"timeouts": {"idle": "1s", "response_headers": "1s"}}}
    )
    trial = AnswerTrial(house, upstream, await house.session())
    for _ in range(0, COUNT, AT_ONCE):
        await asyncio.gather(*(trial.one("HEAD" if number % 5 == 4 else "GET") for number in range(AT_ONCE)))
        assert trial.problems == []
    await trial.settled()
    assert {
        "2xx sized whole",
        "2xx chunked whole",
        "2xx chunked broken off",
        "5xx sized whole",
        "3xx none whole",
    } <= set(trial.kinds)
    await upstream.close()
