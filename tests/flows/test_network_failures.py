"""What an operator reads when a server cannot be used: its name and the reason, alike for the provider, a directory, Redis and an upstream."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import schema
from gateway.config.loader import build
from gateway.directory.api.calls import ApiCalls, ApiProfile, ApiRequest, ApiTransport
from gateway.errors.refusal import Refusal
from gateway.oidc.calls import Calls, open_session
from gateway.proxy.pool import Pool
from gateway.redis_client.client import Operations, connect
from gateway.sessions.keyring import new_key
from tests.fakes.authority import Authority
from tests.fakes.house import NOBODY

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ask = Callable[[str, Path | None], Awaitable[object]]


async def _ask_provider(server: str, ca: Path | None = None) -> object:
    async with open_session(ca) as http:
        return await Calls(http, timeout=timedelta(seconds=1)).get("discovery", f"https://{server}/")


async def _ask_directory(server: str, ca: Path | None = None) -> object:
    async with open_session(ca) as http:
        calls = ApiCalls(ApiProfile(base_url=f"https://{server}"), ApiTransport(http=http))
        return await calls.call(ApiRequest(method="GET", path="/members", headers={}), calls.deadline(1))


async def _ask_redis(server: str, ca: Path | None = None) -> object:
    async with connect(schema.Redis(url=SecretStr(f"rediss://{server}"), tls=schema.RedisTls(ca=ca))) as client:
        return await Operations(client, "test").run(client.ping())


async def _ask_upstream(server: str, ca: Path | None = None) -> object:
    app = {
        "hosts": ["portal.localhost"],
        "upstream": f"https://{server}",
        "timeouts": {"connect": "1s"},
        "upstream_tls": {"ca": str(ca)} if ca else {},
    }
    openid = {"authority_url": NOBODY, "client_id": "doorward", "client_secret": "secret"}
    config = build({"keys": [new_key()], "openid": openid, "external_url_scheme": "http", "apps": {"portal": app}})
    return await Pool("portal", config.apps["portal"]).connect()


asks = pytest.mark.parametrize("ask", [_ask_provider, _ask_directory, _ask_redis, _ask_upstream])


@asynccontextmanager
async def _server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _failure(ask: Ask, server: str, ca: Path | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        await ask(server, ca)
    assert server in caught.value.detail
    assert not re.search(r"[A-Z]\w+Error", caught.value.detail)
    return caught.value.detail


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _answer_in_the_clear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()
    writer.close()


@asks
async def test_a_refused_connection_is_named(ask: Ask) -> None:
    assert "the connection was refused" in await _failure(ask, "127.0.0.1:9")


@asks
async def test_a_name_without_an_address_is_named(ask: Ask) -> None:
    assert "the name cannot be resolved (" in await _failure(ask, "no-such-host.invalid:8443")


@asks
@pytest.mark.parametrize("fault", ["authority", "name", "date"])
async def test_a_certificate_is_named_with_its_fault(ask: Ask, fault: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("192.0.2.1" if fault == "name" else "127.0.0.1", expired=fault == "date")
    async with _server(_be_silent, pair.server()) as server:
        failure = await _failure(ask, server, authority.ca if fault != "authority" else None)
    told = {
        "authority": "unable to get local issuer certificate",
        "name": "mismatch",
        "date": "certificate has expired",
    }
    assert "its certificate is not valid: " in failure
    assert told[fault] in failure


@asks
async def test_a_server_without_tls_is_named(ask: Ask) -> None:
    async with _server(_answer_in_the_clear) as server:
        assert "it does not answer with TLS" in await _failure(ask, server)


@asks
async def test_a_reset_connection_is_named(ask: Ask) -> None:
    async with _server(_reset) as server:
        assert "the connection was reset" in await _failure(ask, server)


@asks
async def test_a_silent_server_is_named(ask: Ask) -> None:
    async with _server(_be_silent) as server:
        failure = await _failure(ask, server)
    assert re.search(r"no answer in time|no complete answer in 1|no connection to .* in 1", failure)


@pytest.mark.parametrize("ask", [_ask_provider, _ask_directory, _ask_redis])
async def test_a_connection_that_is_closed_without_an_answer_is_named(ask: Ask, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with _server(_hang_up, authority.issue("127.0.0.1").server()) as server:
        failure = await _failure(ask, server, authority.ca)
    assert re.search(
        r": (server disconnected|the connection broke|connection closed by server|the connection was reset)", failure
    )


async def test_redis_that_refuses_the_password_is_named(valkey: str) -> None:
    path = valkey.removeprefix("unix://")
    async with connect(schema.Redis(url=SecretStr(f"unix://somebody:hunter2@{path}"))) as client:
        with pytest.raises(Refusal) as caught:
            await Operations(client, "test").run(client.ping())
    assert caught.value.detail == f"{path}: it refuses the user or the password"
