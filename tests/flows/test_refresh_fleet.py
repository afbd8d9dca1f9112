"""One session over four processes: its tokens are renewed once, whoever asks, and whoever dies."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from gateway.demo.provider import DemoClient
from gateway.runtime.composition import utc_now
from gateway.sessions.keyring import KeyRing, new_key
from gateway.sessions.store import SessionStore
from tests.fakes.provider import MisbehavingProvider, earlier_sign_in
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import Running, running
from tests.fakes.waiting import eventually
from tests.unit.sessions.made import a_session

KEY = new_key()
ENVIRON = {"DOORWARD_TEST_KEY": KEY, "DOORWARD_TEST_SECRET": "secret"}
WORKERS = 4
AT_ONCE = 500
FEW = 60


@pytest.fixture
async def fleet(
    tmp_path: Path, upstream: RecordingUpstream, provider: MisbehavingProvider, valkey: str, prefix: str
) -> AsyncIterator[Running]:
    """Four workers that know the provider's keys."""
    provider.register(DemoClient(client_id="doorward", client_secret="secret", redirect_uris=()))
    openid = {
        "authority_url": provider.issuer,
        "client_id": "doorward",
        "client_secret": "${DOORWARD_TEST_SECRET}",
        "scopes": ["openid", "email", "profile", "offline_access"],
    }
    async with running(
        tmp_path,
        upstream.url,
        environ=ENVIRON,
        workers=WORKERS,
        openid=openid,
        redis={"url": valkey, "key_prefix": prefix},
    ) as door:
        await eventually(lambda: provider.count("jwks") >= WORKERS)
        yield door


def refreshes(provider: MisbehavingProvider) -> int:
    return sum(request.form.get("grant_type") == "refresh_token" for request in provider.seen)


async def signed_in(door: Running, redis: Redis, prefix: str, provider: MisbehavingProvider) -> tuple[str, str]:
    """A session whose access token is over: its Cookie line, and its key."""
    store = SessionStore(redis, KeyRing([KEY]), prefix)
    session = a_session(key_host=f"portal.localhost:{door.port}", created_at=utc_now(), **earlier_sign_in(provider))
    token = await store.issue(session)
    return f"Cookie: doorward_session={token}\r\n", store.key_of(token)


async def ask_at_once(door: Running, cookie: str) -> Counter[int]:
    answers = await asyncio.gather(*(door.ask("/", fields=cookie) for _ in range(AT_ONCE)))
    return Counter(answer.status for answer in answers)


def told(door: Running, event: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in door.output.splitlines() if f'"event":"{event}"' in line]


async def test_five_hundred_requests_at_once_cost_the_provider_one_refresh(
    fleet: Running, redis: Redis, prefix: str, provider: MisbehavingProvider
) -> None:
    """A-71: the provider replaces refresh tokens, and ends the family of one that comes twice."""
    cookie, _ = await signed_in(fleet, redis, prefix, provider)
    assert await ask_at_once(fleet, cookie) == {200: AT_ONCE}
    assert refreshes(provider) == 1
    await eventually(lambda: told(fleet, "token.refreshed"))
    assert len(told(fleet, "token.refreshed")) == 1
    assert await ask_at_once(fleet, cookie) == {200: AT_ONCE}
    assert refreshes(provider) == 1
    metrics = (await fleet.admin("/metrics")).body.decode()
    assert f"doorward_sessions_cached {WORKERS}.0" in metrics, "every worker was asked"


async def test_a_winner_killed_with_the_answer_in_hand_costs_at_most_a_sign_in(
    fleet: Running, redis: Redis, prefix: str, provider: MisbehavingProvider
) -> None:
    """A-71: the token that it spent is tried once more. Taken: nobody notices. Not taken: a new sign-in, and no loop."""
    cookie, key = await signed_in(fleet, redis, prefix, provider)
    await winner_dies(fleet, provider, cookie, spends=False)
    await eventually(lambda: told(fleet, "token.refreshed"))
    assert (await fleet.ask("/", fields=cookie)).status == 200
    assert await redis.exists(f"{prefix}s:{key}")

    cookie, key = await signed_in(fleet, redis, prefix, provider)
    await winner_dies(fleet, provider, cookie, spends=True)
    (failed,) = await eventually(lambda: told(fleet, "token.refresh_failed"))
    assert (failed["reason"], failed["ended"]) == ("answer_lost", True)
    assert (await fleet.ask("/", fields=cookie)).status == 401
    assert not await redis.exists(f"{prefix}s:{key}")
    asked = refreshes(provider)
    for _ in range(20):
        assert (await fleet.ask("/", fields=cookie)).status == 401
    assert refreshes(provider) == asked


async def winner_dies(fleet: Running, provider: MisbehavingProvider, cookie: str, *, spends: bool) -> None:
    """The provider answers, and the worker that asked is killed before it can read that; a second refresh comes of it.

    `spends`: the token counts as used, and its family ends with the second use.
    """
    killed: list[int] = []

    async def and_die(request: web.Request) -> web.StreamResponse:
        del provider.faults["token"]
        form = await request.post()
        if spends:
            provider.tokens.refresh(str(form["refresh_token"]), "doorward")
        assert request.transport is not None
        ends = (request.transport.get_extra_info(name)[1] for name in ("peername", "sockname"))
        pid = await fleet.worker_behind(*ends)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        return web.Response(status=500)

    before = refreshes(provider)
    provider.faults["token"] = and_die
    asking = (fleet.ask("/", fields=cookie) for _ in range(FEW))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    # On a busy machine, after all requests had waited for the refresh as long as they do.
    await eventually(lambda: killed)
    assert len(killed) == 1
    await eventually(lambda: refreshes(provider) == before + 2)
    statuses = Counter(answer.status for answer in answers if not isinstance(answer, BaseException))
    assert set(statuses) <= {200, 401}
    assert statuses.total() >= FEW / 3, "only what the dead worker held was lost"
