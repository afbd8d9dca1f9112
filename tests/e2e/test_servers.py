"""Real servers behind the door, attacked by strangers while an honest client is served: those of pip and npm, `php -S`, nginx with WebDAV."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.servers import attacks
from tests.servers.attacks import request
from tests.servers.cases import ServerCases, tried
from tests.servers.crowd import crowd
from tests.servers.door import Place, standing
from tests.servers.odd import LATE_BODIES, NTLM
from tests.servers.small import KINDS
from tests.servers.wire import Line, ask, each


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with standing(request.param) as place:
        yield place


class TestServers(ServerCases):
    every = 7
    asked = 5000


def test_bytes_that_nobody_announced_are_nobodys_answer() -> None:
    """B-02, B-44, B-60: they come 50 ms after the head of a HEAD, a 204 or a 304, and no length or coding speaks of them."""
    with standing(LATE_BODIES) as place:
        judged = asyncio.run(crowd(place.port, place.closed, 5000))
    assert judged.asked >= 5000
    assert (judged.wrong[:3], len(judged.wrong)) == ([], 0)
    assert judged.failed == []


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_connection_that_is_somebodys_serves_nobody_else(scheme: str) -> None:
    """B-61: Ada authenticates a connection; six others ask beside her, and after she has gone."""
    with standing(NTLM, openid={"prevent_password_login": False}) as place:
        asyncio.run(_beside_ada(place, scheme))


async def _beside_ada(place: Place, scheme: str) -> None:
    plain = request(place.open, "/desk", close=False)
    others = [Line(place.port) for _ in range(6)]

    async def ask_beside() -> None:
        for line in others:
            for _ in range(20):
                assert (await line.ask(plain)).body == b"who are you?"

    async with Line(place.port) as ada:
        await ask_beside()
        asked = await ada.ask(
            request(place.open, "/desk", fields=f"Authorization: {scheme} 1\r\n".encode(), close=False)
        )
        assert (asked.status, asked.field("www-authenticate")) == (401, f"{scheme} challenge")
        await ask_beside()
        proof = f"Authorization: {scheme} 3 ada\r\n".encode()
        known = await ada.ask(request(place.open, "/desk", fields=proof, close=False))
        assert (known.status, known.body) == (200, b"you are ada")
        for _ in range(20):
            await ask_beside()
            assert (await ada.ask(plain)).body == b"you are ada"
        assert ada.opened == 1
    for _ in range(20):
        await ask_beside()
    for line in others:
        line.close()


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_behind_a_trusted_proxy_no_connection_is_anybodys(scheme: str) -> None:
    """B-61: its connection carries many people, one after the other."""
    with standing(NTLM, openid={"prevent_password_login": False}, trusted_proxies=["127.0.0.1/32"]) as place:
        asyncio.run(_through_one_proxy(place, scheme))


async def _through_one_proxy(place: Place, scheme: str) -> None:
    plain = request(place.open, "/desk", fields=b"X-Forwarded-For: 192.0.2.7\r\n", close=False)
    async with Line(place.port) as proxy:
        for _ in range(20):
            for step in ("1", "3 ada"):
                fields = f"X-Forwarded-For: 192.0.2.1\r\nAuthorization: {scheme} {step}\r\n".encode()
                await proxy.ask(request(place.open, "/desk", fields=fields, close=False))
                assert (await proxy.ask(plain)).body == b"who are you?"


def test_no_file_is_copied_or_moved_to_what_is_closed() -> None:
    """C-64: the target that a rule judges is not the only one that COPY and MOVE have."""
    with standing(next(kind for kind in KINDS if kind.name == "nginx WebDAV")) as place:
        files = place.folder / "files"
        for host in (place.closed, place.open):
            put = request(host, "/assets/mine", "PUT", b"", b"mine")
            tried(place, [*([put] * 5), *attacks.destinations(host), *attacks.destinations_out_of(host)])
            assert list((files / "admin").iterdir()) == []
            assert [
                each.name for each in files.iterdir() if each.name not in ("admin", "assets", ".body", "pay", "large")
            ] == []
            got = asyncio.run(ask(place.port, request(host, "/assets/mine")))
            assert got is not None
            assert (got.status, got.body) == (200, b"mine")
        asyncio.run(each(place.upstream, attacks.destinations("localhost"), ask))
        assert list((files / "admin").iterdir()) != []  # so that this means something
