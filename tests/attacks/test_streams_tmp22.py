"""Broken request streams: the upstream sees exactly the requests that were admitted."""

import asyncio

from tests.fakes.provider import MisbehavingProvider
from tests.fakes.strict import StrictUpstream
from tests.flows.conftest import OpenHouse
from tests.fuzz.streams import HOUSE, Streams, Trial, reply

STREAMS = 6000
SEED = 22
AT_ONCE = 6


async def test_the_upstream_sees_exactly_what_was_admitted_whatever_bytes_are_sent(
    open_house: OpenHouse, provider: MisbehavingProvider
) -> None:
    """D-03, D-02, B-16, B-42."""
    upstream = StrictUpstream(reply=reply)
    await upstream.start()
    house = await open_house(upstreams={"portal": upstream.url}, provider=provider, **HOUSE)
    cookie = await house.session()
    key = house.worker.store.key_of(cookie.partition("=")[2])
    await house.worker.cache.load(key, house.host(), "portal")
    trial = Trial(house, upstream, key)
    trial.listen()
    streams = Streams(SEED, house.host(), cookie)
    for number in range(0, STREAMS, AT_ONCE):
        batch = [streams.next() for _ in range(AT_ONCE)]
        await asyncio.gather(*(trial.stream(streams.cuts(stream)) for stream in batch))
        if number % 60 == 0:
            problems = await trial.verdict()
            assert not problems, "\n".join([*problems, *map(repr, batch)])
    assert await trial.verdict() == []
    await upstream.close()
