"""Pages that renew themselves: what is sent, and when it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

from gateway.console import live
from gateway.console.live import LiveViews


@asynccontextmanager
async def served(
    views: LiveViews, draw: Callable[[], Awaitable[str]]
) -> AsyncIterator[Callable[[], Awaitable[tuple[int, str]]]]:
    """`ask()` gives status and whole body, when the stream has ended."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await views.stream(request, draw, 0.01)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with ClientSession() as client:

            async def ask() -> tuple[int, str]:
                async with client.get(f"http://127.0.0.1:{port}/") as response:
                    return response.status, await response.text()

            yield ask
    finally:
        await runner.cleanup()


async def test_a_view_is_sent_again_when_it_changed_and_ends_in_time() -> None:
    """C-92: then the browser asks again, and the gate decides anew."""
    shown = iter(["one", "one", "two\nlines"])

    async def draw() -> str:
        return next(shown, "two\nlines")

    async with served(LiveViews(asyncio.Event(), longest=0.2), draw) as ask:
        status, body = await asyncio.wait_for(ask(), 30)
    assert status == 200
    assert body.replace(":\n\n", "") == "retry: 3000\n\ndata: one\n\ndata: two\ndata: lines\n\n"
    assert body.count(":\n\n") >= 1


async def test_a_process_that_stops_ends_its_views() -> None:
    stopping = asyncio.Event()

    async def draw() -> str:
        stopping.set()
        return "x"

    async with served(LiveViews(stopping, longest=3600.0), draw) as ask:
        assert await asyncio.wait_for(ask(), 30) == (200, "retry: 3000\n\ndata: x\n\n")


async def test_views_without_end_are_refused() -> None:
    stopping, drawn = asyncio.Event(), 0

    async def draw() -> str:
        nonlocal drawn
        drawn += 1
        return "x"

    async with served(LiveViews(stopping, longest=3600.0), draw) as ask:
        asked = [asyncio.ensure_future(ask()) for _ in range(live.MOST + 1)]
        done, waiting = await asyncio.wait(asked, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [(204, "")]
        stopping.set()
        assert {(await task)[0] for task in waiting} == {200}
        assert (await ask())[0] == 200  # those that ended made room
