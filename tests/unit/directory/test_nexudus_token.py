"""The service account's token: one request for all who need it, renewed in time, and no hammering with a bad password."""

import asyncio

import pytest

from gateway.demo.nexudus_stub import Fault
from gateway.errors.signing_in import DirectoryUnavailable
from tests.unit.directory.api import EMAIL, TOKEN, Bench, bench


def grants(at: Bench) -> tuple[int, int]:
    return at.stub.counters["token.password"], at.stub.counters["token.refresh"]


async def test_many_first_look_ups_share_one_token_request() -> None:
    async with bench() as at:
        at.stub.faults.add(Fault(kind="slow", match=TOKEN, seconds=0.05))
        await asyncio.gather(*(at.directory.find(EMAIL) for _ in range(20)))
        assert grants(at) == (1, 0)


async def test_the_token_is_renewed_with_the_refresh_token_before_it_expires() -> None:
    async with bench(token_lifetime=3600) as at:
        await at.directory.find(EMAIL)
        at.clock.advance(3200)
        await at.directory.find(EMAIL)
        assert grants(at) == (1, 0)
        at.clock.advance(200)
        await asyncio.gather(*(at.directory.find(EMAIL) for _ in range(5)))
        assert grants(at) == (1, 1)
        assert at.stub.counters["unauthorized"] == 0


async def test_a_token_that_died_early_is_renewed_once_for_all_and_the_call_repeated() -> None:
    async with bench() as at:
        await at.directory.find(EMAIL)
        at.stub.world.access.clear()
        await asyncio.gather(*(at.directory.find(EMAIL) for _ in range(10)))
        assert grants(at) == (1, 1)


async def test_a_refused_refresh_token_falls_back_to_the_password() -> None:
    async with bench() as at:
        await at.directory.find(EMAIL)
        at.stub.world.access.clear()
        at.stub.world.refresh.clear()
        await at.directory.find(EMAIL)
        assert grants(at) == (2, 1)


async def test_every_token_request_carries_the_same_client_id() -> None:
    async with bench() as at:
        await at.directory.find(EMAIL)
        at.stub.world.access.clear()
        await at.directory.find(EMAIL)
        seen = [headers for method, path, headers in at.stub.seen if f"{method} {path}" == TOKEN]
        assert [headers["client_id"] for headers in seen] == ["doorward", "doorward"]


async def test_a_wrong_password_is_not_tried_again_for_a_while() -> None:
    async with bench(settings={"password": "wrong"}) as at:
        for _ in range(5):
            with pytest.raises(DirectoryUnavailable) as caught:
                await at.directory.find(EMAIL)
            assert caught.value.reason == "unauthorized"
        assert grants(at) == (1, 0)
        at.clock.advance(31)
        with pytest.raises(DirectoryUnavailable):
            await at.directory.find(EMAIL)
        assert grants(at) == (2, 0)


@pytest.mark.parametrize("word", ["TotpSecret", "MustResetPassword"])
async def test_an_account_that_needs_more_than_a_password_is_unauthorized_and_the_log_says_why(word: str) -> None:
    async with bench() as at:
        service = at.stub.world.user_by_email("sso@ops.example")
        assert service is not None
        service[word] = True
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert caught.value.reason == "unauthorized"
        assert ("two_factor" if word == "TotpSecret" else "must_reset") in caught.value.detail


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(kind="html"), "not_json"),
        (Fault(kind="html", status=200), "not_json"),
        (Fault(kind="error"), "unreachable"),
        (Fault(kind="cut"), "unreachable"),
        (Fault(kind="redirect"), "rejected"),
        (Fault(kind="throttle", retry_after="100"), "throttled"),
        (Fault(kind="answer", status=200, body="{}"), "incomplete"),
        (Fault(kind="answer", status=200, body='{"access_token":"a\\r\\nX: y"}'), "incomplete"),
        (Fault(kind="answer", status=200, body="[]"), "incomplete"),
        (Fault(kind="slow", seconds=1), "timeout"),
    ],
)
async def test_a_token_endpoint_that_misbehaves_is_an_error_with_its_reason(fault: Fault, reason: str) -> None:
    fault.match, fault.times = TOKEN, None
    async with bench(timeout=0.3 if reason == "timeout" else 5) as at:
        at.stub.faults.add(fault)
        with pytest.raises(DirectoryUnavailable) as caught:
            await at.directory.find(EMAIL)
        assert caught.value.reason == reason


async def test_a_caller_that_gave_up_does_not_stop_the_others() -> None:
    async with bench() as at:
        at.stub.faults.add(Fault(kind="slow", match=TOKEN, seconds=0.1))
        first = asyncio.create_task(at.directory.find(EMAIL))
        others = [asyncio.create_task(at.directory.find(EMAIL)) for _ in range(3)]
        async with asyncio.timeout(60):
            while not at.stub.seen:
                await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [None, None, None]
        assert at.stub.counters["coworkers.list"] == 3
