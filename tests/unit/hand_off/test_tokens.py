"""One-time tokens: of the directory for the right account, of a stranger's API for nobody who redirects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from gateway.config.sections.hand_off import TokenCall
from gateway.demo.listener import Listener
from gateway.directory.account import Account
from gateway.errors.hand_off import HandOffFailed, NoUpstreamLogin
from gateway.hand_off.tokens import CalledTokens, DirectoryTokens
from gateway.identity.claims import Identity
from tests.unit.directory.api import ANA, EMAIL, bench
from tests.unit.sessions.made import a_session

IDENTITY = a_session().identity


async def test_the_account_is_that_of_the_link_and_never_just_that_of_the_address() -> None:
    """A-59: somebody had this address before, and the account is theirs: the directory finds it, and no token is made for it."""
    asked: list[Identity] = []

    async def nobodys(identity: Identity) -> Account | None:
        asked.append(identity)
        return None

    async with bench(coworkers=[{"email": EMAIL, "full_name": "Ana", "UserId": 5}]) as at:
        assert await at.directory.find(EMAIL) is not None
        before = dict(at.stub.counters)
        with pytest.raises(NoUpstreamLogin):
            await DirectoryTokens(at.directory, nobodys).token(ANA, {})
        assert (asked, dict(at.stub.counters)) == ([ANA], before)


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[Listener, list[web.BaseRequest]]]:
    """Somebody who would like to have the secret, and what reached them."""
    reached: list[web.BaseRequest] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        reached.append(request)
        return web.json_response({"token": "theirs"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    listener = Listener(app)
    await listener.start()
    yield listener, reached
    await listener.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_redirect_takes_the_services_secret_nowhere(
    elsewhere: tuple[Listener, list[web.BaseRequest]], status: int, method: str
) -> None:
    """A-69: and what a redirect says is no token either."""
    there, reached = elsewhere

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Service-Key"] == "hunter2"
        return web.json_response({"token": "planted"}, status=status, headers={"Location": there.url + "/steal"})

    app = web.Application()
    app.router.add_route("*", "/token", answer)
    listener = Listener(app)
    await listener.start()
    call = TokenCall.model_validate(
        {"url": listener.url + "/token", "method": method, "headers": {"X-Service-Key": "hunter2"}}
    )
    async with aiohttp.ClientSession() as http:
        with pytest.raises(HandOffFailed):
            await CalledTokens(call, http).token(IDENTITY, {})
    await listener.close()
    assert reached == []


async def _token_of(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
    app = web.Application()
    app.router.add_route("*", "/token", answer)
    listener = Listener(app)
    await listener.start()
    try:
        async with aiohttp.ClientSession() as http:
            call = TokenCall.model_validate({"url": listener.url + "/token"})
            return await CalledTokens(call, http).token(IDENTITY, {})
    finally:
        await listener.close()


async def test_an_answer_that_comes_in_pieces_is_read_whole() -> None:
    read = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"filler": "', b"x" * 200_000, b'", "tok', b'en": "t1"}'):
            await response.write(piece)
            await asyncio.sleep(0)  # the pieces are written one by one
        read.set()
        return response

    assert await _token_of(answer) == "t1"
    assert read.is_set()


async def test_an_answer_beyond_the_bound_is_refused() -> None:
    """A-65."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    with pytest.raises(HandOffFailed) as caught:
        await _token_of(answer)
    assert caught.value.reason == "token_unreadable"
