"""Tasks that go on after an exception, which is logged and counted."""

import asyncio
from contextlib import suppress

import pytest

from gateway.observability.background import UnexpectedErrors, repeat, report_error


async def test_a_round_that_raises_is_logged_and_counted_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = UnexpectedErrors()
    errors.install()
    rounds = 0
    done = asyncio.Event()

    async def step() -> float:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise ValueError("broken")
        if rounds == 4:
            done.set()
        return 0.0

    task = asyncio.create_task(repeat("a task", step))
    await asyncio.wait_for(done.wait(), 60)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert errors.counts == {"a task": 1}
    assert "a task: unexpected error" in caplog.text


async def test_what_asyncio_itself_finds_is_counted_too() -> None:
    errors = UnexpectedErrors()
    errors.install()
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: 1 / 0)
    report_error("ours", RuntimeError())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert errors.counts == {"other": 1, "ours": 1}
