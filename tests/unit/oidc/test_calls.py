"""Calls to a provider: names on this machine, and nothing kept between calls."""

from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from gateway.demo.listener import Listener
from gateway.errors.signing_in import ProviderFault
from gateway.oidc.calls import Calls, LoopbackResolver, open_session


async def test_names_below_localhost_are_this_machine() -> None:
    names = LoopbackResolver()
    for name in ("localhost", "login.localhost", "a.b.localhost"):
        (found,) = await names.resolve(name, 80)
        assert (found["host"], found["port"]) == ("127.0.0.1", 80)
    await names.close()


async def test_a_cookie_of_the_provider_is_not_kept() -> None:
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.json_response({}, headers={"Set-Cookie": "a=1; Path=/"})

    app = web.Application()
    app.router.add_get("/", answer)
    listener = Listener(app)
    await listener.start()
    async with open_session() as http:
        calls = Calls(http)
        for _ in range(2):
            assert (await calls.get("it", f"http://login.localhost:{listener.port}/")).json() == {}
    await listener.close()
    assert cookies == [None, None]


async def test_an_answer_is_bounded_to_the_byte() -> None:
    """A-65."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * int(request.query["n"]))

    app = web.Application()
    app.router.add_get("/", answer)
    listener = Listener(app)
    await listener.start()
    async with open_session() as http:
        calls = Calls(http, limit=1000, timeout=timedelta(seconds=5))
        assert len((await calls.get("it", listener.url + "/?n=1000")).body) == 1000
        with pytest.raises(ProviderFault, match="larger"):
            await calls.get("it", listener.url + "/?n=1001")
    await listener.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_redirect_is_no_answer_and_is_not_followed(status: int, method: str) -> None:
    """A-69: neither code nor secret nor token goes to wherever it points, and the JSON that comes with it says nothing."""
    reached: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        reached.append(request.path)
        if request.path == "/there":
            return web.json_response({"access_token": "theirs"})
        return web.json_response({"access_token": "planted"}, status=status, headers={"Location": "/there"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    listener = Listener(app)
    await listener.start()
    async with open_session() as http:
        calls = Calls(http)
        url = listener.url + "/token"
        with pytest.raises(ProviderFault, match="redirect"):
            await (calls.get("it", url) if method == "get" else calls.post("it", url, b"code=secret", {}))
    await listener.close()
    assert reached == ["/token"]


async def test_a_private_authority_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        open_session(tmp_path / "missing.pem")
